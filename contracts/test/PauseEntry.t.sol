// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {Base} from "./Base.sol";

/// @notice A pause closes entries for a while, and nothing else ever.
contract PauseEntryTest is Base {
    function _pause(address target, uint64 duration) private returns (uint64 until) {
        until = uint64(block.timestamp) + duration;
        directory.pauseEntry(target, until);
    }

    function _expectPaused(address target, uint64 until) private {
        vm.expectRevert(abi.encodeWithSelector(IDirectory.Directory_EntryPaused.selector, target, until));
    }

    function test_pauseEntry_RevertWhen_CallerLacksRole() external {
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, stranger));
        vm.prank(stranger);
        directory.pauseEntry(address(sale), uint64(block.timestamp) + 1);
    }

    function test_pauseEntry_RevertWhen_TargetIsNotActive() external {
        vm.expectRevert(
            abi.encodeWithSelector(IDirectory.Directory_NotActive.selector, stranger, IDirectory.Status.None)
        );
        directory.pauseEntry(stranger, uint64(block.timestamp) + 1);
        _advance(address(sale), IDirectory.Status.Retiring);
        vm.expectRevert(
            abi.encodeWithSelector(IDirectory.Directory_NotActive.selector, address(sale), IDirectory.Status.Retiring)
        );
        directory.pauseEntry(address(sale), uint64(block.timestamp) + 1);
    }

    function testFuzz_pauseEntry_EndsWithinTwoWeeks(uint64 until) external {
        bool isValid = until > block.timestamp && until <= block.timestamp + 14 days;
        if (!isValid) {
            vm.expectRevert(abi.encodeWithSelector(IDirectory.Directory_InvalidPause.selector, address(sale), until));
        }
        directory.pauseEntry(address(sale), until);
        assertEq(directory.pausedUntil(address(sale)), isValid ? until : 0);
    }

    function test_pauseEntry_RestsBetweenTwoPauses() external {
        uint64 until = _pause(address(sale), 14 days);
        bytes memory error = abi.encodeWithSelector(IDirectory.Directory_PausedBefore.selector, address(sale), until);
        vm.expectRevert(error);
        directory.pauseEntry(address(sale), until);
        vm.warp(until + 14 days - 1);
        vm.expectRevert(error);
        directory.pauseEntry(address(sale), until + 15 days);
        skip(1);
        vm.expectEmit(address(directory));
        emit IDirectory.EntryPaused("LicenseSale", address(sale), until + 15 days);
        directory.pauseEntry(address(sale), until + 15 days);
    }

    function test_pauseEntry_ClosesEntriesUntilItsEnd() external {
        uint256 planId = _createPlan(_terms());
        uint64 until = _pause(address(sale), 1 days);
        _pause(address(planBook), 1 days);
        _pause(address(registry), 1 days);
        _pause(address(escrow), 1 days);
        _fund(buyer, address(sale), PRICE);
        vm.startPrank(buyer);
        _expectPaused(address(sale), until);
        sale.purchase(planId, buyer, PRICE);
        _expectPaused(address(registry), until);
        registry.register("other/model", IAssetRegistry.Kind.Model, buyer);
        _expectPaused(address(escrow), until);
        escrow.deposit(operator, address(usd), 1);
        _expectPaused(address(escrow), until);
        escrow.registerOperator(receiptKey, uint64(block.timestamp), until);
        vm.stopPrank();
        IPlanBook.PlanTerms memory terms = _terms();
        _expectPaused(address(planBook), until);
        vm.prank(publisher);
        planBook.createPlan(terms);
        vm.warp(until);
        vm.prank(buyer);
        sale.purchase(planId, buyer, PRICE);
    }

    /// @dev Everything that lets people out, and everything that settles and pays, while all entries are paused.
    function test_pauseEntry_LeavesExitsClaimsAndSettlementAlone() external {
        uint256 planId = _createPlan(_terms());
        uint256 tokenId = _buy(planId, buyer);
        bytes32 id = _deposit(payer, 1000);
        skip(EXIT_DELAY);
        address[9] memory all = [
            address(registry),
            address(planBook),
            address(license),
            address(sale),
            address(router),
            address(escrow),
            address(market),
            address(sharesFactory),
            address(breachBook)
        ];
        for (uint256 i = 0; i < all.length; ++i) {
            _pause(all[i], 14 days);
        }
        vm.prank(payer);
        uint256 exitId = escrow.requestExit(id, 600);
        _settleOne(id, 100);
        skip(EXIT_DELAY);
        escrow.withdraw(exitId);
        assertEq(usd.balanceOf(payer), 600);
        router.distribute(assetId, address(usd));
        vm.prank(publisher);
        assertGt(router.claim(address(usd)), PRICE - PRICE / 50);
        vm.prank(publisher);
        planBook.closePlan(planId);
        vm.startPrank(buyer);
        market.cancelAll();
        license.transferFrom(buyer, stranger, tokenId);
        vm.stopPrank();
        vm.prank(stranger);
        license.burn(tokenId);
    }

    function test_pauseEntry_NeitherRetiresNorOutlivesAGeneration() external {
        uint64 until = _pause(address(sale), 14 days);
        assertEq(directory.activeOf("LicenseSale"), address(sale));
        _advance(address(sale), IDirectory.Status.Retiring);
        assertEq(directory.pausedUntil(address(sale)), until);
        directory.list("LicenseSale", address(usd));
        directory.requireActive(address(usd));
    }
}
