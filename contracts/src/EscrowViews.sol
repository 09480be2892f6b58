// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {EscrowStorage} from "./EscrowStorage.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {IMandates} from "./interfaces/IMandates.sol";
import {IUsageEscrow} from "./interfaces/IUsageEscrow.sol";
import {IVouchers} from "./interfaces/IVouchers.sol";
import {BatchTree} from "./libraries/BatchTree.sol";
import {Delayed} from "./libraries/Delayed.sol";
import {DepositBook} from "./libraries/DepositBook.sol";
import {DisputeBook} from "./libraries/DisputeBook.sol";
import {MandateBook} from "./libraries/MandateBook.sol";
import {Mandates} from "./libraries/Mandates.sol";
import {OperatorBook} from "./libraries/OperatorBook.sol";
import {SumTree} from "./libraries/SumTree.sol";
import {VoucherBook} from "./libraries/VoucherBook.sol";

/// @title What the escrow tells
abstract contract EscrowViews is IUsageEscrow, IMandates, IVouchers, IDisputes, EscrowStorage {
    using Delayed for Delayed.Number;
    using DepositBook for DepositBook.Book;
    using DisputeBook for DisputeBook.Book;
    using MandateBook for MandateBook.Book;
    using OperatorBook for OperatorBook.Cap;

    /// @inheritdoc IUsageEscrow
    function disputeTime() public view returns (uint64) {
        return _currentDisputeTime();
    }

    /// @inheritdoc IUsageEscrow
    function exitDelay() public view returns (uint64) {
        return _currentExitDelay();
    }

    /// @inheritdoc IUsageEscrow
    function depositIdOf(address payer, address operator, address token) public pure returns (bytes32) {
        return DepositBook.idOf(payer, operator, token);
    }

    /// @inheritdoc IUsageEscrow
    function depositOf(bytes32 depositId) external view returns (Deposit memory) {
        DepositBook.Party memory party = _book.parties[depositId];
        DepositBook.Balance memory balance = _book.balances[depositId];
        return Deposit(party.payer, party.operator, party.token, balance.spendable, balance.drawn);
    }

    /// @inheritdoc IUsageEscrow
    function directUntilOf(bytes32 depositId) external view returns (uint64) {
        return _book.balances[depositId].directUntil;
    }

    /// @inheritdoc IUsageEscrow
    function openExitsOf(bytes32 depositId) external view returns (uint256[] memory) {
        return _book.openExits[depositId];
    }

    /// @inheritdoc IUsageEscrow
    function exitOf(uint256 exitId) external view returns (Exit memory) {
        return _book.exits[exitId];
    }

    /// @inheritdoc IUsageEscrow
    function drawableOf(bytes32 depositId) external view returns (uint128) {
        return _book.drawable(depositId);
    }

    /// @inheritdoc IMandates
    function mandateDigest(Mandates.Mandate calldata mandate) external view returns (bytes32) {
        return MandateBook.digest(mandate);
    }

    /// @inheritdoc IMandates
    function mandateOf(bytes32 mandateId) external view returns (MandateState memory) {
        return _mandates.stateOf(mandateId);
    }

    /// @inheritdoc IMandates
    function mandateCovers(bytes32 mandateId, bytes32 assetId) external view returns (bool) {
        return _mandates.covers(mandateId, assetId);
    }

    /// @inheritdoc IMandates
    function mandateUseOf(bytes32 mandateId) external view returns (WindowUse[2] memory) {
        return _mandates.usesOf(mandateId);
    }

    /// @inheritdoc IMandates
    function isMandateNonceUsed(address payer, uint256 nonce) external view returns (bool) {
        return _mandates.usedNonces[payer][nonce];
    }

    /// @inheritdoc IUsageEscrow
    function heldOf(address token) external view returns (uint256) {
        return _book.held[token];
    }

    /// @inheritdoc IUsageEscrow
    function isOperator(address account) external view returns (bool) {
        return _operators[account].registered;
    }

    /// @inheritdoc IUsageEscrow
    function receiptKeyOf(address operator, address receiptKey) external view returns (KeyInterval memory) {
        return _operators[operator].keys[receiptKey];
    }

    /// @inheritdoc IUsageEscrow
    function isReceiptKeyValid(address operator, address receiptKey, uint64 at) external view returns (bool) {
        KeyInterval storage key = _operators[operator].keys[receiptKey];
        return key.validFrom <= at && at < key.validUntil;
    }

    /// @inheritdoc IUsageEscrow
    function settlerCapOf(address operator, address token) external view returns (uint128 cap, uint128 drawn) {
        OperatorBook.Cap storage entry = _operators[operator].caps[token];
        return (entry.limit.value(), entry.drawnInWindow());
    }

    /// @inheritdoc IUsageEscrow
    function lastBatchOf(address operator) external view returns (uint64) {
        return _operators[operator].lastBatch;
    }

    /// @inheritdoc IUsageEscrow
    function batchRootOf(address operator, uint64 batch) external view returns (bytes32) {
        return _operators[operator].roots[batch];
    }

    /// @inheritdoc IUsageEscrow
    function verifyCharge(
        address operator,
        uint64 batch,
        SumTree.Charge calldata charge,
        SumTree.Step[] calldata steps,
        Line calldata line,
        bytes32[] calldata lineProof
    ) external view returns (bool) {
        bytes32 root = _operators[operator].roots[batch];
        bool named = line.payer == charge.payer && line.token == charge.currency;
        return root != 0 && named && MerkleProof.verifyCalldata(lineProof, root, BatchTree.leafOf(line))
            && SumTree.verify(charge, steps, line.payerRoot, line.amount);
    }

    /// @inheritdoc IVouchers
    function voucherDigest(Voucher calldata voucher) external view returns (bytes32) {
        return VoucherBook.digest(voucher);
    }

    /// @inheritdoc IVouchers
    function channelOf(bytes32 depositId, bytes32 channel) external view returns (Channel memory) {
        VoucherBook.Channel storage entry = _vouchers.channels[depositId][channel];
        return Channel(entry.signed, entry.drawn);
    }

    /// @inheritdoc IDisputes
    function lineIdOf(address operator, uint64 batch, Line calldata line) external pure returns (bytes32) {
        return DisputeBook.lineIdOf(operator, batch, BatchTree.leafOf(line));
    }

    /// @inheritdoc IDisputes
    function holdOf(HoldName calldata name) external view returns (Hold memory) {
        return _disputes.holdOf(name);
    }

    /// @inheritdoc IDisputes
    function disputeOf(bytes32 lineId) external view returns (Dispute memory) {
        return _disputes.disputes[lineId];
    }
}
