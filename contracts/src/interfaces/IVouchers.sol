// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Cumulative vouchers of an escrow
/// @notice A payer who signs vouchers pays at most what was signed: each voucher names all that the operator may have
/// drawn through a channel so far, so that the newest one is enough. A settlement names the channel as the authority of
/// an item. A payer who wants nothing to be drawn without vouchers forbids direct draws (`setDirectDraws`).
interface IVouchers {
    /// @notice A promise to pay.
    /// @param channel Any word; the payer's sums are counted for each one alone.
    /// @param cumulative All that the operator may draw through the channel, in the token's smallest unit.
    struct Voucher {
        address payer;
        address operator;
        address token;
        bytes32 channel;
        uint128 cumulative;
    }

    /// @notice What was signed for a channel, and what was drawn of it.
    struct Channel {
        uint128 signed;
        uint128 drawn;
    }

    /// @notice An operator may draw `cumulative` in all through this channel.
    event VoucherPresented(
        bytes32 indexed depositId,
        bytes32 indexed channel,
        address indexed payer,
        address operator,
        address token,
        uint128 cumulative
    );

    /// @notice The signature over the voucher's digest is not the payer's.
    error UsageEscrow_InvalidVoucherSignature(bytes32 digest, address payer);
    /// @notice The voucher is not above what was presented before.
    error UsageEscrow_StaleVoucher(uint128 cumulative, uint128 signed);
    /// @notice Channels count up to 2^112 - 1.
    error UsageEscrow_VoucherTooLarge(uint128 cumulative);

    /// @notice Presents a voucher, so that settlements draw on it. Anyone may call with the payer's signature (ECDSA, or
    /// ERC-1271 of a contract).
    function presentVoucher(Voucher calldata voucher, bytes calldata signature) external;

    /// @notice EIP-712 digest of a voucher of this chain and escrow (domain `Licet Voucher`, version `1`).
    function voucherDigest(Voucher calldata voucher) external view returns (bytes32);

    /// @notice A channel of a deposit; all zero when no voucher was presented.
    function channelOf(bytes32 depositId, bytes32 channel) external view returns (Channel memory);
}
