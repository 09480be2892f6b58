// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title A token whose worth depends on more than its owner
interface ITokenState {
    /// @notice Digest of what a buyer pays for: it changes when the token's terms do, and not when its owner does.
    function tokenStateHash(uint256 tokenId) external view returns (bytes32);
}
