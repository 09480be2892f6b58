// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IMirrorBook} from "../src/interfaces/IMirrorBook.sol";
import {Mirrors} from "../src/libraries/Mirrors.sol";
import {MirrorBase} from "./MirrorBase.sol";

contract MirrorBookTest is MirrorBase {
    function _expectRefused(bytes memory reason, Mirrors.Statement memory statement) private {
        bytes memory signature = _sign(owner, statement);
        vm.expectRevert(reason);
        mirrorBook.bind(statement, _noParents(), signature);
    }

    // AssetRegistry.epochOf

    function test_epochOf_CountsOwners() external {
        assertEq(home.epochOf(mirrored), 1);
        _transferAtHome(owner.addr, nextOwner.addr);
        assertEq(home.epochOf(mirrored), 2);
        _transferAtHome(nextOwner.addr, owner.addr);
        assertEq(home.epochOf(mirrored), 3);
        assertEq(registry.epochOf(mirrored), 0);
        assertEq(registry.epochOf(assetId), 1);
    }

    // report and correct

    function test_report_RevertWhen_CallerHasNoRole() external {
        vm.startPrank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, stranger));
        mirrorBook.report(mirrored, stranger, 2, 0);
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, stranger));
        mirrorBook.correct(mirrored, stranger, 2, 0);
    }

    function test_report_RevertWhen_EpochIsNotNewer() external {
        vm.startPrank(reporter);
        vm.expectRevert(abi.encodeWithSelector(IMirrorBook.MirrorBook_StaleReport.selector, mirrored, 0, 0));
        mirrorBook.report(mirrored, address(0), 0, 0);
        mirrorBook.report(mirrored, owner.addr, 5, "lineage");
        vm.expectRevert(abi.encodeWithSelector(IMirrorBook.MirrorBook_StaleReport.selector, mirrored, 4, 5));
        mirrorBook.report(mirrored, owner.addr, 4, "lineage");
        vm.expectRevert(abi.encodeWithSelector(IMirrorBook.MirrorBook_StaleReport.selector, mirrored, 5, 5));
        mirrorBook.report(mirrored, stranger, 5, "lineage");
        vm.expectRevert(abi.encodeWithSelector(IMirrorBook.MirrorBook_StaleReport.selector, mirrored, 5, 5));
        mirrorBook.report(mirrored, owner.addr, 5, "other lineage");
    }

    function test_report_AgainLetsStatementsRunLonger() external {
        _open();
        skip(mirrorBook.MAX_VALIDITY());
        Mirrors.Statement memory statement = _statement();
        uint64 latest = uint64(block.timestamp);
        _expectRefused(
            abi.encodeWithSelector(IMirrorBook.MirrorBook_InvalidTime.selector, statement.validUntil, latest), statement
        );
        _report();
        assertFalse(mirrorBook.isOpen(mirrored));
        _bind(owner, statement);
        assertTrue(mirrorBook.isOpen(mirrored));
    }

    function testFuzz_report_OfANewerEpochClosesTheMirror(uint64 epoch, address reported) external {
        _open();
        vm.prank(reporter);
        vm.expectEmit(address(mirrorBook));
        epoch = uint64(bound(epoch, 2, type(uint64).max));
        emit IMirrorBook.OwnerReported(mirrored, reported, epoch, "lineage");
        mirrorBook.report(mirrored, reported, epoch, "lineage");
        assertFalse(mirrorBook.isOpen(mirrored));
        assertFalse(mirrorBook.isAuthorized(mirrored, agent));
        assertEq(mirrorBook.ownerOf(mirrored), agent);
        assertEq(registry.assetOwner(mirrored), agent);
    }

    function test_correct_PutsAWrongReportRight() external {
        _open();
        vm.prank(reporter);
        mirrorBook.report(mirrored, stranger, type(uint64).max, "lie");
        assertFalse(mirrorBook.isOpen(mirrored));
        mirrorBook.correct(mirrored, owner.addr, 1, _lineage(_noParents()));
        assertTrue(mirrorBook.isOpen(mirrored));
        assertEq(mirrorBook.reportOf(mirrored).epoch, 1);
        // The same epoch with another owner is not the mirror's.
        mirrorBook.correct(mirrored, nextOwner.addr, 1, _lineage(_noParents()));
        assertFalse(mirrorBook.isOpen(mirrored));
    }

    // bind

    function test_bind_RevertWhen_BookIsRetiring() external {
        _report();
        _advance(address(mirrorBook), IDirectory.Status.Retiring);
        _expectRefused(
            abi.encodeWithSelector(
                IDirectory.Directory_NotActive.selector, address(mirrorBook), IDirectory.Status.Retiring
            ),
            _statement()
        );
    }

    function test_bind_RevertWhen_StatementNamesNoAssetOfAnotherChain() external {
        _report();
        Mirrors.Statement memory statement = _statement();
        statement.slug = "Acme/abroad";
        _expectRefused(abi.encodeWithSelector(IMirrorBook.MirrorBook_InvalidSlug.selector, statement.slug), statement);
        statement = _statement();
        statement.owner = address(0);
        _expectRefused(abi.encodeWithSelector(IMirrorBook.MirrorBook_InvalidOwner.selector), statement);
        statement = _statement();
        (statement.slug, statement.homeChainId, statement.homeRegistry) = ("acme/risk", HERE, address(registry));
        _expectRefused(abi.encodeWithSelector(IMirrorBook.MirrorBook_AtHome.selector, assetId), statement);
    }

    function test_bind_RevertWhen_TimeIsOutOfBounds() external {
        _report();
        uint64 latest = uint64(block.timestamp) + mirrorBook.MAX_VALIDITY();
        Mirrors.Statement memory statement = _statement();
        statement.validUntil = uint64(block.timestamp);
        _expectRefused(
            abi.encodeWithSelector(IMirrorBook.MirrorBook_InvalidTime.selector, statement.validUntil, latest), statement
        );
        statement.validUntil = latest + 1;
        _expectRefused(
            abi.encodeWithSelector(IMirrorBook.MirrorBook_InvalidTime.selector, latest + 1, latest), statement
        );
        statement.validUntil = latest;
        _bind(owner, statement);
    }

    function test_bind_HasTheIdOfTheHomeAndSellsUntilItsEnd() external {
        _report();
        Mirrors.Statement memory statement = _statement();
        vm.expectEmit(address(mirrorBook));
        emit IMirrorBook.MirrorBound(
            mirrored, agent, owner.addr, 1, statement.validUntil, HOME, address(home), "acme/abroad"
        );
        _bind(owner, statement);
        assertEq(
            keccak256(abi.encode(mirrorBook.mirrorOf(mirrored))),
            keccak256(abi.encode(IMirrorBook.Mirror(agent, 1, owner.addr, statement.validUntil)))
        );
        vm.warp(statement.validUntil - 1);
        assertTrue(registry.isOnSale(mirrored));
        assertTrue(registry.isAuthorized(mirrored, agent));
        assertFalse(registry.isAuthorized(mirrored, owner.addr));
        vm.warp(statement.validUntil);
        assertFalse(registry.isOnSale(mirrored));
        assertFalse(registry.isAuthorized(mirrored, agent));
        assertTrue(registry.isOnSale(assetId));
        assertFalse(registry.isOnSale("unknown"));
    }

    function test_bind_AgainTakesThePlaceOfTheOneBefore() external {
        _open();
        Mirrors.Statement memory statement = _statement();
        statement.owner = buyer;
        _bind(owner, statement);
        assertTrue(registry.isAuthorized(mirrored, buyer));
        assertFalse(registry.isAuthorized(mirrored, agent));
        assertEq(registry.assetOwner(mirrored), buyer);
    }

    function test_bind_RevertWhen_NonceIsUsed() external {
        _report();
        Mirrors.Statement memory statement = _statement();
        statement.nonce = 7;
        _bind(owner, statement);
        for (uint64 nonce = 0; nonce < 8; ++nonce) {
            statement.nonce = nonce;
            _expectRefused(
                abi.encodeWithSelector(IMirrorBook.MirrorBook_NonceUsed.selector, owner.addr, nonce), statement
            );
        }
        assertEq(mirrorBook.nextNonceOf(mirrored, owner.addr), 8);
        assertEq(mirrorBook.nextNonceOf(mirrored, nextOwner.addr), 0);
    }

    // cancel

    function test_cancel_EndsTheCallersMirrorAtOnce() external {
        _open();
        vm.expectEmit(address(mirrorBook));
        emit IMirrorBook.StatementsCancelled(mirrored, owner.addr, 5);
        vm.expectEmit(address(mirrorBook));
        emit IMirrorBook.MirrorBound(mirrored, agent, owner.addr, 1, 0, HOME, address(home), "acme/abroad");
        vm.prank(owner.addr);
        mirrorBook.cancel(mirrored, 5);
        assertFalse(mirrorBook.isOpen(mirrored));
        Mirrors.Statement memory statement = _statement();
        statement.nonce = 4;
        _expectRefused(abi.encodeWithSelector(IMirrorBook.MirrorBook_NonceUsed.selector, owner.addr, 4), statement);
        statement.nonce = 5;
        _bind(owner, statement);
        assertTrue(mirrorBook.isOpen(mirrored));
    }

    function test_cancel_NeverMakesAUsedNonceFree() external {
        _open();
        vm.prank(owner.addr);
        mirrorBook.cancel(mirrored, 0);
        assertEq(mirrorBook.nextNonceOf(mirrored, owner.addr), 1);
    }

    function testFuzz_cancel_TouchesNobodyElse(address caller, uint64 nonce) external {
        vm.assume(caller != owner.addr);
        _open();
        vm.prank(caller);
        mirrorBook.cancel(mirrored, nonce);
        assertTrue(mirrorBook.isOpen(mirrored));
        assertEq(mirrorBook.nextNonceOf(mirrored, owner.addr), 1);
    }
}
