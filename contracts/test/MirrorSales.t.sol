// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {IShares} from "../src/interfaces/IShares.sol";
import {ISharesFactory} from "../src/interfaces/ISharesFactory.sol";
import {Mirrors} from "../src/libraries/Mirrors.sol";
import {MirrorBase} from "./MirrorBase.sol";

contract MirrorSalesTest is MirrorBase {
    function _expectClosed(uint256 planId, uint256 tokenId) private {
        bytes memory closed = abi.encodeWithSelector(IPlanBook.PlanBook_MirrorClosed.selector, planId, mirrored);
        _fund(buyer, address(sale), PRICE);
        vm.startPrank(buyer);
        vm.expectRevert(closed);
        sale.purchase(planId, buyer, PRICE);
        vm.expectRevert(closed);
        sale.renew(tokenId, PRICE);
        vm.stopPrank();
        vm.expectRevert(closed);
        planBook.openTermsOf(planId);
        assertFalse(planBook.isOpen(planId));
        vm.prank(agent);
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_Unauthorized.selector, mirrored, agent));
        planBook.createPlan(_mirrorTerms());
    }

    function _sell() private returns (uint256 planId, uint256 tokenId) {
        _open();
        planId = _mirrorPlan();
        tokenId = _buy(planId, buyer);
    }

    function test_ownerCreatesAndClosesPlans() external {
        _open();
        uint256 planId = _mirrorPlan();
        assertTrue(planBook.isOpen(planId));
        vm.prank(owner.addr);
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_Unauthorized.selector, mirrored, owner.addr));
        planBook.closePlan(planId);
        vm.startPrank(agent);
        planBook.closePlan(planId);
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_Closed.selector, planId));
        planBook.closePlan(planId);
    }

    function test_aReportedTransferStopsEverySale() external {
        (uint256 planId, uint256 tokenId) = _sell();
        _transferAtHome(owner.addr, nextOwner.addr);
        _report();
        _expectClosed(planId, tokenId);
    }

    function test_theEndOfAStatementStopsEverySale() external {
        (uint256 planId, uint256 tokenId) = _sell();
        skip(7 days);
        _expectClosed(planId, tokenId);
    }

    function test_theNextOwnerSellsAgainByThePlansThatThereAre() external {
        (uint256 planId, uint256 tokenId) = _sell();
        _transferAtHome(owner.addr, nextOwner.addr);
        _report();
        Mirrors.Statement memory statement = _statement();
        (statement.homeOwner, statement.epoch, statement.owner) = (nextOwner.addr, 2, stranger);
        _bind(nextOwner, statement);
        _fund(buyer, address(sale), 2 * PRICE);
        vm.startPrank(buyer);
        sale.purchase(planId, buyer, PRICE);
        sale.renew(tokenId, PRICE);
        vm.stopPrank();
        router.distribute(mirrored, address(usd));
        router.distribute(mirrored, address(usd));
        assertEq(router.claimableOf(agent, address(usd)), PRICE - PRICE / 100);
        assertEq(router.claimableOf(stranger, address(usd)), 2 * (PRICE - PRICE / 100));
    }

    function test_licencesGoOn() external {
        (, uint256 tokenId) = _sell();
        _transferAtHome(owner.addr, nextOwner.addr);
        _report();
        assertTrue(license.isUsable(tokenId));
        vm.prank(buyer);
        license.transferFrom(buyer, payer, tokenId);
        assertEq(license.ownerOf(tokenId), payer);
        vm.prank(payer);
        license.burn(tokenId);
    }

    function test_revenueReachesTheMirrorsOwner() external {
        _sell();
        bytes32 depositId = _deposit(payer, 1000);
        _transferAtHome(owner.addr, nextOwner.addr);
        _report();
        usd.mint(address(router), 1000);
        vm.prank(address(sale));
        router.receiveRevenue(mirrored, address(usd), 1000, depositId);
        router.distribute(mirrored, address(usd));
        uint256 due = PRICE + 1000 - (PRICE + 1000) / 100;
        assertEq(router.payeeOf(mirrored), agent);
        vm.prank(agent);
        assertEq(router.claim(address(usd)), due);
    }

    function test_whatBelongsToTheHomeStaysThere() external {
        _open();
        bytes memory unknown = abi.encodeWithSelector(IAssetRegistry.AssetRegistry_UnknownAsset.selector, mirrored);
        assertFalse(registry.mayPublish(mirrored, agent));
        vm.startPrank(agent);
        vm.expectRevert(unknown);
        registry.publishVersion(mirrored, "digest", "uri");
        vm.expectRevert(unknown);
        registry.activateVersion(mirrored, "digest");
        vm.expectRevert(unknown);
        registry.setDelegate(mirrored, agent, true);
        vm.expectRevert(unknown);
        registry.setContributors(mirrored, 0, new IAssetRegistry.Contributor[](0));
        vm.expectRevert(unknown);
        registry.setRoyalty(mirrored, agent, 0);
        ISharesFactory.Order memory order;
        order.assetId = mirrored;
        order.steward = agent;
        order.delay = 14 days;
        (order.shares.name, order.shares.symbol) = ("Shares", "S");
        order.shares.currencies = new address[](1);
        order.shares.currencies[0] = address(usd);
        order.shares.allocations = new IShares.Allocation[](1);
        order.shares.allocations[0] = IShares.Allocation(agent, 1000e18, 0, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IERC721Errors.ERC721NonexistentToken.selector, 0));
        sharesFactory.fractionalise(order);
    }
}
