// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title The part of Permit2 that pays for licences
/// @dev https://github.com/Uniswap/permit2, `ISignatureTransfer`.
interface IPermit2 {
    /// @notice Token and the most of it that the owner allows.
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    /// @notice What the owner signs, together with the spender and the witness.
    struct PermitTransferFrom {
        TokenPermissions permitted;
        uint256 nonce;
        uint256 deadline;
    }

    /// @notice What the spender asks for.
    struct SignatureTransferDetails {
        address to;
        uint256 requestedAmount;
    }

    /// @notice Moves the owner's tokens under a signature that also covers `witness`, the hash of the caller's own data.
    /// @param witnessTypeString End of the EIP-712 type: the witness and all struct types in alphabetical order.
    function permitWitnessTransferFrom(
        PermitTransferFrom calldata permit,
        SignatureTransferDetails calldata transferDetails,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata signature
    ) external;
}
