// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Base} from "./Base.sol";
import {MandateHandler} from "./MandateHandler.sol";

/// @notice The numbers are those of contracts/README.md.
contract MandateInvariantsTest is Base {
    MandateHandler private handler;

    function setUp() public override {
        super.setUp();
        handler = new MandateHandler(escrow, usd, batchRoots, assetId);
        targetContract(address(handler));
    }

    /// @dev 16
    function invariant_noMandateDrawsBeyondItsTerms() external view {
        for (uint256 i = 0; i < handler.count(); ++i) {
            MandateHandler.Model memory one = handler.model(i);
            uint256 sum;
            for (uint32 w = 0; w < 90; ++w) {
                uint256 amount = handler.amountOf(one.id, w);
                assertLe(amount, one.terms.windowAmount);
                assertLe(handler.recordsOf(one.id, w), one.terms.windowRecords);
                sum += amount;
            }
            assertEq(sum, one.drawn);
            assertLe(sum, one.terms.totalAmount);
            assertLe(one.drawnSinceRevoked, one.terms.inFlightCap);
        }
    }

    /// @dev 17
    function invariant_everyItemPaysWhatTheModelPays() external view {
        assertFalse(handler.differed());
        for (uint256 i = 0; i < 4; ++i) {
            assertEq(escrow.depositOf(handler.depositId(i)).drawn, handler.drawnOf(handler.depositId(i)));
        }
    }

    /// @dev Shows that the handler does what it is for.
    function test_handlerReachesEveryAction() external {
        handler.open(0, 1000, 100, 60, 900, true);
        handler.open(0, 2000, 90, 60, 900, false);
        uint256[3] memory which = [uint256(0), 0, 1];
        uint128[3] memory due = [uint128(300_000), 1, 5];
        uint32[3] memory more = [uint32(0x102), 0x102, 0x102];
        handler.wait(300);
        handler.settle(0, which, due, more);
        assertEq(handler.paidItems(), 2);
        assertEq(handler.cutItems(), 1);
        handler.revoke(1);
        which[0] = 1;
        handler.settle(0, which, due, more);
        assertGt(handler.drawsSinceRevoked(), 0);
        assertFalse(handler.differed());
    }
}
