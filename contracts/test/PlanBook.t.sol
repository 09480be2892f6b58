// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {Base} from "./Base.sol";

contract PlanBookTest is Base {
    function _expectRefusal(IPlanBook.PlanTerms memory terms, bytes memory error) private {
        vm.expectRevert(error);
        vm.prank(publisher);
        planBook.createPlan(terms);
    }

    function test_createPlan_RevertWhen_BookIsNotActive() external {
        _advance(address(planBook), IDirectory.Status.Retiring);
        _expectRefusal(
            _terms(),
            abi.encodeWithSelector(
                IDirectory.Directory_NotActive.selector, address(planBook), IDirectory.Status.Retiring
            )
        );
    }

    function test_createPlan_RevertWhen_CallerIsNotAuthorized() external {
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_Unauthorized.selector, assetId, stranger));
        vm.prank(stranger);
        planBook.createPlan(_terms());
        IPlanBook.PlanTerms memory terms = _terms();
        terms.assetId = keccak256("unknown");
        _expectRefusal(
            terms, abi.encodeWithSelector(IPlanBook.PlanBook_Unauthorized.selector, terms.assetId, publisher)
        );
    }

    function test_createPlan_RevertWhen_CurrencyHasNoCode() external {
        IPlanBook.PlanTerms memory terms = _terms();
        terms.currency = stranger;
        _expectRefusal(terms, abi.encodeWithSelector(IPlanBook.PlanBook_InvalidCurrency.selector, stranger));
    }

    function test_createPlan_RevertWhen_NothingIsSold() external {
        IPlanBook.PlanTerms memory terms = _terms();
        (terms.includedUnits, terms.unitPrice, terms.optimisticUnits, terms.optimisticAmount) = (0, 0, 0, 0);
        _expectRefusal(terms, abi.encodeWithSelector(IPlanBook.PlanBook_NothingSold.selector));
    }

    function test_createPlan_RevertWhen_OptimisticLimitsExceedWhatIsSold() external {
        IPlanBook.PlanTerms memory terms = _terms();
        terms.optimisticUnits = 1001;
        _expectRefusal(terms, abi.encodeWithSelector(IPlanBook.PlanBook_OptimisticAboveIncluded.selector, 1001, 1000));
        terms = _terms();
        terms.unitPrice = 0;
        _expectRefusal(terms, abi.encodeWithSelector(IPlanBook.PlanBook_OptimisticWithoutPrice.selector, 1000));
    }

    function test_createPlan_RevertWhen_PeriodIsOutOfRange() external {
        IPlanBook.PlanTerms memory terms = _terms();
        terms.period = 0;
        _expectRefusal(terms, abi.encodeWithSelector(IPlanBook.PlanBook_InvalidPeriod.selector, 0));
        terms.period = 3650 days + 1;
        _expectRefusal(terms, abi.encodeWithSelector(IPlanBook.PlanBook_InvalidPeriod.selector, terms.period));
    }

    function test_createPlan_RevertWhen_TermsOfUseAreMissing() external {
        IPlanBook.PlanTerms memory terms = _terms();
        terms.meteringRule = "";
        _expectRefusal(terms, abi.encodeWithSelector(IPlanBook.PlanBook_InvalidMeteringRule.selector, ""));
        terms.meteringRule = string(new bytes(65));
        _expectRefusal(
            terms, abi.encodeWithSelector(IPlanBook.PlanBook_InvalidMeteringRule.selector, terms.meteringRule)
        );
        terms = _terms();
        terms.requestsPerSecond = 0;
        _expectRefusal(terms, abi.encodeWithSelector(IPlanBook.PlanBook_InvalidRate.selector));
        terms = _terms();
        terms.server = address(0);
        _expectRefusal(terms, abi.encodeWithSelector(IPlanBook.PlanBook_InvalidServer.selector));
        terms = _terms();
        terms.termsDigest = 0;
        _expectRefusal(terms, abi.encodeWithSelector(IPlanBook.PlanBook_InvalidTermsDigest.selector));
    }

    function testFuzz_createPlan_KeepsTheTerms(IPlanBook.PlanTerms memory terms) external {
        terms.assetId = assetId;
        terms.currency = address(usd);
        terms.period = uint64(bound(terms.period, 1, 3650 days));
        terms.includedUnits = uint64(bound(terms.includedUnits, 1, type(uint64).max));
        terms.unitPrice = uint128(bound(terms.unitPrice, 1, type(uint128).max));
        terms.optimisticUnits = uint64(bound(terms.optimisticUnits, 0, terms.includedUnits));
        terms.requestsPerSecond = uint32(bound(terms.requestsPerSecond, 1, type(uint32).max));
        terms.meteringRule = "request";
        terms.breachNotice = uint64(bound(terms.breachNotice, 7 days, 90 days));
        if (terms.breachGrounds == 0) terms.breachNotice = 0;
        terms.trialPeriod = uint64(bound(terms.trialPeriod, 0, terms.period));
        terms.trialUnits = terms.trialPeriod == 0 ? 0 : uint64(bound(terms.trialUnits, 1, type(uint64).max));
        vm.assume(terms.server != address(0) && terms.termsDigest != 0);
        vm.expectEmit(address(planBook));
        emit IPlanBook.PlanCreated(1, assetId, publisher, terms);
        assertEq(_createPlan(terms), 1);
        assertEq(abi.encode(planBook.termsOf(1)), abi.encode(terms));
        assertEq(abi.encode(planBook.openTermsOf(1)), abi.encode(terms));
        assertTrue(planBook.isOpen(1));
        assertEq(_createPlan(terms), 2);
        assertEq(planBook.planCount(), 2);
    }

    function test_createPlan_AcceptsEachWayOfSelling() external {
        IPlanBook.PlanTerms memory terms = _terms();
        (terms.unitPrice, terms.optimisticAmount) = (0, 0);
        _createPlan(terms);
        terms = _terms();
        (terms.includedUnits, terms.optimisticUnits, terms.price) = (0, 0, 0);
        _createPlan(terms);
    }

    function test_closePlan_RevertWhen_PlanIsUnknownOrClosed() external {
        vm.startPrank(publisher);
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_UnknownPlan.selector, 0));
        planBook.closePlan(0);
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_UnknownPlan.selector, 1));
        planBook.closePlan(1);
        uint256 planId = planBook.createPlan(_terms());
        planBook.closePlan(planId);
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_Closed.selector, planId));
        planBook.closePlan(planId);
    }

    function test_closePlan_FollowsTheOwnerOfTheAsset() external {
        uint256 planId = _createPlan(_terms());
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.prank(publisher);
        registry.transferFrom(publisher, buyer, tokenId);
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_Unauthorized.selector, assetId, publisher));
        vm.prank(publisher);
        planBook.closePlan(planId);
        vm.expectEmit(address(planBook));
        emit IPlanBook.PlanClosed(planId, assetId);
        vm.prank(buyer);
        planBook.closePlan(planId);
    }

    function test_closePlan_KeepsTheTermsReadable() external {
        uint256 planId = _createPlan(_terms());
        vm.prank(publisher);
        planBook.closePlan(planId);
        assertFalse(planBook.isOpen(planId));
        assertEq(planBook.termsOf(planId).price, PRICE);
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_Closed.selector, planId));
        planBook.openTermsOf(planId);
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_UnknownPlan.selector, 9));
        planBook.termsOf(9);
    }

    function test_closePlan_StaysPossibleWhileTheBookRetires() external {
        uint256 planId = _createPlan(_terms());
        _advance(address(planBook), IDirectory.Status.Retiring);
        vm.prank(publisher);
        planBook.closePlan(planId);
    }
}
