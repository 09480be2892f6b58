// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {ILicense} from "../src/interfaces/ILicense.sol";
import {ILicenseSale} from "../src/interfaces/ILicenseSale.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {Purchases} from "../src/libraries/Purchases.sol";
import {HookToken} from "./mocks/Tokens.sol";
import {SignedBase} from "./SignedBase.sol";

contract PlanLimitsTest is SignedBase {
    uint64 private constant TRIAL = 7 days;

    function _limited(uint64 supply, uint32 perRecipient) private returns (uint256) {
        IPlanBook.PlanTerms memory terms = _terms();
        (terms.supply, terms.perRecipient) = (supply, perRecipient);
        (terms.trialPeriod, terms.trialUnits) = (TRIAL, 20);
        return _createPlan(terms);
    }

    function _soldOut(uint64 supply) private view returns (bytes memory) {
        return abi.encodeWithSelector(IPlanBook.PlanBook_SoldOut.selector, planId, supply);
    }

    function _tooMany(address recipient, uint32 limit) private view returns (bytes memory) {
        return abi.encodeWithSelector(IPlanBook.PlanBook_RecipientLimit.selector, planId, recipient, limit);
    }

    /// @dev Tries every way of paying; each is refused by the same limit, and none takes money.
    function _expectEachPurchaseRefused(bytes memory error) private {
        uint256 before = usd.balanceOf(signer);
        Purchases.PurchaseIntent memory intent = _intent();
        (bytes memory authorization, bytes memory witness) = (_authorize(intent), _witness(intent));
        ILicenseSale.PermitSignature memory permit = _permit(PRICE);
        _approvePermit2();
        vm.startPrank(signer);
        usd.approve(address(sale), PRICE);
        vm.expectRevert(error);
        sale.purchase(planId, signer, PRICE);
        vm.expectRevert(error);
        sale.purchaseWithPermit(planId, signer, PRICE, permit);
        vm.stopPrank();
        vm.expectRevert(error);
        _relay(intent, authorization);
        vm.expectRevert(error);
        _relay2(intent, witness);
        assertEq(usd.balanceOf(signer), before);
    }

    /// @dev Buys once in every way of paying.
    function _buyInEachWay() private {
        Purchases.PurchaseIntent memory intent = _intent();
        (bytes memory authorization, bytes memory witness) = (_authorize(intent), _witness(intent));
        _approvePermit2();
        _relay(intent, authorization);
        _relay2(intent, witness);
        ILicenseSale.PermitSignature memory permit = _permit(PRICE);
        vm.startPrank(signer);
        sale.purchaseWithPermit(planId, signer, PRICE, permit);
        usd.approve(address(sale), PRICE);
        sale.purchase(planId, signer, PRICE);
        vm.stopPrank();
    }

    function test_supply_IsSharedByAllWaysOfPaying() external {
        planId = _limited(4, 0);
        _buyInEachWay();
        assertEq(planBook.soldOf(planId), 4);
        _expectEachPurchaseRefused(_soldOut(4));
        assertEq(planBook.soldOf(planId), 4);
    }

    function test_perRecipient_IsSharedByAllWaysOfPaying() external {
        planId = _limited(0, 4);
        _buyInEachWay();
        (uint32 licenses,) = planBook.takenOf(planId, signer);
        assertEq(licenses, 4);
        _expectEachPurchaseRefused(_tooMany(signer, 4));
    }

    function test_perRecipient_BoundsWhoReceivesNotWhoPays() external {
        planId = _limited(0, 1);
        _buy(planId, signer);
        _buy(planId, stranger);
        _fund(buyer, address(sale), PRICE);
        vm.expectRevert(_tooMany(signer, 1));
        vm.prank(buyer);
        sale.purchase(planId, signer, PRICE);
    }

    function test_limits_KeepNoCountWhereThereIsNone() external {
        _buyInEachWay();
        (uint32 licenses, bool trial) = planBook.takenOf(planId, signer);
        assertEq(planBook.soldOf(planId), 0);
        assertEq(licenses, 0);
        assertFalse(trial);
    }

    function test_limits_CountNoPurchaseThatIsNotPaid() external {
        planId = _limited(1, 1);
        vm.startPrank(stranger);
        usd.approve(address(sale), PRICE);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, stranger, 0, PRICE));
        sale.purchase(planId, stranger, PRICE);
        vm.stopPrank();
        assertEq(planBook.soldOf(planId), 0);
        _buy(planId, stranger);
    }

    function test_limits_OutliveTheLicense() external {
        planId = _limited(1, 1);
        uint256 tokenId = _buy(planId, signer);
        vm.prank(signer);
        license.burn(tokenId);
        _expectEachPurchaseRefused(_soldOut(1));
    }

    function test_limits_LeaveRenewalsAlone() external {
        planId = _limited(1, 1);
        uint256 tokenId = _buy(planId, signer);
        _fund(buyer, address(sale), 2 * PRICE);
        vm.startPrank(buyer);
        assertEq(sale.renew(tokenId, PRICE), 1);
        assertEq(sale.renew(tokenId, PRICE), 2);
        vm.stopPrank();
    }

    /// @dev The currency's code buys a second licence while the first is being paid for.
    function test_supply_HoldsAgainstACurrencyThatCallsBack() external {
        HookToken token = new HookToken();
        IPlanBook.PlanTerms memory terms = _terms();
        (terms.currency, terms.supply) = (address(token), 1);
        planId = _createPlan(terms);
        token.mint(signer, 2 * PRICE);
        token.arm(address(sale), abi.encodeCall(sale.purchase, (planId, stranger, PRICE)));
        vm.startPrank(signer);
        token.approve(address(sale), PRICE);
        sale.purchase(planId, signer, PRICE);
        vm.stopPrank();
        assertEq(planBook.soldOf(planId), 1);
        assertEq(license.balanceOf(stranger), 0);
    }

    function test_count_RevertWhen_CallerIsNoActiveSale() external {
        bytes memory error = abi.encodeWithSelector(IPlanBook.PlanBook_NotSale.selector, stranger);
        vm.startPrank(stranger);
        vm.expectRevert(error);
        planBook.countSale(planId, signer);
        vm.expectRevert(error);
        planBook.countTrial(planId, signer);
        vm.expectRevert(error);
        planBook.countConversion(planId);
        vm.stopPrank();
        _advance(address(sale), IDirectory.Status.Retiring);
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_NotSale.selector, address(sale)));
        vm.prank(address(sale));
        planBook.countSale(planId, signer);
    }

    function test_startTrial_RevertWhen_PlanHasNone() external {
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_NoTrial.selector, planId));
        vm.prank(signer);
        sale.startTrial(planId);
    }

    function test_startTrial_RevertWhen_SaleOrPlanIsClosed() external {
        planId = _limited(0, 0);
        vm.prank(publisher);
        planBook.closePlan(planId);
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_Closed.selector, planId));
        vm.prank(signer);
        sale.startTrial(planId);
        planId = _limited(0, 0);
        _advance(address(sale), IDirectory.Status.Retiring);
        vm.expectRevert(
            abi.encodeWithSelector(IDirectory.Directory_NotActive.selector, address(sale), IDirectory.Status.Retiring)
        );
        vm.prank(signer);
        sale.startTrial(planId);
    }

    function test_startTrial_IsFreeAndOnceForEachAccount() external {
        planId = _limited(0, 0);
        uint64 end = uint64(block.timestamp) + TRIAL;
        vm.expectEmit(address(sale));
        emit ILicenseSale.LicensePurchased(1, planId, assetId, signer, signer, 0, uint64(block.timestamp), end, true);
        vm.prank(signer);
        uint256 tokenId = sale.startTrial(planId);
        ILicense.Terms memory terms = license.licenseOf(tokenId);
        assertEq(terms.endTime, end);
        assertTrue(terms.trial);
        assertEq(usd.balanceOf(address(router)), 0);
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_TrialTaken.selector, planId, signer));
        vm.prank(signer);
        sale.startTrial(planId);
        vm.prank(stranger);
        sale.startTrial(planId);
    }

    function test_startTrial_StaysTakenWhenItsLicenseIsGone() external {
        planId = _limited(0, 0);
        vm.startPrank(signer);
        license.burn(sale.startTrial(planId));
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_TrialTaken.selector, planId, signer));
        sale.startTrial(planId);
        vm.stopPrank();
    }

    function test_startTrial_CountsForItsRecipient() external {
        planId = _limited(0, 1);
        vm.prank(signer);
        uint256 tokenId = sale.startTrial(planId);
        _expectEachPurchaseRefused(_tooMany(signer, 1));
        _fund(buyer, address(sale), PRICE);
        vm.prank(buyer);
        sale.renew(tokenId, PRICE);
        _buy(planId, stranger);
        vm.expectRevert(_tooMany(stranger, 1));
        vm.prank(stranger);
        sale.startTrial(planId);
    }

    /// @dev Whoever has many accounts could otherwise sell a plan out for nothing.
    function test_startTrial_TakesNothingFromTheSupplyUntilItIsPaid() external {
        planId = _limited(1, 0);
        vm.prank(stranger);
        uint256 late = sale.startTrial(planId);
        vm.prank(signer);
        uint256 first = sale.startTrial(planId);
        _fund(buyer, address(sale), 3 * PRICE);
        vm.startPrank(buyer);
        sale.renew(first, PRICE);
        assertEq(planBook.soldOf(planId), 1);
        sale.renew(first, PRICE);
        vm.expectRevert(_soldOut(1));
        sale.renew(late, PRICE);
        vm.stopPrank();
    }

    function test_renew_AddsAFullTermToATrial() external {
        planId = _limited(0, 0);
        vm.prank(signer);
        uint256 tokenId = sale.startTrial(planId);
        uint64 end = license.licenseOf(tokenId).endTime;
        _fund(buyer, address(sale), 2 * PRICE);
        vm.startPrank(buyer);
        sale.renew(tokenId, PRICE);
        assertEq(license.licenseOf(tokenId).endTime, end + PERIOD);
        vm.warp(end + PERIOD + 1 days);
        sale.renew(tokenId, PRICE);
        vm.stopPrank();
        assertEq(license.licenseOf(tokenId).endTime, block.timestamp + PERIOD);
    }

    function testFuzz_refundOf_CountsNoTimeOfATrial(uint32 passed, bool paid) external {
        planId = _limited(0, 0);
        vm.prank(signer);
        uint256 tokenId = sale.startTrial(planId);
        uint256 begin = block.timestamp;
        _fund(buyer, address(sale), PRICE);
        vm.prank(buyer);
        if (paid) sale.renew(tokenId, PRICE);
        vm.warp(begin + bound(passed, 0, TRIAL + PERIOD));
        uint256 used = block.timestamp > begin + TRIAL ? block.timestamp - begin - TRIAL : 0;
        uint256 due = paid ? (uint256(PRICE) * (PERIOD - used) + PERIOD - 1) / PERIOD : 0;
        assertEq(breachBook.refundOf(tokenId), due);
    }

    function test_createPlan_RevertWhen_TrialIsHalf() external {
        uint64[2][3] memory wrong = [[uint64(0), 1], [uint64(1), 0], [uint64(PERIOD) + 1, 1]];
        for (uint256 i = 0; i < 3; ++i) {
            IPlanBook.PlanTerms memory terms = _terms();
            (terms.trialPeriod, terms.trialUnits) = (wrong[i][0], wrong[i][1]);
            vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_InvalidTrial.selector, wrong[i][0], wrong[i][1]));
            vm.prank(publisher);
            planBook.createPlan(terms);
        }
    }
}
