// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {BreachBook} from "../src/BreachBook.sol";
import {License} from "../src/License.sol";
import {LicenseSale} from "../src/LicenseSale.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IERC7858} from "../src/interfaces/IERC7858.sol";
import {ILicense} from "../src/interfaces/ILicense.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {LicenseStatesBase} from "./LicenseStatesBase.sol";

/// @notice The same code deployed a second time, and licences that move there.
contract GenerationsTest is LicenseStatesBase {
    uint256 private constant NEXT_ID = (1 << 64) + 1;

    License private next;
    LicenseSale private nextSale;
    BreachBook private nextBook;

    function _succeed() private {
        next = new License(directory);
        nextSale = new LicenseSale(directory, planBook, next);
        nextBook = new BreachBook(directory, registry, planBook, next);
        _replace("License", address(license), address(next));
        _replace("LicenseSale", address(sale), address(nextSale));
        _replace("BreachBook", address(breachBook), address(nextBook));
    }

    function _replace(bytes32 name, address former, address latter) private {
        _advance(former, IDirectory.Status.Retiring);
        directory.list(name, latter);
    }

    function _migrate() private {
        vm.prank(buyer);
        license.migrate(ID);
    }

    function _assertMigrates() private {
        ILicense.Terms memory terms = license.licenseOf(ID);
        bool usable = license.isUsable(ID);
        _migrate();
        assertEq(next.ownerOf(ID), buyer);
        assertEq(abi.encode(next.licenseOf(ID)), abi.encode(terms));
        assertEq(next.isUsable(ID), usable);
        assertEq(next.userOf(ID), address(0));
        assertFalse(next.locked(ID));
        _assertGone(license, ID);
    }

    function _assertGone(License from, uint256 tokenId) private {
        assertFalse(from.isUsable(tokenId));
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_Unknown.selector, tokenId));
        from.licenseOf(tokenId);
    }

    function _assertStays(bytes memory error) private {
        vm.expectRevert(error);
        _migrate();
        assertEq(license.ownerOf(ID), buyer);
        assertEq(next.balanceOf(buyer), 0);
    }

    function _announce() private {
        vm.prank(publisher);
        breachBook.announce(ID, keccak256("evidence"));
    }

    function test_live_migrate() external {
        _succeed();
        vm.expectEmit(address(next));
        emit IERC7858.TokenExpiryUpdated(ID, uint64(block.timestamp), end);
        vm.expectEmit(address(next));
        emit ILicense.LicenseMigrated(ID, 1, address(license), buyer, uint64(block.timestamp), end, 0, false);
        _assertMigrates();
    }

    function test_expired_migrate() external {
        _expire();
        _succeed();
        _assertMigrates();
        usd.mint(payer, PRICE);
        vm.startPrank(payer);
        usd.approve(address(nextSale), PRICE);
        assertEq(nextSale.renew(ID, PRICE), 1);
        vm.stopPrank();
        assertTrue(next.isUsable(ID));
    }

    function test_locked_migrate() external {
        _lock();
        _succeed();
        _assertStays(abi.encodeWithSelector(ILicense.License_Locked.selector, ID));
        vm.prank(buyer);
        license.unlockToken(address(license), ID);
        _assertMigrates();
    }

    function test_delegated_migrate() external {
        _delegate(_soon(), true);
        _succeed();
        vm.expectEmit(address(license));
        emit ILicense.UpdateUser(ID, address(0), 0);
        _assertMigrates();
    }

    function test_bound_migrate() external {
        _delegate(_soon(), false);
        _succeed();
        _assertStays(abi.encodeWithSelector(ILicense.License_Locked.selector, ID));
        assertEq(license.userOf(ID), user);
        vm.warp(_soon());
        vm.prank(buyer);
        license.unlockToken(address(license), ID);
        _assertMigrates();
    }

    function test_breached_migrate() external {
        _announce();
        skip(7 days);
        _fund(publisher, address(breachBook), PRICE);
        vm.prank(publisher);
        breachBook.revoke(ID, PRICE);
        _succeed();
        _assertStays(abi.encodeWithSelector(ILicense.License_Breached.selector, ID));
    }

    function test_burned_migrate() external {
        _burn();
        _succeed();
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_Unknown.selector, ID));
        _migrate();
    }

    /// @dev Whoever is told of a breach would otherwise leave before it takes effect.
    function test_migrate_RevertWhen_ABreachIsAnnounced() external {
        _announce();
        uint64 lapses = uint64(block.timestamp) + 14 days;
        _succeed();
        _assertStays(abi.encodeWithSelector(ILicense.License_Held.selector, ID, lapses));
        vm.warp(lapses);
        _assertStays(abi.encodeWithSelector(ILicense.License_Held.selector, ID, lapses));
        skip(1);
        _assertMigrates();
    }

    function test_migrate_FreesALicenseWhoseBreachIsTakenBack() external {
        _announce();
        _succeed();
        vm.prank(publisher);
        breachBook.retract(ID);
        _assertMigrates();
    }

    /// @dev The retiring book still ends what it announced.
    function test_revoke_StaysPossibleWhileTheGenerationRetires() external {
        _announce();
        _succeed();
        skip(7 days);
        _fund(publisher, address(breachBook), PRICE);
        vm.prank(publisher);
        breachBook.revoke(ID, PRICE);
        assertTrue(license.isRevoked(ID));
    }

    /// @dev Else whoever stays behind could break the terms until the licence ends.
    function test_announce_StaysPossibleForALicenseThatStaysBehind() external {
        _succeed();
        _announce();
        skip(7 days);
        _fund(publisher, address(breachBook), PRICE);
        vm.prank(publisher);
        breachBook.revoke(ID, PRICE);
        assertTrue(license.isRevoked(ID));
    }

    /// @dev Nor is moving a way around them: the next generation's book answers for what moved.
    function test_breach_FollowsALicenseIntoTheNextGeneration() external {
        _succeed();
        _migrate();
        vm.startPrank(publisher);
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_Unknown.selector, ID));
        breachBook.announce(ID, keccak256("evidence"));
        nextBook.announce(ID, keccak256("evidence"));
        vm.stopPrank();
        skip(7 days);
        _fund(publisher, address(nextBook), PRICE);
        vm.prank(publisher);
        nextBook.revoke(ID, PRICE);
        assertTrue(next.isRevoked(ID));
    }

    function test_migrate_KeepsWhatThePlanForbids() external {
        IPlanBook.PlanTerms memory terms = _terms();
        terms.transferable = false;
        (terms.trialPeriod, terms.trialUnits) = (7 days, 5);
        uint256 planId = _createPlan(terms);
        vm.prank(stranger);
        uint256 tokenId = sale.startTrial(planId);
        _succeed();
        vm.startPrank(stranger);
        license.migrate(tokenId);
        assertTrue(next.locked(tokenId));
        assertTrue(next.licenseOf(tokenId).trial);
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_NotTransferable.selector, tokenId, planId));
        next.transferFrom(stranger, buyer, tokenId);
        vm.stopPrank();
    }

    function test_migrate_RevertWhen_CallerIsNotTheHolder() external {
        vm.prank(buyer);
        license.approve(stranger, ID);
        _succeed();
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_NotHolder.selector, ID, stranger));
        vm.prank(stranger);
        license.migrate(ID);
    }

    function test_migrate_RevertWhen_ThereIsNoNextGeneration() external {
        vm.expectRevert(ILicense.License_NoNextGeneration.selector);
        _migrate();
        _advance(address(license), IDirectory.Status.Retiring);
        vm.expectRevert(ILicense.License_NoNextGeneration.selector);
        _migrate();
        next = new License(directory);
        directory.list("License", address(next));
        _advance(address(license), IDirectory.Status.Retired);
        vm.expectRevert(ILicense.License_NoNextGeneration.selector);
        _migrate();
    }

    function test_accept_RevertWhen_CallerIsNoRetiringGeneration() external {
        License copy = new License(directory);
        ILicense.Terms memory terms = license.licenseOf(ID);
        _succeed();
        address[5] memory callers = [stranger, address(copy), address(next), address(sale), address(nextSale)];
        for (uint256 i = 0; i < callers.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ILicense.License_NotFormerGeneration.selector, callers[i]));
            vm.prank(callers[i]);
            next.accept(stranger, 7, terms);
        }
        _advance(address(license), IDirectory.Status.Retired);
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_NotFormerGeneration.selector, address(license)));
        vm.prank(address(license));
        next.accept(stranger, 7, terms);
    }

    function test_accept_RevertWhen_NotActive() external {
        _succeed();
        ILicense.Terms memory terms = license.licenseOf(ID);
        _advance(address(next), IDirectory.Status.Retiring);
        vm.expectRevert(ILicense.License_NotActive.selector);
        vm.prank(address(license));
        next.accept(stranger, 7, terms);
    }

    function test_hold_RevertWhen_CallerIsNoBreachBook() external {
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_NotBreachBook.selector, stranger));
        vm.prank(stranger);
        license.hold(ID, type(uint64).max);
    }

    /// @dev Retiring closes the entry whatever the sale's own status is.
    function test_mint_RevertWhen_TheGenerationRetires() external {
        _advance(address(license), IDirectory.Status.Retiring);
        vm.startPrank(payer);
        vm.expectRevert(ILicense.License_NotActive.selector);
        sale.purchase(1, payer, PRICE);
        vm.expectRevert(ILicense.License_NotActive.selector);
        sale.renew(ID, PRICE);
        vm.stopPrank();
    }

    /// @dev No id exists twice, so a licence keeps its own, and the units that are counted by it.
    function test_ids_OfGenerationsAreApart() external {
        _succeed();
        _fund(payer, address(nextSale), PRICE);
        vm.prank(payer);
        assertEq(nextSale.purchase(1, payer, PRICE), NEXT_ID);
        _migrate();
        assertEq(next.ownerOf(ID), buyer);
        assertEq(next.ownerOf(NEXT_ID), payer);
        assertEq(directory.generationOf(address(license)), 1);
        assertEq(directory.generationOf(address(next)), 2);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.Directory_NotListed.selector, stranger));
        directory.generationOf(stranger);
    }

    function test_migrate_SkipsAGeneration() external {
        _succeed();
        License last = new License(directory);
        _replace("License", address(next), address(last));
        _migrate();
        assertEq(last.ownerOf(ID), buyer);
        _assertGone(next, ID);
    }

    function test_migrate_GoesOnThroughEachGeneration() external {
        _succeed();
        _migrate();
        License last = new License(directory);
        _replace("License", address(next), address(last));
        vm.startPrank(buyer);
        next.migrate(ID);
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_Unknown.selector, ID));
        license.migrate(ID);
        vm.stopPrank();
        assertEq(last.ownerOf(ID), buyer);
    }
}
