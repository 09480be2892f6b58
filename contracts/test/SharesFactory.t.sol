// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {
    TimelockControllerUpgradeable
} from "@openzeppelin/contracts-upgradeable/governance/TimelockControllerUpgradeable.sol";
import {RevenueRouter} from "../src/RevenueRouter.sol";
import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {IAssetTimelock} from "../src/interfaces/IAssetTimelock.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IRevenueRouter} from "../src/interfaces/IRevenueRouter.sol";
import {ISharesFactory} from "../src/interfaces/ISharesFactory.sol";
import {SharesBase} from "./SharesBase.sol";

/// @notice Fractionalisation, the asset's timelock, and who is paid for an asset that has shares.
contract SharesFactoryTest is SharesBase {
    function test_fractionalise_HandsTheAssetToItsTimelock() external view {
        assertEq(registry.assetOwner(assetId), address(assetTimelock));
        assertEq(sharesFactory.partsOf(assetId).shares, address(shares));
        assertEq(sharesFactory.partsOf(assetId).timelock, address(assetTimelock));
        assertEq(sharesFactory.countOf(assetId), 1);
        assertEq(assetTimelock.assetId(), assetId);
        assertEq(assetTimelock.shares(), address(shares));
        assertEq(assetTimelock.getMinDelay(), EXIT_DELAY);
    }

    function test_fractionalise_LeavesTheTimelockToItselfAndTheSteward() external view {
        assertTrue(assetTimelock.hasRole(assetTimelock.PROPOSER_ROLE(), steward));
        assertTrue(assetTimelock.hasRole(assetTimelock.CANCELLER_ROLE(), steward));
        assertTrue(assetTimelock.hasRole(assetTimelock.EXECUTOR_ROLE(), address(0)));
        assertTrue(assetTimelock.hasRole(assetTimelock.OPERATOR_ROLE(), operator));
        assertTrue(assetTimelock.hasRole(0, address(assetTimelock)));
        address[3] memory none = [publisher, address(sharesFactory), steward];
        for (uint256 i = 0; i < 3; ++i) {
            assertFalse(assetTimelock.hasRole(0, none[i]));
        }
    }

    function test_fractionalise_RevertWhen_TheFactoryIsRetiring() external {
        ISharesFactory.Order memory order = _another("acme/second");
        _advance(address(sharesFactory), IDirectory.Status.Retiring);
        vm.expectRevert(
            abi.encodeWithSelector(
                IDirectory.Directory_NotActive.selector, address(sharesFactory), IDirectory.Status.Retiring
            )
        );
        vm.prank(publisher);
        sharesFactory.fractionalise(order);
    }

    function test_fractionalise_RevertWhen_TheAssetWasNotApproved() external {
        ISharesFactory.Order memory order = _another("acme/second");
        vm.expectRevert();
        vm.prank(publisher);
        sharesFactory.fractionalise(order);
        assertEq(registry.assetOwner(assetId), publisher);
        assertEq(sharesFactory.countOf(assetId), 0);
    }

    function test_fractionalise_RevertWhen_NobodyOrTwoCouldPropose() external {
        ISharesFactory.Order memory order = _another("acme/second");
        order.steward = address(0);
        vm.expectRevert(abi.encodeWithSelector(ISharesFactory.SharesFactory_InvalidSteward.selector, address(0), false));
        vm.prank(publisher);
        sharesFactory.fractionalise(order);
        order = _voting(order);
        order.steward = steward;
        vm.expectRevert(abi.encodeWithSelector(ISharesFactory.SharesFactory_InvalidSteward.selector, steward, true));
        vm.prank(publisher);
        sharesFactory.fractionalise(order);
    }

    function test_fractionalise_RevertWhen_TheDelayIsOutOfBounds() external {
        ISharesFactory.Order memory order = _another("acme/second");
        uint256[2] memory wrong = [uint256(EXIT_DELAY) - 1, 30 days + 1];
        for (uint256 i = 0; i < 2; ++i) {
            order.delay = wrong[i];
            vm.expectRevert(
                abi.encodeWithSelector(
                    IAssetTimelock.AssetTimelock_InvalidDelay.selector, wrong[i], uint256(EXIT_DELAY), 30 days
                )
            );
            vm.prank(publisher);
            sharesFactory.fractionalise(order);
        }
    }

    function test_fractionalise_AgainAfterTheAssetWasHandedOut() external {
        address first = address(shares);
        _execute(
            address(registry),
            abi.encodeWithSignature(
                "transferFrom(address,address,uint256)", assetTimelock, publisher, registry.tokenIdOf(assetId)
            )
        );
        assertEq(router.payeeOf(assetId), publisher);
        _share2(900);
        assertEq(router.claimableOf(publisher, address(usd)), 900);
        _fractionalise(_order());
        assertTrue(address(shares) != first);
        assertEq(sharesFactory.countOf(assetId), 2);
        assertEq(router.payeeOf(assetId), address(shares));
    }

    function _share2(uint128 amount) private {
        _earn(amount);
        router.distribute(assetId, address(usd));
    }

    function _execute(address target, bytes memory data) private {
        vm.prank(steward);
        assetTimelock.schedule(target, 0, data, 0, 0, EXIT_DELAY);
        vm.expectRevert();
        assetTimelock.execute(target, 0, data, 0, 0);
        skip(EXIT_DELAY);
        assetTimelock.execute(target, 0, data, 0, 0);
    }

    function test_payee_IsTheOwnerBeforeAndTheSharesAfter() external {
        ISharesFactory.Order memory order = _another("acme/second");
        assertEq(router.payeeOf(assetId), publisher);
        _earn(500);
        _fractionalise(order);
        assertEq(router.payeeOf(assetId), address(shares));
        _earn(900);
        router.distribute(assetId, address(usd));
        assertEq(router.claimableOf(publisher, address(usd)), 500);
        router.distribute(assetId, address(usd));
        assertEq(router.claimableOf(address(shares), address(usd)), 900);
        assertEq(router.claimableOf(address(assetTimelock), address(usd)), 0);
    }

    function test_payTo_HoldsForTheCallersAssetsAlone() external {
        vm.expectEmit(address(router));
        emit IRevenueRouter.PayeeNamed(stranger, stranger);
        vm.prank(stranger);
        router.payTo(stranger);
        assertEq(router.payeeOf(assetId), address(shares));
        _another("acme/second");
        vm.prank(publisher);
        router.payTo(buyer);
        assertEq(router.payeeOf(assetId), buyer);
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.prank(publisher);
        registry.transferFrom(publisher, carol, tokenId);
        assertEq(router.payeeOf(assetId), carol);
        vm.prank(publisher);
        router.payTo(address(0));
        assertEq(router.namedPayeeOf(publisher), address(0));
        assertEq(router.payeeOf(keccak256("unknown")), address(0));
        // An asset that does not exist has no owner, whoever is named by whom.
        vm.expectRevert(
            abi.encodeWithSelector(IRevenueRouter.RevenueRouter_UnknownAsset.selector, keccak256("unknown"))
        );
        vm.prank(address(sale));
        router.receiveRevenue(keccak256("unknown"), address(usd), 0, 0);
    }

    function test_bind_NamesTheSharesInALaterRouter() external {
        vm.expectRevert(
            abi.encodeWithSelector(IAssetTimelock.AssetTimelock_AlreadyBound.selector, address(router), address(shares))
        );
        assetTimelock.bind();
        _advance(address(router), IDirectory.Status.Retiring);
        vm.expectRevert(abi.encodeWithSelector(IAssetTimelock.AssetTimelock_Missing.selector, bytes32("RevenueRouter")));
        assetTimelock.bind();
        RevenueRouter second = new RevenueRouter(address(manager), directory, registry, address(timelock));
        directory.list("RevenueRouter", address(second));
        vm.prank(stranger);
        assetTimelock.bind();
        assertEq(second.payeeOf(assetId), address(shares));
        _earn(900);
        router.distribute(assetId, address(usd));
        _advance(address(router), IDirectory.Status.Retired);
        assertEq(shares.collect(address(router), address(usd)), 900);
    }

    function test_operator_ActivatesVersionsAndClosesPlans() external {
        bytes32 digest = keccak256("manifest");
        _execute(address(registry), abi.encodeCall(IAssetRegistry.publishVersion, (assetId, digest, "ipfs://v2")));
        vm.prank(operator);
        assetTimelock.activateVersion(digest);
        assertEq(registry.activeVersion(assetId), digest);
        _execute(address(planBook), abi.encodeCall(planBook.createPlan, (_terms())));
        vm.prank(operator);
        assetTimelock.closePlan(address(planBook), 1);
        assertFalse(planBook.isOpen(1));
    }

    function test_operator_DoesNothingElse() external {
        vm.expectRevert(abi.encodeWithSelector(IAssetTimelock.AssetTimelock_NotPlanBook.selector, address(router)));
        vm.prank(operator);
        assetTimelock.closePlan(address(router), 1);
        bytes32 role = assetTimelock.OPERATOR_ROLE();
        bytes memory refused =
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, steward, role);
        vm.startPrank(steward);
        vm.expectRevert(refused);
        assetTimelock.activateVersion(0);
        vm.expectRevert(refused);
        assetTimelock.closePlan(address(planBook), 1);
        vm.stopPrank();
    }

    function test_updateDelay_KeepsWithinItsBounds() external {
        vm.expectRevert(
            abi.encodeWithSelector(TimelockControllerUpgradeable.TimelockUnauthorizedCaller.selector, steward)
        );
        vm.prank(steward);
        assetTimelock.updateDelay(EXIT_DELAY + 1);
        vm.startPrank(address(assetTimelock));
        vm.expectRevert(
            abi.encodeWithSelector(
                IAssetTimelock.AssetTimelock_InvalidDelay.selector, EXIT_DELAY - 1, EXIT_DELAY, 30 days
            )
        );
        assetTimelock.updateDelay(EXIT_DELAY - 1);
        assetTimelock.updateDelay(EXIT_DELAY + 1);
        assertEq(assetTimelock.getMinDelay(), EXIT_DELAY + 1);
        vm.stopPrank();
    }

    function test_fractionalise_RevertWhen_NoRouterIsActive() external {
        ISharesFactory.Order memory order = _another("acme/second");
        _advance(address(router), IDirectory.Status.Retiring);
        vm.expectRevert(abi.encodeWithSelector(IAssetTimelock.AssetTimelock_Missing.selector, bytes32("RevenueRouter")));
        vm.prank(publisher);
        sharesFactory.fractionalise(order);
    }
}
