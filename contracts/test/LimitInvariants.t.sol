// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {Base} from "./Base.sol";
import {LimitHandler} from "./LimitHandler.sol";

/// @notice The numbers are those of contracts/README.md.
contract LimitInvariantsTest is Base {
    uint64 private constant SUPPLY = 5;
    uint32 private constant PER_RECIPIENT = 3;

    LimitHandler private handler;
    uint256 private planId;

    function setUp() public override {
        super.setUp();
        IPlanBook.PlanTerms memory terms = _terms();
        (terms.supply, terms.perRecipient) = (SUPPLY, PER_RECIPIENT);
        (terms.trialPeriod, terms.trialUnits) = (7 days, 20);
        planId = _createPlan(terms);
        handler = new LimitHandler(license, sale, usd, planId);
        targetContract(address(handler));
    }

    /// @dev 19
    function invariant_noMoreIsSoldThanThePlanSays() external view {
        assertLe(handler.paidLicenses(), SUPPLY);
        assertEq(handler.paidLicenses(), planBook.soldOf(planId));
    }

    /// @dev 19
    function invariant_nobodyReceivesMoreThanThePlanSays() external view {
        for (uint256 i = 0; i < 3; ++i) {
            address person = handler.people(i);
            (uint32 licenses, bool trial) = planBook.takenOf(planId, person);
            assertLe(handler.received(person), PER_RECIPIENT);
            assertLe(handler.trials(person), 1);
            assertEq(handler.received(person), licenses);
            assertEq(handler.trials(person) == 1, trial);
        }
    }

    /// @dev Shows that the handler does what it is for.
    function test_handlerReachesEveryAction() external {
        handler.tryOut(0);
        handler.tryOut(0);
        handler.renew(1, 0);
        handler.buy(0, 1);
        handler.move(0, 2);
        handler.burn(0);
        handler.wait(1 days);
        for (uint256 i = 0; i < 9; ++i) {
            handler.buy(0, i);
        }
        assertEq(handler.paidLicenses(), SUPPLY);
        assertEq(handler.trials(handler.people(0)), 1);
    }
}
