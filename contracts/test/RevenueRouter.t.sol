// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IRevenueRouter} from "../src/interfaces/IRevenueRouter.sol";
import {Base} from "./Base.sol";

contract RevenueRouterTest is Base {
    function _receive(uint128 amount) private {
        usd.mint(address(router), amount);
        vm.prank(address(sale));
        router.receiveRevenue(assetId, address(usd), amount, keccak256("deposit"));
    }

    function _sellAsset(address to) private {
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.prank(publisher);
        registry.transferFrom(publisher, to, tokenId);
    }

    function _claimable(address account) private view returns (uint256) {
        return router.claimableOf(account, address(usd));
    }

    function _expectNotSource(address caller) private {
        vm.expectRevert(abi.encodeWithSelector(IRevenueRouter.RevenueRouter_NotSource.selector, caller));
        vm.prank(caller);
        router.receiveRevenue(assetId, address(usd), 0, 0);
    }

    function test_receiveRevenue_RevertWhen_CallerIsNoSource() external {
        _expectNotSource(stranger);
        _expectNotSource(address(registry));
        _advance(address(escrow), IDirectory.Status.Retiring);
        _receive(1);
        _advance(address(escrow), IDirectory.Status.Retired);
        _expectNotSource(address(escrow));
    }

    function test_receiveRevenue_RevertWhen_AssetIsUnknown() external {
        bytes32 unknown = keccak256("unknown");
        vm.expectRevert(abi.encodeWithSelector(IRevenueRouter.RevenueRouter_UnknownAsset.selector, unknown));
        vm.prank(address(sale));
        router.receiveRevenue(unknown, address(usd), 1, 0);
    }

    function test_receiveRevenue_RevertWhen_BalanceDoesNotCoverIt() external {
        _receive(100);
        usd.mint(address(router), 49);
        vm.expectRevert(abi.encodeWithSelector(IRevenueRouter.RevenueRouter_Unbacked.selector, address(usd), 149, 150));
        vm.prank(address(sale));
        router.receiveRevenue(assetId, address(usd), 50, 0);
    }

    function test_receiveRevenue_NamesOwnerAndSource() external {
        usd.mint(address(router), 150);
        vm.expectEmit(address(router));
        emit IRevenueRouter.RevenueReceived(
            assetId, address(usd), publisher, 100, IRevenueRouter.Source.Sale, keccak256("deposit")
        );
        vm.prank(address(sale));
        router.receiveRevenue(assetId, address(usd), 100, keccak256("deposit"));
        vm.expectEmit(address(router));
        emit IRevenueRouter.RevenueReceived(
            assetId, address(usd), publisher, 50, IRevenueRouter.Source.Sale, bytes32(uint256(7))
        );
        vm.prank(address(sale));
        router.receiveRevenue(assetId, address(usd), 50, bytes32(uint256(7)));
        IRevenueRouter.Pending memory pending = router.pendingOf(assetId, address(usd));
        assertEq(abi.encode(pending), abi.encode(IRevenueRouter.Pending(150, 100, publisher)));
        assertEq(router.owedOf(address(usd)), 150);
    }

    function test_receiveRevenue_KeepsWhatWaitsForTheEarlierOwner() external {
        _receive(1000);
        _sellAsset(buyer);
        _receive(500);
        assertEq(router.pendingOf(assetId, address(usd)).amount, 1500);
        assertEq(router.pendingOf(assetId, address(usd)).payee, publisher);
        vm.expectEmit(address(router));
        emit IRevenueRouter.Distributed(assetId, address(usd), publisher, 1000, 10, 990);
        router.distribute(assetId, address(usd));
        assertEq(_claimable(publisher), 990);
        assertEq(router.pendingOf(assetId, address(usd)).payee, buyer);
        router.distribute(assetId, address(usd));
        assertEq(_claimable(publisher), 990);
        assertEq(_claimable(buyer), 495);
        assertEq(_claimable(address(timelock)), 15);
    }

    function test_distribute_RevertWhen_NothingIsPending() external {
        vm.expectRevert(
            abi.encodeWithSelector(IRevenueRouter.RevenueRouter_NothingPending.selector, assetId, address(usd))
        );
        router.distribute(assetId, address(usd));
    }

    function testFuzz_distribute_SplitsWithoutDust(uint128 amount, uint16 fee) external {
        amount = uint128(bound(amount, 1, type(uint128).max));
        fee = uint16(bound(fee, 0, 500));
        router.setFee(fee);
        skip(14 days);
        _receive(amount);
        uint128 expectedFee = uint128(uint256(amount) * fee / 10_000);
        vm.expectEmit(address(router));
        emit IRevenueRouter.Distributed(assetId, address(usd), publisher, amount, expectedFee, amount - expectedFee);
        vm.prank(stranger);
        router.distribute(assetId, address(usd));
        assertEq(_claimable(publisher) + _claimable(address(timelock)), amount);
        // Against the protocol: the payee never gets less than the exact share.
        assertGe(_claimable(publisher) * 10_000, uint256(amount) * (10_000 - fee));
        assertEq(router.owedOf(address(usd)), amount);
    }

    function test_claim_RevertWhen_NothingIsClaimable() external {
        bytes memory nothing =
            abi.encodeWithSelector(IRevenueRouter.RevenueRouter_NothingToClaim.selector, publisher, address(usd));
        vm.expectRevert(nothing);
        vm.prank(publisher);
        router.claim(address(usd));
        // Pending revenue is not claimable yet.
        _receive(1000);
        vm.expectRevert(nothing);
        vm.prank(publisher);
        router.claim(address(usd));
    }

    function test_claim_PaysOnce() external {
        _receive(1000);
        router.distribute(assetId, address(usd));
        vm.expectEmit(address(router));
        emit IRevenueRouter.Claimed(publisher, address(usd), 990);
        vm.prank(publisher);
        assertEq(router.claim(address(usd)), 990);
        assertEq(usd.balanceOf(publisher), 990);
        assertEq(router.owedOf(address(usd)), 10);
        vm.prank(address(timelock));
        assertEq(router.claim(address(usd)), 10);
        assertEq(router.owedOf(address(usd)), 0);
        assertEq(usd.balanceOf(address(router)), 0);
    }

    function test_setFee_RevertWhen_CallerLacksRole() external {
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, publisher));
        vm.prank(publisher);
        router.setFee(0);
    }

    function test_setFee_RevertWhen_FeeIsAboveTheCeiling() external {
        vm.expectRevert(abi.encodeWithSelector(IRevenueRouter.RevenueRouter_FeeAboveCeiling.selector, 501, 500));
        router.setFee(501);
    }

    function test_setFee_BindsFutureRevenueOnly() external {
        _receive(1000);
        uint64 at = uint64(block.timestamp) + 14 days;
        vm.expectEmit(address(router));
        emit IRevenueRouter.FeeScheduled(500, at);
        router.setFee(500);
        vm.warp(at - 1);
        assertEq(router.feeBp(), 100);
        _receive(1000);
        vm.warp(at);
        assertEq(router.feeBp(), 500);
        // The bucket that waits keeps its fee of 100, whoever distributes it when.
        assertEq(router.pendingOf(assetId, address(usd)).feeBp, 100);
        _receive(1000);
        router.distribute(assetId, address(usd));
        assertEq(_claimable(address(timelock)), 20);
        router.distribute(assetId, address(usd));
        assertEq(_claimable(address(timelock)), 70);
        assertEq(_claimable(publisher), 2930);
    }

    function test_setFee_CanBeReplacedWhileItWaits() external {
        router.setFee(500);
        skip(10 days);
        router.setFee(200);
        skip(4 days);
        assertEq(router.feeBp(), 100);
        skip(10 days);
        assertEq(router.feeBp(), 200);
    }

    function test_treasury_IsTheTimelock() external view {
        assertEq(router.treasury(), address(timelock));
    }
}
