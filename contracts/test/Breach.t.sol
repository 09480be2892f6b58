// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IBreachBook} from "../src/interfaces/IBreachBook.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {ILicense} from "../src/interfaces/ILicense.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {BreachBase} from "./BreachBase.sol";
import {FeeToken, HookToken} from "./mocks/Tokens.sol";

contract BreachTest is BreachBase {
    function test_createPlan_RevertWhen_BreachRuleIsIncompleteOrOutOfRange() external {
        bytes32 grounds = keccak256("grounds");
        uint64[5] memory notices = [uint64(7 days - 1), 1, 90 days + 1, 7 days, 0];
        bytes32[5] memory stated = [grounds, grounds, grounds, bytes32(0), grounds];
        for (uint256 i = 0; i < 5; ++i) {
            IPlanBook.PlanTerms memory terms = _terms();
            (terms.breachNotice, terms.breachGrounds) = (notices[i], stated[i]);
            vm.expectRevert(
                abi.encodeWithSelector(IPlanBook.PlanBook_InvalidBreachRule.selector, notices[i], stated[i])
            );
            vm.prank(publisher);
            planBook.createPlan(terms);
        }
    }

    function test_announce_RevertWhen_BookIsRetired() external {
        _advance(address(breachBook), IDirectory.Status.Retiring);
        _advance(address(breachBook), IDirectory.Status.Retired);
        vm.expectRevert(
            abi.encodeWithSelector(
                IDirectory.Directory_NotActive.selector, address(breachBook), IDirectory.Status.Retired
            )
        );
        vm.prank(publisher);
        breachBook.announce(ID, EVIDENCE);
    }

    function test_announce_RevertWhen_CallerDoesNotSpeakForTheAsset() external {
        address[4] memory callers = [stranger, buyer, operator, address(this)];
        for (uint256 i = 0; i < 4; ++i) {
            bytes memory refusal =
                abi.encodeWithSelector(IBreachBook.BreachBook_Unauthorized.selector, assetId, callers[i]);
            vm.startPrank(callers[i]);
            vm.expectRevert(refusal);
            breachBook.announce(ID, EVIDENCE);
            vm.expectRevert(refusal);
            breachBook.retract(ID);
            vm.expectRevert(refusal);
            breachBook.revoke(ID, PRICE);
            vm.stopPrank();
        }
    }

    function test_announce_RevertWhen_PlanStatesNoGrounds() external {
        IPlanBook.PlanTerms memory terms = _terms();
        (terms.breachNotice, terms.breachGrounds) = (0, 0);
        uint256 planId = _createPlan(terms);
        uint256 tokenId = _buy(planId, buyer);
        vm.expectRevert(abi.encodeWithSelector(IBreachBook.BreachBook_NotRevocable.selector, tokenId, planId));
        vm.prank(publisher);
        breachBook.announce(tokenId, EVIDENCE);
    }

    function test_announce_RevertWhen_EndedWithoutEvidenceOrTwice() external {
        vm.startPrank(publisher);
        vm.expectRevert(abi.encodeWithSelector(IBreachBook.BreachBook_NoEvidence.selector, ID));
        breachBook.announce(ID, 0);
        uint64 effectiveAt = uint64(block.timestamp) + NOTICE;
        vm.expectEmit(address(breachBook));
        emit IBreachBook.BreachAnnounced(ID, 1, assetId, EVIDENCE, effectiveAt, effectiveAt + 7 days);
        assertEq(breachBook.announce(ID, EVIDENCE), effectiveAt);
        assertEq(breachBook.announcedFor(ID), effectiveAt);
        vm.expectRevert(abi.encodeWithSelector(IBreachBook.BreachBook_Announced.selector, ID, effectiveAt));
        breachBook.announce(ID, EVIDENCE);
        vm.warp(end);
        vm.expectRevert(abi.encodeWithSelector(IBreachBook.BreachBook_Ended.selector, ID, end));
        breachBook.announce(ID, EVIDENCE);
    }

    function test_revoke_RevertWhen_NotAnnouncedNoticeRunsOrItHasLapsed() external {
        bytes memory never = abi.encodeWithSelector(IBreachBook.BreachBook_NotAnnounced.selector, ID);
        vm.expectRevert(never);
        vm.prank(publisher);
        breachBook.revoke(ID, PRICE);
        uint64 effectiveAt = _announce();
        vm.warp(effectiveAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IBreachBook.BreachBook_NoticeRuns.selector, ID, effectiveAt));
        vm.prank(publisher);
        breachBook.revoke(ID, PRICE);
        // An announcement does not hang over the licence for ever.
        vm.warp(effectiveAt + 7 days + 1);
        vm.expectRevert(never);
        vm.prank(publisher);
        breachBook.revoke(ID, PRICE);
        vm.warp(effectiveAt + 7 days);
        _revoke();
    }

    function test_revoke_RevertWhen_Retracted() external {
        _announce();
        vm.expectEmit(address(breachBook));
        emit IBreachBook.BreachRetracted(ID);
        vm.prank(publisher);
        breachBook.retract(ID);
        skip(NOTICE);
        vm.expectRevert(abi.encodeWithSelector(IBreachBook.BreachBook_NotAnnounced.selector, ID));
        vm.prank(publisher);
        breachBook.revoke(ID, PRICE);
    }

    function test_revoke_RevertWhen_ItEndedMeanwhile() external {
        vm.warp(end - NOTICE);
        _announce();
        vm.warp(end);
        vm.expectRevert(abi.encodeWithSelector(IBreachBook.BreachBook_Ended.selector, ID, end));
        vm.prank(publisher);
        breachBook.revoke(ID, PRICE);
        assertEq(breachBook.refundOf(ID), 0);
    }

    function test_revoke_PaysTheTimeThatIsLeftToTheHolder() external {
        _announce();
        skip(NOTICE);
        // Who holds it now is paid, whoever bought it.
        vm.prank(buyer);
        license.transferFrom(buyer, payer, ID);
        uint256 expected = uint256(PRICE) * 23 / 30 + 1;
        assertEq(breachBook.refundOf(ID), expected);
        _fund(publisher, address(breachBook), expected);
        vm.expectRevert(abi.encodeWithSelector(IBreachBook.BreachBook_RefundAboveMax.selector, expected, expected - 1));
        vm.prank(publisher);
        breachBook.revoke(ID, expected - 1);
        vm.expectEmit(address(license));
        emit ILicense.LicenseRevoked(ID, 1, uint64(block.timestamp));
        vm.expectEmit(address(breachBook));
        emit IBreachBook.BreachRefunded(ID, payer, address(usd), expected);
        vm.prank(publisher);
        breachBook.revoke(ID, expected);
        assertEq(breachBook.claimableOf(payer, address(usd)), expected);
        uint256 before = usd.balanceOf(payer);
        vm.prank(payer);
        assertEq(breachBook.claim(address(usd)), expected);
        assertEq(usd.balanceOf(payer) - before, expected);
        // Double claim, and cancel then claim.
        bytes memory nothing =
            abi.encodeWithSelector(IBreachBook.BreachBook_NothingToClaim.selector, payer, address(usd));
        vm.expectRevert(nothing);
        vm.prank(payer);
        breachBook.claim(address(usd));
        vm.expectRevert(abi.encodeWithSelector(IBreachBook.BreachBook_NotAnnounced.selector, ID));
        vm.prank(publisher);
        breachBook.retract(ID);
        assertEq(breachBook.owedOf(address(usd)), 0);
    }

    function testFuzz_refund_IsRoundedUpAndNeverMoreThanWasPaid(uint128 price, uint64 period, uint64 at, uint8 terms)
        external
    {
        price = uint128(bound(price, 0, type(uint128).max / 16));
        period = uint64(bound(period, 1 + NOTICE, 3650 days));
        terms = uint8(bound(terms, 1, 8));
        IPlanBook.PlanTerms memory plan = _terms();
        (plan.price, plan.period) = (price, period);
        uint256 planId = _createPlan(plan);
        _fund(payer, address(sale), uint256(price) * terms);
        vm.startPrank(payer);
        uint256 tokenId = sale.purchase(planId, payer, price);
        for (uint256 i = 1; i < terms; ++i) {
            sale.renew(tokenId, price);
        }
        vm.stopPrank();
        uint256 until = license.endTime(tokenId);
        at = uint64(bound(at, block.timestamp, until));
        uint256 left = until - at;
        vm.warp(at);
        uint256 refund = breachBook.refundOf(tokenId);
        assertLe(refund, uint256(price) * terms);
        // refund - 1 < price * left / period <= refund, without the division.
        assertGe(refund * period, uint256(price) * left);
        if (refund != 0) assertLt((refund - 1) * period, uint256(price) * left);
    }

    function test_revoke_EndsADelegationEvenABindingOne() external {
        _delegate(end, false);
        _breach();
        assertEq(license.userOf(ID), address(0));
    }

    function test_licenseRevoke_RevertWhen_CallerIsNotAnOpenBreachBook() external {
        address[4] memory callers = [stranger, publisher, address(sale), address(this)];
        for (uint256 i = 0; i < 4; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ILicense.License_NotBreachBook.selector, callers[i]));
            vm.prank(callers[i]);
            license.revoke(ID);
        }
        _announce();
        skip(NOTICE);
        // What was announced before can be ended while the book is retiring, and not after.
        _advance(address(breachBook), IDirectory.Status.Retiring);
        uint256 snapshot = vm.snapshotState();
        _revoke();
        vm.revertToState(snapshot);
        _advance(address(breachBook), IDirectory.Status.Retired);
        _fund(publisher, address(breachBook), PRICE);
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_NotBreachBook.selector, address(breachBook)));
        vm.prank(publisher);
        breachBook.revoke(ID, PRICE);
    }

    function test_attack_feeOnTransferInsideARefund() external {
        FeeToken fee = new FeeToken();
        fee.setCharging(false);
        fee.mint(publisher, PRICE);
        uint256 tokenId = _buyIn(address(fee));
        fee.setCharging(true);
        vm.startPrank(publisher);
        breachBook.announce(tokenId, EVIDENCE);
        skip(NOTICE);
        fee.approve(address(breachBook), PRICE);
        uint256 refund = breachBook.refundOf(tokenId);
        vm.expectPartialRevert(IBreachBook.BreachBook_AmountMismatch.selector);
        breachBook.revoke(tokenId, refund);
        vm.stopPrank();
        assertTrue(license.isUsable(tokenId));
    }

    /// @dev The currency is the publisher's own: it claims the refund while it is still being paid.
    function test_attack_reentrancyFromTheRefundsToken() external {
        HookToken hook = new HookToken();
        uint256 tokenId = _buyIn(address(hook));
        vm.prank(buyer);
        license.transferFrom(buyer, address(hook), tokenId);
        hook.mint(publisher, PRICE);
        vm.startPrank(publisher);
        breachBook.announce(tokenId, EVIDENCE);
        skip(NOTICE);
        hook.approve(address(breachBook), PRICE);
        hook.arm(address(breachBook), abi.encodeCall(IBreachBook.claim, (address(hook))));
        uint256 refund = breachBook.refundOf(tokenId);
        breachBook.revoke(tokenId, refund);
        vm.stopPrank();
        assertTrue(hook.called());
        assertFalse(hook.succeeded());
        assertEq(bytes4(hook.answer()), ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        assertEq(breachBook.claimableOf(address(hook), address(hook)), refund);
        assertEq(hook.balanceOf(address(breachBook)), refund);
    }

    function _buyIn(address currency) private returns (uint256 tokenId) {
        IPlanBook.PlanTerms memory terms = _terms();
        terms.currency = currency;
        uint256 planId = _createPlan(terms);
        HookToken(currency).mint(buyer, PRICE);
        vm.startPrank(buyer);
        HookToken(currency).approve(address(sale), PRICE);
        tokenId = sale.purchase(planId, buyer, PRICE);
        vm.stopPrank();
    }
}
