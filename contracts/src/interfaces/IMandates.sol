// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Mandates} from "../libraries/Mandates.sol";

/// @title Mandates of an escrow
/// @notice A payer bounds what an operator draws from their deposit: an amount and a number of calls for each window,
/// an amount in all, the assets, the time. A mandate is opened once; its id is its EIP-712 digest, and a settlement
/// names that id as the authority of an item. Use of a window is settled from its begin until its end plus the grace.
/// Revoking ends the current window at once; until its grace is over at most the signed in-flight cap is drawn.
interface IMandates {
    /// @notice An opened mandate.
    /// @param depositId Deposit that pays.
    /// @param windowAmount Most that is drawn for one window.
    /// @param remaining What is left to be drawn in all; revoking lowers it to the in-flight cap.
    /// @param validUntil As signed, or when the mandate was revoked.
    struct MandateState {
        bytes32 depositId;
        uint128 windowAmount;
        uint128 remaining;
        uint64 validFrom;
        uint64 validUntil;
        uint32 windowLength;
        uint32 windowRecords;
        uint32 grace;
        bool anyAsset;
        bool revoked;
        uint128 inFlightCap;
    }

    /// @notice What settlements have drawn through a mandate for one window.
    struct WindowUse {
        uint32 window;
        uint32 records;
        uint128 amount;
    }

    /// @notice A payer lets an operator draw. `terms` is what was signed.
    event MandateOpened(
        bytes32 indexed mandateId,
        address indexed payer,
        address indexed operator,
        bytes32 depositId,
        Mandates.Mandate terms
    );
    /// @notice Later use is forbidden; until `settleUntil` at most `remaining` is drawn for earlier use.
    event MandateRevoked(
        bytes32 indexed mandateId,
        address indexed payer,
        address indexed operator,
        address token,
        uint64 revokedAt,
        uint64 settleUntil,
        uint128 remaining
    );
    /// @notice No mandate of this payer with this nonce can be opened any more.
    event MandateNonceCancelled(address indexed payer, uint256 indexed nonce);

    /// @notice The payer has opened or cancelled a mandate with this nonce.
    error UsageEscrow_NonceUsed(address payer, uint256 nonce);
    /// @notice The signature over the mandate's digest is not the payer's.
    error UsageEscrow_InvalidSignature(bytes32 mandateId, address payer);
    /// @notice The payer has no deposit with this operator in this token.
    error UsageEscrow_UnknownDeposit(bytes32 depositId);
    /// @notice A window lasts `MIN_MANDATE_WINDOW` or more, its grace is at most one long, and a mandate has fewer than
    /// 2^24 - 2 of them.
    error UsageEscrow_InvalidMandateWindow(uint32 windowLength, uint32 grace);
    /// @notice The mandate has ended, ends before it begins, or after 2 ** 32 - 2 ** 24 (in the year 2105).
    error UsageEscrow_InvalidMandateTime(uint64 validFrom, uint64 validUntil);
    /// @notice An amount or a number of calls is above what a mandate can count: 2^88 - 1 in all, 2^87 - 1 and
    /// 2^24 - 1 calls in a window.
    error UsageEscrow_MandateTooLarge(uint256 value);
    /// @notice A mandate lists at most `MAX_MANDATE_ASSETS`.
    error UsageEscrow_TooManyAssets(uint256 assets);
    /// @notice No mandate was opened with this id.
    error UsageEscrow_UnknownMandate(bytes32 mandateId);
    /// @notice Only the mandate's payer revokes it.
    error UsageEscrow_NotMandatePayer(bytes32 mandateId, address caller);
    /// @notice The mandate is revoked already.
    error UsageEscrow_MandateIsRevoked(bytes32 mandateId);

    /// @notice Opens a mandate, once. The payer calls, or anyone with the payer's signature over the mandate's digest
    /// (ECDSA, or ERC-1271 of a contract). Entry: needs the escrow active in the Directory, and a deposit.
    function openMandate(Mandates.Mandate calldata mandate, bytes calldata signature)
        external
        returns (bytes32 mandateId);

    /// @notice Forbids later use. The payer calls. Exit: open in every state.
    function revokeMandate(bytes32 mandateId) external;

    /// @notice Takes back signatures of the caller that nobody has used yet: no mandate with this nonce can be opened
    /// any more. Exit: open in every state.
    function cancelMandateNonce(uint256 nonce) external;

    /// @notice EIP-712 digest of a mandate of this chain and escrow (domain `Licet Mandate`, version `1`): its id, and
    /// what the payer signs.
    function mandateDigest(Mandates.Mandate calldata mandate) external view returns (bytes32);

    /// @notice A mandate; all zero when it is unknown.
    function mandateOf(bytes32 mandateId) external view returns (MandateState memory);

    /// @notice Whether a mandate lets an asset be used.
    function mandateCovers(bytes32 mandateId, bytes32 assetId) external view returns (bool);

    /// @notice What was drawn for the newest window of a mandate that was settled, and for the one before it.
    function mandateUseOf(bytes32 mandateId) external view returns (WindowUse[2] memory);

    /// @notice Whether the payer has opened or cancelled a mandate with this nonce.
    function isMandateNonceUsed(address payer, uint256 nonce) external view returns (bool);
}
