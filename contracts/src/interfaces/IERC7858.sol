// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title ERC-7858: expirable NFTs
/// @dev https://eips.ethereum.org/EIPS/eip-7858
interface IERC7858 {
    /// @notice In what start and end are counted.
    enum EXPIRY_TYPE {
        BLOCKS_BASED,
        TIME_BASED
    }

    /// @notice The term of a token was set.
    event TokenExpiryUpdated(uint256 indexed tokenId, uint256 indexed startTime, uint256 indexed endTime);

    /// @notice Always TIME_BASED here: Unix seconds.
    function expiryType() external view returns (EXPIRY_TYPE);

    /// @notice Whether the token's term is over. Reverts when the token is unknown.
    function isTokenExpired(uint256 tokenId) external view returns (bool);

    /// @notice Start of the token's term. Reverts when the token is unknown.
    function startTime(uint256 tokenId) external view returns (uint256);

    /// @notice End of the token's term. Reverts when the token is unknown.
    function endTime(uint256 tokenId) external view returns (uint256);
}
