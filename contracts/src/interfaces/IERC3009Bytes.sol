// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title EIP-3009 with signatures of any length
/// @notice The variant for accounts with code (ERC-1271), as Circle's tokens have it since version 2.2.
interface IERC3009Bytes {
    /// @notice As EIP-3009's function of this name; an account with code is asked whether the signature is its own.
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;
}
