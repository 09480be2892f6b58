// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {SumTree} from "../src/libraries/SumTree.sol";
import {DisputeBase} from "./DisputeBase.sol";

/// @notice A payer and everybody else, who settle, dispute, answer, refund and release in any order; what they did is
/// kept a second time.
contract DisputeHandler is DisputeBase {
    uint128 private constant OTHERS = 5;
    uint128 private constant DRAWN = 60;
    uint128 private constant LINES = 2;

    struct Entry {
        IDisputes.SettledLine settled;
        SumTree.Charge[CALLS] charges;
        uint128 paid;
        uint256 refunded;
    }

    Entry[] private entries;
    mapping(uint256 batch => uint256) public released;
    uint256 private next = 1;
    uint256 public refundedInAll;
    bool public refundedTwice;
    bool public refundedAfterRelease;
    bool public answeredOthersCharge;
    mapping(bytes32 => uint256) public calls;

    constructor() {
        setUp();
        vm.prank(payer);
        usd.approve(address(escrow), type(uint256).max);
    }

    function count() external view returns (uint64) {
        return escrow.lastBatchOf(operator);
    }

    function escrowAddress() external view returns (address) {
        return address(escrow);
    }

    /// @dev Two lines of the payer beside one of somebody else. One batch in three charges a receipt that an earlier
    /// one has charged, one in five charges it in both of its lines, and one in four is not covered.
    function settle(uint256 seed) external {
        SumTree.Charge[CALLS][LINES] memory charges = [_charges(next), _charges(next + CALLS)];
        next += LINES * CALLS;
        if (seed % 3 == 0 && entries.length != 0) {
            charges[seed % LINES][seed % CALLS].receiptHash = entries[seed % entries.length].charges[0].receiptHash;
        }
        if (seed % 5 == 0) charges[1][seed % CALLS].receiptHash = charges[0][0].receiptHash;
        if (seed % 4 != 0 && escrow.drawableOf(depositId) < LINES * DRAWN) _fund(LINES * DRAWN);
        uint128 drawable = escrow.drawableOf(depositId);
        IDisputes.SettledLine[LINES] memory settled = _settleLines(charges);
        for (uint256 i = 0; i < LINES; ++i) {
            Entry storage entry = entries.push();
            entry.settled = settled[i];
            entry.paid = drawable < DRAWN ? drawable : DRAWN;
            drawable -= entry.paid;
            for (uint256 j = 0; j < CALLS; ++j) {
                entry.charges[j] = charges[i][j];
            }
        }
        ++calls["settle"];
    }

    function _settleLines(SumTree.Charge[CALLS][LINES] memory charges)
        private
        returns (IDisputes.SettledLine[LINES] memory settled)
    {
        IUsageEscrow.Item[] memory items = new IUsageEscrow.Item[](LINES + 1);
        items[LINES] = _item(_deposit(buyer, OTHERS), OTHERS);
        for (uint256 i = 0; i < LINES; ++i) {
            items[i] = _item(depositId, DRAWN);
            (, items[i].payerRoot) = _proofs(charges[i]);
            items[i].records = CALLS;
        }
        _settle(items);
        for (uint256 i = 0; i < LINES; ++i) {
            settled[i].operator = operator;
            settled[i].batch = escrow.lastBatchOf(operator);
            settled[i].line = batchRoots.lineOf(_groups(items)[0], i, uint32(i));
            settled[i].proof = batchRoots.proofOf(_groups(items), i);
        }
    }

    function _fund(uint128 amount) private {
        usd.mint(payer, amount);
        vm.prank(payer);
        escrow.deposit(operator, address(usd), amount);
    }

    function challenge(uint256 which, uint32 position) external {
        if (entries.length == 0) return;
        Entry storage entry = entries[which % entries.length];
        vm.prank(payer);
        try escrow.challenge(entry.settled, position % CALLS) {
            ++calls["challenge"];
        } catch {}
    }

    /// @dev With the challenged charge, or with its neighbour, which must not do.
    function answer(uint256 which, bool wrong) external {
        if (entries.length == 0) return;
        Entry storage entry = entries[which % entries.length];
        uint256 place = _dispute(which).position;
        if (wrong) place = (place + 1) % CALLS;
        (IDisputes.ChargeProof[CALLS] memory proofs,) = _proofs(entry.charges);
        uint256 n = uint256(entry.charges[place].salt);
        try escrow.answer(entry.settled, proofs[place], _signed(n)) {
            if (wrong) answeredOthersCharge = true;
            ++calls["answer"];
        } catch {}
    }

    function refund(uint256 which) external {
        if (entries.length == 0) return;
        try escrow.refund(entries[which % entries.length].settled) returns (uint128 amount) {
            _count(entries[which % entries.length], amount);
            ++calls["refund"];
        } catch {}
    }

    function contradict(uint256 which, uint256 other, uint8 a, uint8 b) external {
        if (entries.length == 0) return;
        Entry storage entry = entries[which % entries.length];
        Entry storage second = entries[other % entries.length];
        (IDisputes.ChargeProof[CALLS] memory mine,) = _proofs(entry.charges);
        (IDisputes.ChargeProof[CALLS] memory theirs,) = _proofs(second.charges);
        try escrow.contradict(entry.settled, mine[a % CALLS], second.settled, theirs[b % CALLS]) returns (
            uint128 amount
        ) {
            _count(entry, amount);
            ++calls["contradict"];
        } catch {}
    }

    function _count(Entry storage entry, uint128 amount) private {
        if (entry.refunded != 0) refundedTwice = true;
        entry.refunded += amount;
        refundedInAll += amount;
        (uint256 drawn, uint256 refunded) = _lines(entry.settled.batch);
        if (refunded + released[entry.settled.batch] > drawn) refundedAfterRelease = true;
    }

    /// @dev What the lines of a batch drew, and what of it was given back. Entries follow each other as batches do.
    function _lines(uint64 batch) private view returns (uint256 drawn, uint256 refunded) {
        drawn = OTHERS;
        for (uint256 i = 0; i < LINES; ++i) {
            Entry storage entry = entries[(batch - 1) * LINES + i];
            drawn += entry.paid;
            refunded += entry.refunded;
        }
    }

    function release(uint256 which) external {
        if (entries.length == 0) return;
        uint64 batch = entries[which % entries.length].settled.batch;
        try escrow.release(_held(batch)) returns (uint128 amount) {
            released[batch] += amount;
            ++calls["release"];
        } catch {}
    }

    function exit(uint128 amount) external {
        uint128 spendable = escrow.depositOf(depositId).spendable;
        if (spendable == 0 || escrow.openExitsOf(depositId).length == 4) return;
        vm.prank(payer);
        escrow.requestExit(depositId, uint128(bound(amount, 1, spendable)));
    }

    function wait(uint32 time) external {
        skip(bound(time, 1, DISPUTE_TIME));
    }

    function _dispute(uint256 which) private view returns (IDisputes.Dispute memory) {
        return escrow.disputeOf(_lineId(entries[which % entries.length].settled));
    }

    /// @notice What a batch holds, and what is left of it by the second book.
    function heldOf(uint64 batch) external view returns (IDisputes.Hold memory hold, uint256 expected, uint256 open) {
        hold = escrow.holdOf(_held(batch));
        (uint256 drawn, uint256 refunded) = _lines(batch);
        expected = drawn - refunded - released[batch];
        for (uint256 i = (batch - 1) * LINES; i < batch * LINES; ++i) {
            if (_dispute(i).status == IDisputes.DisputeStatus.Open) open += entries[i].paid;
        }
    }

    /// @notice All that the escrow owes: the payer's and the other one's deposits and exits, and what is held.
    function owed() external view returns (uint256 sum) {
        bytes32 others = escrow.depositIdOf(buyer, operator, address(usd));
        sum = uint256(escrow.depositOf(depositId).spendable) + escrow.depositOf(others).spendable;
        uint256[] memory open = escrow.openExitsOf(depositId);
        for (uint256 i = 0; i < open.length; ++i) {
            sum += escrow.exitOf(open[i]).amount;
        }
        for (uint64 batch = 1; batch <= escrow.lastBatchOf(operator); ++batch) {
            sum += escrow.holdOf(_held(batch)).amount;
        }
    }

    function books() external view returns (uint256 held, uint256 balance) {
        return (escrow.heldOf(address(usd)), usd.balanceOf(address(escrow)));
    }
}
