// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IIdentityRegistry} from "./IIdentityRegistry.sol";

/// @title Credentials from an ERC-3643 identity registry
/// @notice An issuer that says what a registry says. The authority of an asset names the registry here, and allows the
/// adapter as an issuer in the ComplianceGate; from then on anyone brings what the registry knows over, either way.
/// What the registry takes back counts until somebody brings it over, and for `term` seconds at most.
interface IIdentityAdapter {
    /// @param class Class of everybody in the registry.
    /// @param term Seconds for which what the registry said holds.
    struct Source {
        IIdentityRegistry registry;
        uint8 class;
        uint32 term;
    }

    /// @notice The asset's credentials come from this registry; the zero address: from none.
    event SourceSet(bytes32 indexed assetId, address indexed registry, uint8 class, uint32 term);

    /// @notice Only the asset's authority names a registry.
    error IdentityAdapter_NotAuthority(bytes32 assetId, address caller);
    /// @notice A registry has code, and what it says holds 1 second to `MAX_TERM`.
    error IdentityAdapter_InvalidSource(address registry, uint32 term);
    /// @notice The asset has no registry.
    error IdentityAdapter_NoSource(bytes32 assetId);
    /// @notice The account has a credential of another issuer, which stays.
    error IdentityAdapter_AnotherIssued(bytes32 assetId, address account, address issuer);

    /// @notice Names the registry of an asset. By the authority that the ComplianceGate names.
    function setSource(bytes32 assetId, Source calldata source) external;

    /// @notice Gives an account the credential that the registry's word is worth, or takes it. Anyone may call; where
    /// nothing is new nothing happens.
    function sync(bytes32 assetId, address account) external returns (bool isVerified);

    /// @notice Where the asset's credentials come from.
    function sourceOf(bytes32 assetId) external view returns (Source memory);
}
