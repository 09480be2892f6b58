// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {IMirrorBook} from "../src/interfaces/IMirrorBook.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {Mirrors} from "../src/libraries/Mirrors.sol";
import {MirrorBase} from "./MirrorBase.sol";

/// @notice A derived asset is sold abroad only where its parents are paid.
contract MirrorLineageTest is MirrorBase {
    string private constant CHILD = "acme/tuned";
    bytes32 private _child;
    IAssetRegistry.Parent[] private _parents;

    function setUp() public override {
        super.setUp();
        _parents.push(IAssetRegistry.Parent(mirrored, 1_000));
        vm.chainId(HOME);
        _child = home.assetIdOf(home.registerDerived(CHILD, IAssetRegistry.Kind.Model, owner.addr, _parents));
        vm.chainId(HERE);
    }

    function _reportChild(IAssetRegistry.Parent[] memory parents) private {
        uint64 epoch = mirrorBook.reportOf(_child).epoch + 1;
        vm.prank(reporter);
        mirrorBook.report(_child, owner.addr, epoch, _lineage(parents));
    }

    function _childStatement() private view returns (Mirrors.Statement memory statement) {
        statement = _statement();
        statement.slug = CHILD;
        statement.epoch = mirrorBook.reportOf(_child).epoch;
        statement.owner = nextOwner.addr;
        statement.nonce = mirrorBook.nextNonceOf(_child, owner.addr);
    }

    function _bindChild(IAssetRegistry.Parent[] memory parents) private {
        Mirrors.Statement memory statement = _childStatement();
        mirrorBook.bind(statement, parents, _sign(owner, statement));
    }

    function _expectRefused(bytes memory reason, IAssetRegistry.Parent[] memory parents) private {
        Mirrors.Statement memory statement = _childStatement();
        bytes memory signature = _sign(owner, statement);
        vm.expectRevert(reason);
        mirrorBook.bind(statement, parents, signature);
    }

    function test_bind_RevertWhen_ParentsAreNotTheReportedOnes() external {
        _open();
        _reportChild(_parents);
        bytes32 none = _lineage(_noParents());
        _expectRefused(abi.encodeWithSelector(IMirrorBook.MirrorBook_OtherLineage.selector, _child, none), _noParents());
        IAssetRegistry.Parent[] memory less = _parents;
        less[0].royaltyBp = 999;
        _expectRefused(
            abi.encodeWithSelector(IMirrorBook.MirrorBook_OtherLineage.selector, _child, _lineage(less)), less
        );
    }

    function test_bind_RevertWhen_AParentHasNoMirror() external {
        _reportChild(_parents);
        _expectRefused(abi.encodeWithSelector(IMirrorBook.MirrorBook_UnknownParent.selector, mirrored), _parents);
    }

    function test_bind_RevertWhen_LineageIsOutOfBounds() external {
        _open();
        IAssetRegistry.Parent[] memory many = new IAssetRegistry.Parent[](9);
        for (uint256 i = 0; i < 9; ++i) {
            many[i] = IAssetRegistry.Parent(mirrored, 1);
        }
        _reportChild(many);
        _expectRefused(abi.encodeWithSelector(IMirrorBook.MirrorBook_InvalidLineage.selector, 9, 9), many);
        IAssetRegistry.Parent[] memory dear = _parents;
        dear[0].royaltyBp = 5_001;
        _reportChild(dear);
        _expectRefused(abi.encodeWithSelector(IMirrorBook.MirrorBook_InvalidLineage.selector, 1, 5_001), dear);
    }

    function test_royaltiesReachTheParentsMirror() external {
        _open();
        _reportChild(_parents);
        _bindChild(_parents);
        vm.prank(nextOwner.addr);
        uint256 planId = planBook.createPlan(_childTerms());
        _buy(planId, buyer);
        router.distribute(_child, address(usd));
        router.distribute(mirrored, address(usd));
        uint256 net = PRICE - PRICE / 100;
        assertEq(router.claimableOf(agent, address(usd)), net / 10);
        assertEq(router.claimableOf(nextOwner.addr, address(usd)), net - net / 10);
    }

    function _childTerms() private view returns (IPlanBook.PlanTerms memory terms) {
        terms = _terms();
        terms.assetId = _child;
    }

    function test_correctedLineageTakesThePlaceOfTheOneBefore() external {
        _open();
        _reportChild(_parents);
        _bindChild(_parents);
        assertEq(registry.parentsOf(_child).length, 1);
        mirrorBook.correct(_child, owner.addr, 1, _lineage(_noParents()));
        _bindChild(_noParents());
        assertEq(registry.parentsOf(_child).length, 0);
    }
}
