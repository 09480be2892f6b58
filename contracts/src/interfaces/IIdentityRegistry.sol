// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title ERC-3643: what is read of an identity registry
/// @dev https://eips.ethereum.org/EIPS/eip-3643
interface IIdentityRegistry {
    /// @notice Whether the account belongs to an identity with the claims that the registry demands.
    function isVerified(address account) external view returns (bool);

    /// @notice ISO 3166-1 numeric code of the account's country.
    function investorCountry(address account) external view returns (uint16);
}
