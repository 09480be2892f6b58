// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title ERC-7432: roles of non-fungible tokens
/// @dev https://eips.ethereum.org/EIPS/eip-7432; its identifier is 0xd00ca5cf.
interface IERC7432 {
    /// @notice One role of one token.
    struct Role {
        bytes32 roleId;
        address tokenAddress;
        uint256 tokenId;
        address recipient;
        uint64 expirationDate;
        bool revocable;
        bytes data;
    }

    /// @notice The token is bound to its holder by an irrevocable role, or by the holder.
    event TokenLocked(address indexed owner, address indexed tokenAddress, uint256 indexed tokenId);
    /// @notice A role was granted.
    event RoleGranted(
        address indexed tokenAddress,
        uint256 indexed tokenId,
        bytes32 indexed roleId,
        address owner,
        address recipient,
        uint64 expirationDate,
        bool revocable,
        bytes data
    );
    /// @notice A role ended before its time.
    event RoleRevoked(address indexed tokenAddress, uint256 indexed tokenId, bytes32 indexed roleId);
    /// @notice The token moves again.
    event TokenUnlocked(address indexed owner, address indexed tokenAddress, uint256 indexed tokenId);
    /// @notice An account may, or may no more, grant and revoke roles of all tokens of the caller.
    event RoleApprovalForAll(address indexed tokenAddress, address indexed operator, bool indexed isApproved);

    /// @notice Grants a role, by the token's holder or an account that may act for it.
    function grantRole(Role calldata role) external;

    /// @notice Ends a role: a revocable one by holder or recipient, an irrevocable one by its recipient.
    function revokeRole(address tokenAddress, uint256 tokenId, bytes32 roleId) external;

    /// @notice Lets the token move again, by its holder, once no irrevocable role runs.
    function unlockToken(address tokenAddress, uint256 tokenId) external;

    /// @notice Lets an account grant and revoke roles of all the caller's tokens.
    function setRoleApprovalForAll(address tokenAddress, address operator, bool approved) external;

    /// @notice Holder of a token.
    function ownerOf(address tokenAddress, uint256 tokenId) external view returns (address);

    /// @notice Who has the role now; 0: nobody.
    function recipientOf(address tokenAddress, uint256 tokenId, bytes32 roleId) external view returns (address);

    /// @notice Data of a role that runs.
    function roleData(address tokenAddress, uint256 tokenId, bytes32 roleId) external view returns (bytes memory);

    /// @notice End of a role that runs, Unix seconds; 0: nobody has it.
    function roleExpirationDate(address tokenAddress, uint256 tokenId, bytes32 roleId) external view returns (uint64);

    /// @notice Whether a role that runs can be revoked by the holder.
    function isRoleRevocable(address tokenAddress, uint256 tokenId, bytes32 roleId) external view returns (bool);

    /// @notice Whether `operator` may grant and revoke roles of `owner`'s tokens.
    function isRoleApprovedForAll(address tokenAddress, address owner, address operator) external view returns (bool);
}
