// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {IDisputes} from "../interfaces/IDisputes.sol";
import {IRevenueRouter} from "../interfaces/IRevenueRouter.sol";
import {IUsageEscrow} from "../interfaces/IUsageEscrow.sol";
import {BatchTree} from "./BatchTree.sol";
import {DepositBook} from "./DepositBook.sol";
import {OperatorBook} from "./OperatorBook.sol";
import {Receipts} from "./Receipts.sol";
import {SumTree} from "./SumTree.sol";

/// @title Arithmetic of what is held and disputed
/// @notice `amount` of a hold is what its lines drew, less what was refunded and released; `disputed`, the part of it
/// whose challenges are open, is never above it.
library DisputeBook {
    using SafeERC20 for IERC20;

    /// @dev `terms` are of the block of the settlement.
    struct Hold {
        uint112 amount;
        uint112 disputed;
        uint32 releaseAt;
        IRevenueRouter.Terms terms;
    }

    struct Book {
        mapping(bytes32 holdId => Hold) holds;
        mapping(bytes32 lineId => uint128) shortfalls;
        mapping(bytes32 lineId => IDisputes.Dispute) disputes;
    }

    /// @notice Holds what a group has paid.
    function hold(
        Book storage self,
        bytes32 holdId,
        uint128 amount,
        uint64 releaseAt,
        IRevenueRouter.Terms memory terms
    ) internal {
        Hold storage entry = self.holds[holdId];
        // casting is safe because no token is held beyond 112 bits, and until the year 2106
        // forge-lint: disable-next-item(unsafe-typecast)
        (entry.amount, entry.releaseAt) = (entry.amount + uint112(amount), uint32(releaseAt));
        entry.terms = terms;
    }

    /// @notice Id of what is held for one asset in one token of one batch.
    function holdIdOf(address operator, uint64 batch, bytes32 assetId, address token) internal pure returns (bytes32) {
        return keccak256(abi.encode(operator, batch, assetId, token));
    }

    /// @notice Id of a line of an operator's batch, by its leaf.
    function lineIdOf(address operator, uint64 batch, bytes32 leaf) internal pure returns (bytes32) {
        return keccak256(abi.encode(operator, batch, leaf));
    }

    /// @notice See `IDisputes.release`.
    function release(
        Book storage self,
        DepositBook.Book storage book,
        IRevenueRouter router,
        IDisputes.HoldName calldata name
    ) internal returns (uint128 amount) {
        bytes32 holdId = holdIdOf(name.operator, name.batch, name.assetId, name.token);
        Hold storage entry = self.holds[holdId];
        amount = entry.amount - entry.disputed;
        if (amount == 0 || block.timestamp < entry.releaseAt) revert IDisputes.UsageEscrow_NothingToRelease(holdId);
        entry.amount = entry.disputed;
        book.held[name.token] -= amount;
        emit IDisputes.HoldReleased(name.operator, name.batch, name.assetId, name.token, amount);
        IERC20(name.token).safeTransfer(address(router), amount);
        router.receiveSettled(name.assetId, name.token, amount, holdId, entry.terms);
    }

    /// @notice See `IDisputes.challenge`.
    function challenge(
        Book storage self,
        OperatorBook.Operator storage operator,
        IDisputes.SettledLine calldata settled,
        uint32 position,
        uint64 answerTime
    ) internal returns (bytes32 lineId) {
        lineId = _requireSettled(operator, settled);
        IUsageEscrow.Line calldata line = settled.line;
        if (line.payer != msg.sender) revert IDisputes.UsageEscrow_NotLinePayer(lineId, msg.sender);
        if (position >= line.records) revert IDisputes.UsageEscrow_InvalidPosition(position, line.records);
        _requireStatus(self, lineId, IDisputes.DisputeStatus.None);
        Hold storage entry = self.holds[_holdIdOf(settled)];
        if (block.timestamp >= entry.releaseAt) {
            revert IDisputes.UsageEscrow_WrongDisputeTime(lineId, entry.releaseAt);
        }
        uint128 amount = _drawnBy(self, lineId, line);
        // casting to 'uint112' is safe because the line drew it
        // forge-lint: disable-next-line(unsafe-typecast)
        entry.disputed += uint112(amount);
        uint64 deadline = uint64(block.timestamp) + answerTime;
        self.disputes[lineId] = IDisputes.Dispute(IDisputes.DisputeStatus.Open, position, deadline, amount);
        emit IDisputes.ChargeChallenged(
            lineId, line.payer, settled.operator, settled.batch, line.index, position, amount, deadline
        );
    }

    /// @notice See `IDisputes.answer`.
    function answer(
        Book storage self,
        OperatorBook.Operator storage operator,
        IDisputes.SettledLine calldata settled,
        IDisputes.ChargeProof calldata shown,
        IDisputes.SignedReceipt calldata signed
    ) internal {
        bytes32 lineId = _lineIdOf(settled);
        IDisputes.Dispute storage dispute = _requireStatus(self, lineId, IDisputes.DisputeStatus.Open);
        if (block.timestamp >= dispute.deadline) {
            revert IDisputes.UsageEscrow_WrongDisputeTime(lineId, dispute.deadline);
        }
        IUsageEscrow.Line calldata line = settled.line;
        bool isPlace = SumTree.isAt(shown.steps, dispute.position, line.records);
        if (!isPlace || !_isCharged(shown, line)) revert IDisputes.UsageEscrow_InvalidCharge(lineId);
        if (!_isSigned(operator, settled, shown.charge.receiptHash, signed)) {
            revert IDisputes.UsageEscrow_InvalidReceipt(lineId);
        }
        dispute.status = IDisputes.DisputeStatus.Answered;
        // casting to 'uint112' is safe because the line drew it
        // forge-lint: disable-next-line(unsafe-typecast)
        self.holds[_holdIdOf(settled)].disputed -= uint112(dispute.amount);
        emit IDisputes.ChallengeAnswered(lineId, shown.charge.receiptHash);
    }

    /// @notice See `IDisputes.refund`.
    function refund(Book storage self, DepositBook.Book storage book, IDisputes.SettledLine calldata settled)
        internal
        returns (uint128 amount)
    {
        bytes32 lineId = _lineIdOf(settled);
        IDisputes.Dispute storage dispute = _requireStatus(self, lineId, IDisputes.DisputeStatus.Open);
        if (block.timestamp < dispute.deadline) {
            revert IDisputes.UsageEscrow_WrongDisputeTime(lineId, dispute.deadline);
        }
        amount = dispute.amount;
        // casting to 'uint112' is safe because the line drew it
        // forge-lint: disable-next-line(unsafe-typecast)
        self.holds[_holdIdOf(settled)].disputed -= uint112(amount);
        _refund(self, book, settled, lineId, amount);
    }

    /// @notice See `IDisputes.contradict`.
    function contradict(
        Book storage self,
        DepositBook.Book storage book,
        OperatorBook.Operator storage operator,
        IDisputes.SettledLine calldata settled,
        IDisputes.ChargeProof calldata charged,
        IDisputes.SettledLine calldata other,
        IDisputes.ChargeProof calldata otherCharged
    ) internal returns (uint128 amount) {
        bytes32 lineId = _requireSettled(operator, settled);
        bytes32 otherId = _requireSettled(operator, other);
        if (!_isCharged(charged, settled.line)) revert IDisputes.UsageEscrow_InvalidCharge(lineId);
        if (!_isCharged(otherCharged, other.line)) revert IDisputes.UsageEscrow_InvalidCharge(otherId);
        // A line under another operator's name would be this one, and yet not be.
        bool isOne = other.operator != settled.operator
            || (lineId == otherId && SumTree.isSamePath(charged.steps, otherCharged.steps));
        if (isOne || charged.charge.receiptHash != otherCharged.charge.receiptHash) {
            revert IDisputes.UsageEscrow_NoContradiction(lineId);
        }
        IDisputes.DisputeStatus status = self.disputes[lineId].status;
        if (status == IDisputes.DisputeStatus.Refunded) {
            revert IDisputes.UsageEscrow_WrongDisputeStatus(lineId, status);
        }
        amount = _drawnBy(self, lineId, settled.line);
        Hold storage entry = self.holds[_holdIdOf(settled)];
        // casting to 'uint112' is safe because the line drew it
        // forge-lint: disable-next-line(unsafe-typecast)
        if (status == IDisputes.DisputeStatus.Open) entry.disputed -= uint112(amount);
        if (entry.amount - entry.disputed < amount) revert IDisputes.UsageEscrow_NotHeld(lineId);
        _refund(self, book, settled, lineId, amount);
    }

    /// @notice See `IDisputes.holdOf`.
    function holdOf(Book storage self, IDisputes.HoldName calldata name) internal view returns (IDisputes.Hold memory) {
        Hold storage entry = self.holds[holdIdOf(name.operator, name.batch, name.assetId, name.token)];
        return IDisputes.Hold(entry.amount, entry.disputed, entry.releaseAt, entry.terms);
    }

    /// @dev Pays the payer, whose wallet the operator cannot draw from again, rather than their deposit.
    function _refund(
        Book storage self,
        DepositBook.Book storage book,
        IDisputes.SettledLine calldata settled,
        bytes32 lineId,
        uint128 amount
    ) private {
        IUsageEscrow.Line calldata line = settled.line;
        self.disputes[lineId].status = IDisputes.DisputeStatus.Refunded;
        // casting to 'uint112' is safe because the line drew it
        // forge-lint: disable-next-line(unsafe-typecast)
        self.holds[_holdIdOf(settled)].amount -= uint112(amount);
        book.held[line.token] -= amount;
        emit IDisputes.DrawRefunded(
            lineId, line.payer, settled.operator, settled.batch, line.index, line.assetId, line.token, amount
        );
        IERC20(line.token).safeTransfer(line.payer, amount);
    }

    function _requireSettled(OperatorBook.Operator storage operator, IDisputes.SettledLine calldata settled)
        private
        view
        returns (bytes32 lineId)
    {
        bytes32 leaf = BatchTree.leafOf(settled.line);
        lineId = lineIdOf(settled.operator, settled.batch, leaf);
        bytes32 root = operator.roots[settled.batch];
        if (root == 0 || !MerkleProof.verifyCalldata(settled.proof, root, leaf)) {
            revert IDisputes.UsageEscrow_LineNotSettled(lineId);
        }
    }

    function _requireStatus(Book storage self, bytes32 lineId, IDisputes.DisputeStatus expected)
        private
        view
        returns (IDisputes.Dispute storage dispute)
    {
        dispute = self.disputes[lineId];
        if (dispute.status != expected) {
            revert IDisputes.UsageEscrow_WrongDisputeStatus(lineId, dispute.status);
        }
    }

    function _drawnBy(Book storage self, bytes32 lineId, IUsageEscrow.Line calldata line)
        private
        view
        returns (uint128 amount)
    {
        amount = line.amount - self.shortfalls[lineId];
        if (amount == 0) revert IDisputes.UsageEscrow_NothingDrawn(lineId);
    }

    function _isCharged(IDisputes.ChargeProof calldata shown, IUsageEscrow.Line calldata line)
        private
        pure
        returns (bool)
    {
        SumTree.Charge calldata charge = shown.charge;
        return charge.payer == line.payer && charge.currency == line.token
            && SumTree.verify(charge, shown.steps, line.payerRoot, line.amount);
    }

    /// @dev The key must have been valid when the call ended: a receipt is signed after its call.
    function _isSigned(
        OperatorBook.Operator storage operator,
        IDisputes.SettledLine calldata settled,
        bytes32 receiptHash,
        IDisputes.SignedReceipt calldata signed
    ) private view returns (bool) {
        Receipts.Receipt calldata receipt = signed.receipt;
        if (receipt.assetId != settled.line.assetId) return false;
        if (Receipts.digest(address(this), Receipts.hash(receipt)) != receiptHash) return false;
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(receiptHash))));
        if (!MerkleProof.verifyCalldata(signed.receiptProof, signed.segment.root, leaf)) return false;
        Receipts.ReplicaCertificate calldata certificate = signed.certificate;
        uint64 endedAt = receipt.endedAtMs / 1000;
        if (certificate.operator != settled.operator || !_holds(certificate.validFrom, certificate.validUntil, endedAt))
        {
            return false;
        }
        address replica = _signer(Receipts.hash(signed.segment), signed.segmentSignature);
        address key = _signer(Receipts.hash(certificate), signed.certificateSignature);
        IUsageEscrow.KeyInterval storage interval = operator.keys[key];
        return replica == certificate.replica && _holds(interval.validFrom, interval.validUntil, endedAt);
    }

    function _signer(bytes32 structHash, bytes calldata signature) private view returns (address signer) {
        // A signature that does not recover gives the zero address, which no certificate and no key names.
        // slither-disable-next-line unused-return
        (signer,,) = ECDSA.tryRecover(Receipts.digest(address(this), structHash), signature);
    }

    function _holds(uint64 from, uint64 until, uint64 at) private pure returns (bool) {
        return from <= at && at < until;
    }

    function _holdIdOf(IDisputes.SettledLine calldata settled) private pure returns (bytes32) {
        return holdIdOf(settled.operator, settled.batch, settled.line.assetId, settled.line.token);
    }

    function _lineIdOf(IDisputes.SettledLine calldata settled) private pure returns (bytes32) {
        return lineIdOf(settled.operator, settled.batch, BatchTree.leafOf(settled.line));
    }
}
