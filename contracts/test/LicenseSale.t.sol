// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {ILicense} from "../src/interfaces/ILicense.sol";
import {ILicenseSale} from "../src/interfaces/ILicenseSale.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {IRevenueRouter} from "../src/interfaces/IRevenueRouter.sol";
import {Base} from "./Base.sol";

contract LicenseSaleTest is Base {
    uint256 private planId;

    function setUp() public override {
        super.setUp();
        planId = _createPlan(_terms());
        _fund(buyer, address(sale), 100 * PRICE);
    }

    function test_purchase_RevertWhen_SaleIsNotActive() external {
        _advance(address(sale), IDirectory.Status.Retiring);
        vm.expectRevert(
            abi.encodeWithSelector(IDirectory.Directory_NotActive.selector, address(sale), IDirectory.Status.Retiring)
        );
        vm.prank(buyer);
        sale.purchase(planId, buyer, PRICE);
    }

    function test_purchase_RevertWhen_PlanIsUnknownOrClosed() external {
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_UnknownPlan.selector, 9));
        vm.prank(buyer);
        sale.purchase(9, buyer, PRICE);
        vm.prank(publisher);
        planBook.closePlan(planId);
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_Closed.selector, planId));
        vm.prank(buyer);
        sale.purchase(planId, buyer, PRICE);
    }

    function test_purchase_RevertWhen_PriceIsAboveTheLimit() external {
        vm.expectRevert(abi.encodeWithSelector(ILicenseSale.LicenseSale_PriceAboveMax.selector, PRICE, PRICE - 1));
        vm.prank(buyer);
        sale.purchase(planId, buyer, PRICE - 1);
    }

    function test_purchase_RevertWhen_MoneyIsMissing() external {
        usd.mint(stranger, PRICE);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(sale), 0, PRICE)
        );
        vm.prank(stranger);
        sale.purchase(planId, stranger, PRICE);
        assertFalse(license.isUsable(1));
    }

    function test_purchase_RevertWhen_NoRouterIsActive() external {
        _advance(address(router), IDirectory.Status.Retiring);
        vm.expectRevert(ILicenseSale.LicenseSale_NoRouter.selector);
        vm.prank(buyer);
        sale.purchase(planId, buyer, PRICE);
    }

    function test_purchase_OfAFreePlanMovesNoMoney() external {
        IPlanBook.PlanTerms memory terms = _terms();
        terms.price = 0;
        uint256 free = _createPlan(terms);
        vm.prank(stranger);
        assertTrue(license.isUsable(sale.purchase(free, stranger, 0)));
        assertEq(usd.balanceOf(address(router)), 0);
    }

    function test_purchase_MintsAndPays() external {
        uint64 end = uint64(block.timestamp) + PERIOD;
        uint256 before = usd.balanceOf(buyer);
        vm.expectEmit(address(sale));
        emit ILicenseSale.LicensePurchased(
            1, planId, assetId, buyer, stranger, PRICE, uint64(block.timestamp), end, false
        );
        vm.expectEmit(address(router));
        emit IRevenueRouter.RevenueReceived(
            assetId, address(usd), publisher, PRICE, IRevenueRouter.Source.Sale, bytes32(uint256(1))
        );
        vm.prank(buyer);
        uint256 tokenId = sale.purchase(planId, stranger, type(uint128).max);
        assertEq(license.ownerOf(tokenId), stranger);
        assertEq(license.licenseOf(tokenId).planId, planId);
        assertEq(license.endTime(tokenId), end);
        assertEq(before - usd.balanceOf(buyer), PRICE);
        assertEq(usd.balanceOf(address(sale)), 0);
        assertEq(router.pendingOf(assetId, address(usd)).amount, PRICE);
        assertEq(router.owedOf(address(usd)), PRICE);
    }

    function test_renew_RevertWhen_LicenseIsUnknownOrPlanClosed() external {
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_Unknown.selector, 9));
        vm.prank(buyer);
        sale.renew(9, PRICE);
        vm.prank(buyer);
        uint256 tokenId = sale.purchase(planId, buyer, PRICE);
        vm.prank(publisher);
        planBook.closePlan(planId);
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_Closed.selector, planId));
        vm.prank(buyer);
        sale.renew(tokenId, PRICE);
    }

    function test_renew_RevertWhen_PriceIsAboveTheLimit() external {
        vm.startPrank(buyer);
        uint256 tokenId = sale.purchase(planId, buyer, PRICE);
        vm.expectRevert(abi.encodeWithSelector(ILicenseSale.LicenseSale_PriceAboveMax.selector, PRICE, PRICE - 1));
        sale.renew(tokenId, PRICE - 1);
    }

    function testFuzz_renew_AddsAPeriodToTheEndOrToNow(uint64 wait) external {
        wait = uint64(bound(wait, 0, 10 * PERIOD));
        vm.prank(buyer);
        uint256 tokenId = sale.purchase(planId, stranger, PRICE);
        uint256 end = license.endTime(tokenId);
        skip(wait);
        uint64 expected = uint64((end > block.timestamp ? end : block.timestamp) + PERIOD);
        vm.expectEmit(address(sale));
        emit ILicenseSale.LicenseRenewed(tokenId, planId, assetId, buyer, PRICE, expected, 1);
        vm.prank(buyer);
        assertEq(sale.renew(tokenId, PRICE), 1);
        assertEq(license.endTime(tokenId), expected);
        assertTrue(license.isUsable(tokenId));
        assertEq(license.ownerOf(tokenId), stranger);
        assertEq(router.owedOf(address(usd)), 2 * PRICE);
    }
}
