// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title ERC-5192: tokens that may be bound to their holder
/// @dev https://eips.ethereum.org/EIPS/eip-5192
interface IERC5192 {
    /// @notice The token moves no more.
    event Locked(uint256 tokenId);
    /// @notice The token moves again.
    event Unlocked(uint256 tokenId);

    /// @notice Whether the token is bound to its holder. Reverts when it is unknown.
    function locked(uint256 tokenId) external view returns (bool);
}
