// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Base} from "./Base.sol";
import {BreachHandler} from "./BreachHandler.sol";

/// @notice The numbers are those of contracts/README.md.
contract BreachInvariantsTest is Base {
    BreachHandler private handler;

    function setUp() public override {
        super.setUp();
        handler = new BreachHandler(license, sale, breachBook, usd, publisher, _createPlan(_terms()));
        targetContract(address(handler));
    }

    /// @dev 16
    function invariant_everyRefundIsOwedOrPaid() external view {
        uint256 claimable;
        for (uint256 i = 0; i < 3; ++i) {
            claimable += breachBook.claimableOf(handler.people(i), address(usd));
        }
        assertEq(breachBook.owedOf(address(usd)), claimable);
        assertEq(usd.balanceOf(address(breachBook)), claimable);
        assertEq(claimable + handler.claimed(), handler.refunded());
    }

    /// @dev 3
    function invariant_nobodyLowersAnothersRefund() external view {
        assertFalse(handler.lowered());
    }

    /// @dev 17
    function invariant_nobodyIsRevokedBeforeTheNotice() external view {
        assertFalse(handler.tooEarly());
        assertFalse(handler.revived());
    }

    /// @dev Shows that the handler does what it is for.
    function test_handlerReachesEveryAction() external {
        handler.buy(0);
        handler.buy(1);
        handler.announce(0);
        handler.announce(1);
        handler.retract(1);
        handler.renew(0);
        handler.transfer(1, 2);
        handler.wait(8 days);
        handler.revoke(0);
        handler.renew(0);
        handler.claim(0);
        assertEq(handler.revoked(), 1);
        assertGt(handler.claimed(), 0);
        assertEq(license.ownerOf(2), handler.people(2));
    }
}
