// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";
import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {DisputeHandler} from "./DisputeHandler.sol";

/// @notice Invariants 1 and 24 of contracts/README.md under challenges, answers, refunds, contradictions and releases.
contract DisputeInvariantsTest is Test {
    DisputeHandler private handler;

    function setUp() external {
        handler = new DisputeHandler();
        bytes4[] memory actions = new bytes4[](8);
        actions[0] = DisputeHandler.settle.selector;
        actions[1] = DisputeHandler.challenge.selector;
        actions[2] = DisputeHandler.answer.selector;
        actions[3] = DisputeHandler.refund.selector;
        actions[4] = DisputeHandler.contradict.selector;
        actions[5] = DisputeHandler.release.selector;
        actions[6] = DisputeHandler.exit.selector;
        actions[7] = DisputeHandler.wait.selector;
        targetContract(address(handler));
        targetSelector(FuzzSelector(address(handler), actions));
    }

    /// @dev 1
    function invariant_escrowHoldsWhatItSays() external view {
        (uint256 held, uint256 balance) = handler.books();
        assertEq(held, handler.owed());
        assertLe(held, balance);
    }

    /// @dev 24
    function invariant_whatABatchDrewIsHeldRefundedOrReleasedOnce() external view {
        for (uint64 batch = 1; batch <= handler.count(); ++batch) {
            (IDisputes.Hold memory hold, uint256 expected, uint256 open) = handler.heldOf(batch);
            assertEq(hold.amount, expected);
            assertEq(hold.disputed, open);
            assertLe(hold.disputed, hold.amount);
        }
        assertFalse(handler.refundedTwice());
        assertFalse(handler.refundedAfterRelease());
        assertFalse(handler.answeredOthersCharge());
    }

    /// @dev Shows that the handler does what it is for.
    function test_handlerReachesEveryAction() external {
        handler.settle(1);
        handler.settle(3);
        handler.challenge(0, 2);
        handler.answer(0, true);
        handler.answer(0, false);
        // The second batch charges a receipt of the first once more, and the third one charges one in both lines.
        handler.contradict(3, 1, 0, 0);
        handler.settle(5);
        handler.contradict(5, 4, 2, 0);
        handler.challenge(4, 0);
        handler.exit(1);
        handler.wait(1 hours);
        handler.refund(4);
        handler.release(0);
        bytes32[7] memory names =
            [bytes32("settle"), "challenge", "answer", "refund", "contradict", "release", "settle"];
        for (uint256 i = 0; i < names.length; ++i) {
            assertGt(handler.calls(names[i]), 0, string(abi.encodePacked(names[i])));
        }
        assertEq(handler.refundedInAll(), 180);
    }
}
