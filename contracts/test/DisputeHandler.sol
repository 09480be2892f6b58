// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {SumTree} from "../src/libraries/SumTree.sol";
import {DisputeBase} from "./DisputeBase.sol";

/// @notice A payer and everybody else, who settle, dispute, answer, refund and release in any order; what they did is
/// kept a second time.
contract DisputeHandler is DisputeBase {
    uint128 private constant OTHERS = 5;
    uint128 private constant DRAWN = 60;

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

    function count() external view returns (uint256) {
        return entries.length;
    }

    function escrowAddress() external view returns (address) {
        return address(escrow);
    }

    /// @dev One line in three charges a receipt that an earlier one has charged, and one in four is not covered.
    function settle(uint256 seed) external {
        SumTree.Charge[CALLS] memory charges = _charges(next);
        next += CALLS;
        if (seed % 3 == 0 && entries.length != 0) {
            charges[seed % CALLS].receiptHash = entries[seed % entries.length].charges[0].receiptHash;
        }
        if (seed % 4 != 0 && escrow.drawableOf(depositId) < DRAWN) _fund(DRAWN);
        uint128 drawable = escrow.drawableOf(depositId);
        IDisputes.SettledLine memory settled = _settleCharges(charges);
        Entry storage entry = entries.push();
        entry.settled = settled;
        entry.paid = drawable < DRAWN ? drawable : DRAWN;
        for (uint256 i = 0; i < CALLS; ++i) {
            entry.charges[i] = charges[i];
        }
        ++calls["settle"];
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
        if (released[entry.settled.batch] != 0 && amount != 0 && _wasReleased(entry)) refundedAfterRelease = true;
        entry.refunded += amount;
        refundedInAll += amount;
    }

    /// @dev Whether what was released is more than all that others' lines and earlier challenges leave.
    function _wasReleased(Entry storage entry) private view returns (bool) {
        return released[entry.settled.batch] > OTHERS;
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

    /// @notice What the batch of an entry holds, and what is left of it by the second book.
    function heldOf(uint256 i) external view returns (IDisputes.Hold memory hold, uint256 expected, uint256 open) {
        Entry storage entry = entries[i];
        uint64 batch = entry.settled.batch;
        hold = escrow.holdOf(_held(batch));
        expected = uint256(entry.paid) + OTHERS - entry.refunded - released[batch];
        if (_dispute(i).status == IDisputes.DisputeStatus.Open) open = entry.paid;
    }

    /// @notice All that the escrow owes: the payer's and the other one's deposits and exits, and what is held.
    function owed() external view returns (uint256 sum) {
        bytes32 others = escrow.depositIdOf(buyer, operator, address(usd));
        sum = uint256(escrow.depositOf(depositId).spendable) + escrow.depositOf(others).spendable;
        uint256[] memory open = escrow.openExitsOf(depositId);
        for (uint256 i = 0; i < open.length; ++i) {
            sum += escrow.exitOf(open[i]).amount;
        }
        for (uint256 i = 0; i < entries.length; ++i) {
            sum += escrow.holdOf(_held(entries[i].settled.batch)).amount;
        }
    }

    function books() external view returns (uint256 held, uint256 balance) {
        return (escrow.heldOf(address(usd)), usd.balanceOf(address(escrow)));
    }
}
