// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IUsageEscrow} from "../interfaces/IUsageEscrow.sol";
import {IVouchers} from "../interfaces/IVouchers.sol";
import {DepositBook} from "./DepositBook.sol";

/// @title Arithmetic of cumulative vouchers
/// @notice What is drawn through a channel never exceeds the newest voucher that was presented for it.
library VoucherBook {
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("Licet Voucher");
    bytes32 private constant VERSION_HASH = keccak256("1");
    bytes32 private constant VOUCHER_TYPEHASH =
        keccak256("Voucher(address payer,address operator,address token,bytes32 channel,uint128 cumulative)");

    /// @dev One word.
    struct Channel {
        uint112 signed;
        uint112 drawn;
    }

    struct Book {
        mapping(bytes32 depositId => mapping(bytes32 channel => Channel)) channels;
    }

    /// @notice Raises what a payer has signed for.
    function present(Book storage self, IVouchers.Voucher calldata voucher, bytes calldata signature) internal {
        bytes32 signedDigest = digest(voucher);
        if (!SignatureChecker.isValidSignatureNowCalldata(voucher.payer, signedDigest, signature)) {
            revert IVouchers.UsageEscrow_InvalidVoucherSignature(signedDigest, voucher.payer);
        }
        bytes32 depositId = DepositBook.idOf(voucher.payer, voucher.operator, voucher.token);
        Channel storage channel = self.channels[depositId][voucher.channel];
        if (voucher.cumulative <= channel.signed) {
            revert IVouchers.UsageEscrow_StaleVoucher(voucher.cumulative, channel.signed);
        }
        if (voucher.cumulative > type(uint112).max) revert IVouchers.UsageEscrow_VoucherTooLarge(voucher.cumulative);
        // casting to 'uint112' is safe because a larger sum is refused
        // forge-lint: disable-next-line(unsafe-typecast)
        channel.signed = uint112(voucher.cumulative);
        emit IVouchers.VoucherPresented(
            depositId, voucher.channel, voucher.payer, voucher.operator, voucher.token, voucher.cumulative
        );
    }

    /// @notice EIP-712 digest of a voucher of this chain and escrow.
    /// @dev The domain is computed at each call: a cached one would make the code differ from chain to chain.
    function digest(IVouchers.Voucher calldata voucher) internal view returns (bytes32) {
        bytes32 domain = keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
        bytes32 structHash = keccak256(
            abi.encode(
                VOUCHER_TYPEHASH, voucher.payer, voucher.operator, voucher.token, voucher.channel, voucher.cumulative
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    /// @notice Draws what the channel and its deposit let be drawn for an item; 0 where that is nothing.
    function draw(Book storage self, DepositBook.Book storage book, bytes32 depositId, IUsageEscrow.Line memory line)
        internal
        returns (uint128 paid)
    {
        Channel storage channel = self.channels[depositId][line.authority];
        uint128 left = channel.signed - channel.drawn;
        if (left == 0 || line.window != 0) return 0;
        paid = DepositBook.draw(book, depositId, line.amount < left ? line.amount : left, false);
        // casting to 'uint112' is safe because it is at most what is left
        // forge-lint: disable-next-line(unsafe-typecast)
        if (paid != 0) channel.drawn += uint112(paid);
    }
}
