// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Vm} from "forge-std/Vm.sol";
import {MirrorBook} from "../src/MirrorBook.sol";
import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {IMirrorBook} from "../src/interfaces/IMirrorBook.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {Mirrors} from "../src/libraries/Mirrors.sol";
import {MirrorBase} from "./MirrorBase.sol";
import {Wallet} from "./mocks/Collectibles.sol";

contract MirrorAttacksTest is MirrorBase {
    Vm.Wallet private _thief = vm.createWallet("thief");

    function _expectRefused(bytes memory reason, Mirrors.Statement memory statement, bytes memory signature) private {
        vm.expectRevert(reason);
        mirrorBook.bind(statement, _noParents(), signature);
    }

    function _invalid(Mirrors.Statement memory statement) private view returns (bytes memory) {
        bytes32 digest = mirrorBook.statementDigest(statement);
        return abi.encodeWithSelector(IMirrorBook.MirrorBook_InvalidSignature.selector, digest, statement.homeOwner);
    }

    function _notReported(Mirrors.Statement memory statement) private view returns (bytes memory) {
        return abi.encodeWithSelector(
            IMirrorBook.MirrorBook_NotReported.selector, mirrored, statement.homeOwner, statement.epoch
        );
    }

    function testFuzz_thiefNamesItselfTheOwner(uint64 epoch, bool reported) external {
        if (reported) _report();
        Mirrors.Statement memory statement = _statement();
        (statement.homeOwner, statement.owner, statement.epoch) = (_thief.addr, _thief.addr, epoch);
        _expectRefused(_notReported(statement), statement, _sign(_thief, statement));
        vm.prank(_thief.addr);
        vm.expectRevert(abi.encodeWithSelector(IPlanBook.PlanBook_Unauthorized.selector, mirrored, _thief.addr));
        planBook.createPlan(_mirrorTerms());
    }

    function testFuzz_thiefSignsForTheOwner(bytes calldata garbage) external {
        _report();
        Mirrors.Statement memory statement = _statement();
        statement.owner = _thief.addr;
        _expectRefused(_invalid(statement), statement, _sign(_thief, statement));
        _expectRefused(_invalid(statement), statement, garbage);
    }

    function test_noEpochIsReportedForNobody() external {
        Mirrors.Statement memory statement = _statement();
        (statement.homeOwner, statement.epoch) = (address(0), 0);
        _expectRefused(_notReported(statement), statement, "");
        mirrorBook.correct(mirrored, address(0), 1, _lineage(_noParents()));
        statement.epoch = 1;
        _expectRefused(_invalid(statement), statement, "");
    }

    function test_replayAcrossChainsAndContracts() external {
        _report();
        Mirrors.Statement memory statement = _statement();
        MirrorBook other = new MirrorBook(address(manager), directory);
        assertNotEq(other.statementDigest(statement), mirrorBook.statementDigest(statement));
        vm.chainId(10);
        bytes memory elsewhere = _sign(owner, statement);
        vm.chainId(HERE);
        _expectRefused(_invalid(statement), statement, elsewhere);
    }

    function testFuzz_otherTermsThanWereSigned(uint256 field) external {
        _report();
        bytes memory signature = _sign(owner, _statement());
        Mirrors.Statement memory changed = _statement();
        field = field % 3;
        if (field == 0) changed.owner = _thief.addr;
        if (field == 1) ++changed.validUntil;
        if (field == 2) ++changed.nonce;
        _expectRefused(_invalid(changed), changed, signature);
    }

    function test_anotherAssetOfTheSameOwner() external {
        vm.chainId(HOME);
        bytes32 second = home.assetIdOf(home.register("acme/second", IAssetRegistry.Kind.Model, owner.addr));
        vm.chainId(HERE);
        _report();
        bytes memory signature = _sign(owner, _statement());
        vm.prank(reporter);
        mirrorBook.report(second, owner.addr, 1, _lineage(_noParents()));
        Mirrors.Statement memory changed = _statement();
        changed.slug = "acme/second";
        _expectRefused(_invalid(changed), changed, signature);
    }

    function test_statementOfTheEpochBefore() external {
        _open();
        Mirrors.Statement memory late = _statement();
        bytes memory signature = _sign(owner, late);
        _transferAtHome(owner.addr, nextOwner.addr);
        _report();
        _expectRefused(_notReported(late), late, signature);
        // Nor does naming the new epoch help whoever had the asset before.
        late.epoch = 2;
        _expectRefused(_notReported(late), late, _sign(owner, late));
    }

    function test_statementThatIsUsedCancelledOrOver() external {
        _report();
        Mirrors.Statement memory statement = _statement();
        bytes memory signature = _sign(owner, statement);
        mirrorBook.bind(statement, _noParents(), signature);
        bytes memory used = abi.encodeWithSelector(IMirrorBook.MirrorBook_NonceUsed.selector, owner.addr, 0);
        _expectRefused(used, statement, signature);
        Mirrors.Statement memory cancelled = _statement();
        bytes memory second = _sign(owner, cancelled);
        vm.prank(owner.addr);
        mirrorBook.cancel(mirrored, 2);
        used = abi.encodeWithSelector(IMirrorBook.MirrorBook_NonceUsed.selector, owner.addr, 1);
        _expectRefused(used, cancelled, second);
        Mirrors.Statement memory over = _statement();
        bytes memory third = _sign(owner, over);
        vm.warp(over.validUntil);
        uint64 latest = mirrorBook.reportOf(mirrored).reportedAt + mirrorBook.MAX_VALIDITY();
        bytes memory late = abi.encodeWithSelector(IMirrorBook.MirrorBook_InvalidTime.selector, over.validUntil, latest);
        _expectRefused(late, over, third);
    }

    function test_formerOwnerTakesTheMirrorBack() external {
        _open();
        _transferAtHome(owner.addr, nextOwner.addr);
        _report();
        Mirrors.Statement memory next = _statement();
        (next.homeOwner, next.epoch, next.owner, next.nonce) = (nextOwner.addr, 2, stranger, 0);
        _bind(nextOwner, next);
        vm.prank(owner.addr);
        mirrorBook.cancel(mirrored, type(uint64).max);
        assertTrue(registry.isAuthorized(mirrored, stranger));
        // It has the asset again later, and its own statements of then are void all the same.
        _transferAtHome(nextOwner.addr, owner.addr);
        _report();
        Mirrors.Statement memory old = _statement();
        old.nonce = 1;
        _expectRefused(_notReported(old), old, _sign(owner, old));
    }

    /// @dev An address with code can obey one account at home and another one here.
    function test_contractWithTheOwnersAddress() external {
        Wallet impostor = new Wallet(_thief.addr);
        vm.prank(reporter);
        mirrorBook.report(mirrored, address(impostor), 1, _lineage(_noParents()));
        Mirrors.Statement memory statement = _statement();
        (statement.homeOwner, statement.owner) = (address(impostor), _thief.addr);
        bytes memory signature = _sign(_thief, statement);
        assertEq(impostor.isValidSignature(mirrorBook.statementDigest(statement), signature), bytes4(0x1626ba7e));
        _expectRefused(_invalid(statement), statement, signature);
    }

    function test_reporterOpensAndMovesNothing() external {
        _open();
        uint256 planId = _mirrorPlan();
        uint256 tokenId = _buy(planId, buyer);
        vm.startPrank(reporter);
        mirrorBook.report(mirrored, reporter, 2, _lineage(_noParents()));
        assertFalse(registry.isOnSale(mirrored));
        assertFalse(registry.isAuthorized(mirrored, reporter));
        vm.stopPrank();
        router.distribute(mirrored, address(usd));
        assertEq(router.claimableOf(reporter, address(usd)), 0);
        assertEq(router.claimableOf(agent, address(usd)), PRICE - PRICE / 100);
        assertEq(router.payeeOf(mirrored), agent);
        assertTrue(license.isUsable(tokenId));
    }

    function test_reporterAndThiefTogether() external {
        _open();
        _buy(_mirrorPlan(), buyer);
        vm.prank(reporter);
        mirrorBook.report(mirrored, _thief.addr, 2, _lineage(_noParents()));
        Mirrors.Statement memory lie = _statement();
        (lie.homeOwner, lie.owner, lie.epoch, lie.nonce) = (_thief.addr, _thief.addr, 2, 0);
        _bind(_thief, lie);
        assertTrue(registry.isAuthorized(mirrored, _thief.addr));
        // What came in before is the owner's, at home nothing has changed, and any other reporter ends it.
        assertEq(router.pendingOf(mirrored, address(usd)).payee, agent);
        assertEq(home.assetOwner(mirrored), owner.addr);
        vm.prank(reporter);
        mirrorBook.report(mirrored, owner.addr, 3, _lineage(_noParents()));
        assertFalse(registry.isOnSale(mirrored));
        mirrorBook.correct(mirrored, owner.addr, 1, _lineage(_noParents()));
        _bind(owner, _statement());
        assertTrue(registry.isAuthorized(mirrored, agent));
    }

    function test_theSameSlugHereIsAnotherAsset() external {
        vm.prank(publisher);
        bytes32 twin = registry.assetIdOf(registry.register(SLUG, IAssetRegistry.Kind.Model, _thief.addr));
        assertNotEq(twin, mirrored);
        assertFalse(registry.isAuthorized(mirrored, _thief.addr));
        _open();
        assertEq(registry.assetOwner(twin), _thief.addr);
        assertEq(registry.assetOwner(mirrored), agent);
    }

    function test_derivedAssetLeavesItsParentsOut() external {
        IAssetRegistry.Parent[] memory parents = new IAssetRegistry.Parent[](1);
        parents[0] = IAssetRegistry.Parent(mirrored, 1_000);
        vm.chainId(HOME);
        bytes32 child =
            home.assetIdOf(home.registerDerived("thief/copy", IAssetRegistry.Kind.Model, _thief.addr, parents));
        vm.chainId(HERE);
        vm.prank(reporter);
        mirrorBook.report(child, _thief.addr, 1, _lineage(parents));
        Mirrors.Statement memory statement = _statement();
        (statement.slug, statement.homeOwner) = ("thief/copy", _thief.addr);
        bytes memory reason =
            abi.encodeWithSelector(IMirrorBook.MirrorBook_OtherLineage.selector, child, _lineage(_noParents()));
        _expectRefused(reason, statement, _sign(_thief, statement));
    }
}
