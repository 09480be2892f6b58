// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC7858} from "./IERC7858.sol";

/// @title Licences (ERC-721 with an expiry, ERC-7858)
/// @notice A token is one licence of one plan. An expired licence still moves, as ERC-7858 demands, and is not usable.
/// Token ids count from 1. Movements are ERC-721's `Transfer`.
interface ILicense is IERC7858 {
    /// @notice One licence.
    /// @param planId Plan it is bound to; plans count from 1, so 64 bits hold them and the licence is one slot.
    /// @param startTime Unix seconds from which it is valid.
    /// @param endTime Unix seconds from which it is not; never 0.
    /// @param ordinal How often it was renewed.
    /// @param transferable As the plan says.
    struct Terms {
        uint64 planId;
        uint64 startTime;
        uint64 endTime;
        uint32 ordinal;
        bool transferable;
    }

    /// @notice Only an active LicenseSale mints and renews.
    error License_NotSale(address caller);
    /// @notice An end is never 0 (ERC-7858 reads that as "never expires") and lies after the start.
    error License_InvalidTerm(uint64 startTime, uint64 endTime);
    /// @notice The plan forbids the movement.
    error License_NotTransferable(uint256 tokenId, uint256 planId);
    /// @notice No licence has this id.
    error License_Unknown(uint256 tokenId);

    /// @notice Mints a licence. LicenseSale only. Calls no hook of the recipient.
    function mint(address recipient, uint256 planId, uint64 startTime, uint64 endTime, bool transferable)
        external
        returns (uint256 tokenId);

    /// @notice Moves the end of a licence to a later time and counts the renewal. LicenseSale only.
    function renew(uint256 tokenId, uint64 endTime) external returns (uint32 ordinal);

    /// @notice State of a licence. Reverts when it is unknown.
    function licenseOf(uint256 tokenId) external view returns (Terms memory);

    /// @notice Whether the licence exists and its term runs now.
    function isUsable(uint256 tokenId) external view returns (bool);
}
