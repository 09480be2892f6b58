// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Vm} from "forge-std/Vm.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {SumTree} from "../src/libraries/SumTree.sol";
import {Base} from "./Base.sol";
import {TestUSD} from "../src/TestUSD.sol";

contract SettlementTest is Base {
    bytes32 private id;

    function setUp() public override {
        super.setUp();
        id = _deposit(payer, 1000);
    }

    /// @dev Settles one item and expects nothing to be paid for it.
    function _expectUnpaid(bytes32 asset, IUsageEscrow.Item memory item) private {
        uint64 batch = escrow.lastBatchOf(operator) + 1;
        IUsageEscrow.Settled[] memory lines = new IUsageEscrow.Settled[](1);
        bytes32 depositId = escrow.depositIdOf(item.payer, operator, address(usd));
        lines[0] = IUsageEscrow.Settled(depositId, item.authority, item.amount, 0, item.window, item.records);
        uint64 releaseAt = uint64(block.timestamp) + DISPUTE_TIME;
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.GroupSettled(operator, batch, asset, address(usd), 0, item.amount, 0, releaseAt, lines);
        _settleAs(operator, batch, _group(asset, address(usd), _one(item)));
        assertEq(usd.balanceOf(address(escrow)), 1000);
        assertEq(escrow.drawableOf(id), 1000);
        assertEq(escrow.holdOf(IDisputes.HoldName(operator, batch, asset, address(usd))).amount, 0);
    }

    function test_settle_RevertWhen_CallerIsNoOperator() external {
        IUsageEscrow.Group[] memory groups = _groups(_one(_item(id, 1)));
        bytes32 root = batchRoots.rootOf(groups);
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_UnknownOperator.selector, stranger));
        vm.prank(stranger);
        escrow.settle(1, root, "", groups);
    }

    function testFuzz_settle_RevertWhen_NumberLeavesAGap(uint64 batch) external {
        batch = uint64(bound(batch, 2, type(uint64).max));
        IUsageEscrow.Group[] memory groups = _groups(_one(_item(id, 1)));
        bytes32 root = batchRoots.rootOf(groups);
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_BatchGap.selector, operator, 1, batch));
        vm.prank(operator);
        escrow.settle(batch, root, "", groups);
    }

    function test_settle_RevertWhen_RootIsNotOfTheItems() external {
        IUsageEscrow.Group[] memory groups = _groups(_one(_item(id, 1)));
        bytes32 root = batchRoots.rootOf(groups);
        groups[0].items[0].amount = 2;
        bytes32 computed = batchRoots.rootOf(groups);
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_RootMismatch.selector, root, computed));
        vm.prank(operator);
        escrow.settle(1, root, "", groups);
    }

    function test_settle_RevertWhen_EscrowIsRetired() external {
        _advance(address(escrow), IDirectory.Status.Retiring);
        _settleOne(id, 100);
        _advance(address(escrow), IDirectory.Status.Retired);
        IUsageEscrow.Group[] memory groups = _groups(_one(_item(id, 1)));
        bytes32 root = batchRoots.rootOf(groups);
        vm.expectRevert(IUsageEscrow.UsageEscrow_Retired.selector);
        vm.prank(operator);
        escrow.settle(2, root, "", groups);
        assertEq(escrow.lastBatchOf(operator), 1);
    }

    function test_settle_RevertWhen_NoRouterIsActive() external {
        _advance(address(router), IDirectory.Status.Retiring);
        IUsageEscrow.Group[] memory groups = _groups(_one(_item(id, 1)));
        bytes32 root = batchRoots.rootOf(groups);
        vm.expectRevert(IUsageEscrow.UsageEscrow_NoRouter.selector);
        vm.prank(operator);
        escrow.settle(1, root, "", groups);
    }

    function test_settle_RevertWhen_CapIsExceeded() external {
        // Windows are days of Unix time; the cap of the fixture is unlimited.
        vm.warp(1_760_054_400);
        _setCap(address(usd), 150);
        _settleOne(id, 100);
        IUsageEscrow.Group[] memory groups = _groups(_one(_item(id, 51)));
        bytes32 root = batchRoots.rootOf(groups);
        vm.expectRevert(
            abi.encodeWithSelector(IUsageEscrow.UsageEscrow_CapExceeded.selector, operator, address(usd), 150, 151)
        );
        vm.prank(operator);
        escrow.settle(2, root, "", groups);
        assertEq(escrow.lastBatchOf(operator), 1);
        _settleOne(id, 50);
        (uint128 cap, uint128 drawn) = escrow.settlerCapOf(operator, address(usd));
        assertEq(cap, 150);
        assertEq(drawn, 150);
        skip(1 days);
        (, drawn) = escrow.settlerCapOf(operator, address(usd));
        assertEq(drawn, 0);
        _settleOne(id, 150);
    }

    function test_settle_DrawsFromWaitingExitsNewestFirst() external {
        vm.startPrank(payer);
        escrow.requestExit(id, 300);
        skip(1 hours);
        escrow.requestExit(id, 500);
        vm.stopPrank();
        assertEq(escrow.drawableOf(id), 1000);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.ExitDrawn(id, payer, 2, operator, address(usd), 500, 0, 700);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.ExitDrawn(id, payer, 1, operator, address(usd), 50, 250, 750);
        _settleOne(id, 750);
        assertEq(escrow.exitOf(1).amount, 250);
        assertEq(_paidLast(), 750);
        skip(EXIT_DELAY);
        escrow.release(_held(1));
        assertEq(escrow.heldOf(address(usd)), 250);
        assertEq(escrow.withdraw(1), 250);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.Withdrawn(id, payer, 2, operator, address(usd), 0);
        assertEq(escrow.withdraw(2), 0);
        assertEq(usd.balanceOf(payer), 250);
        assertEq(usd.balanceOf(address(escrow)), 0);
    }

    function test_settle_NeverDrawsFromAnUnlockedExit() external {
        vm.prank(payer);
        escrow.requestExit(id, 900);
        skip(EXIT_DELAY - 1);
        assertEq(escrow.drawableOf(id), 1000);
        skip(1);
        assertEq(escrow.drawableOf(id), 100);
        _settleOne(id, 1000);
        assertEq(escrow.depositOf(id).drawn, 100);
        assertEq(escrow.withdraw(1), 900);
    }

    function testFuzz_settle_PaysTheLesserOfDueAndDrawable(uint128 due, uint128 leaving, uint32 wait) external {
        leaving = uint128(bound(leaving, 1, 1000));
        vm.prank(payer);
        escrow.requestExit(id, leaving);
        skip(bound(wait, 0, 2 * EXIT_DELAY));
        uint128 drawable = escrow.drawableOf(id);
        assertEq(drawable, block.timestamp < escrow.exitOf(1).unlockTime ? 1000 : 1000 - leaving);
        _settleOne(id, due);
        uint128 paid = due < drawable ? due : drawable;
        assertEq(escrow.depositOf(id).drawn, paid);
        assertEq(_paidLast(), paid);
        assertEq(escrow.heldOf(address(usd)), 1000);
        assertEq(escrow.drawableOf(id), drawable - paid);
    }

    function test_verifyCharge_HoldsForTheSettledChargeAlone() external {
        SumTree.Charge memory charge = SumTree.Charge(keccak256("receipt"), 60, address(usd), payer, keccak256("salt"));
        SumTree.Charge memory other = SumTree.Charge(keccak256("other"), 40, address(usd), payer, keccak256("pepper"));
        SumTree.Step[] memory steps = new SumTree.Step[](1);
        steps[0] = SumTree.Step(SumTree.leafHash(other), 40, false);
        IUsageEscrow.Item[] memory items = new IUsageEscrow.Item[](2);
        items[0] = _item(id, 7);
        items[1] = _item(id, 100);
        items[1].payerRoot = SumTree.nodeHash(SumTree.leafHash(charge), 60, SumTree.leafHash(other), 40);
        IUsageEscrow.Group[] memory groups = _groups(items);
        bytes32[] memory proof = batchRoots.proofOf(groups, 1);
        IUsageEscrow.Line memory first = batchRoots.lineOf(groups[0], 0, 0);
        IUsageEscrow.Line memory line = batchRoots.lineOf(groups[0], 1, 1);
        assertFalse(escrow.verifyCharge(operator, 1, charge, steps, line, proof));
        _settle(items);
        assertTrue(escrow.verifyCharge(operator, 1, charge, steps, line, proof));
        assertFalse(escrow.verifyCharge(operator, 2, charge, steps, line, proof));
        assertFalse(escrow.verifyCharge(stranger, 1, charge, steps, line, proof));
        assertFalse(escrow.verifyCharge(operator, 1, other, steps, line, proof));
        assertFalse(escrow.verifyCharge(operator, 1, charge, steps, first, proof));
        assertFalse(escrow.verifyCharge(operator, 1, charge, new SumTree.Step[](0), line, proof));
        charge.amount = 59;
        assertFalse(escrow.verifyCharge(operator, 1, charge, steps, line, proof));
    }

    function test_verifyCharge_BindsPayerAndCurrencyToTheLine() external {
        // The tree says another payer, or another currency, than the line that was drawn.
        SumTree.Charge memory charge =
            SumTree.Charge(keccak256("receipt"), 60, address(usd), stranger, keccak256("salt"));
        assertFalse(_isCharged(charge));
        (charge.payer, charge.currency) = (payer, stranger);
        assertFalse(_isCharged(charge));
        charge.currency = address(usd);
        assertTrue(_isCharged(charge));
    }

    function _isCharged(SumTree.Charge memory charge) private returns (bool) {
        IUsageEscrow.Item memory item = _item(id, 60);
        item.payerRoot = SumTree.leafHash(charge);
        _settle(_one(item));
        IUsageEscrow.Line memory line = batchRoots.lineOf(_groups(_one(item))[0], 0, 0);
        uint64 batch = escrow.lastBatchOf(operator);
        return escrow.verifyCharge(operator, batch, charge, new SumTree.Step[](0), line, new bytes32[](0));
    }

    // --- what is not paid ---

    function test_settle_PaysNothingForAnUnknownDeposit() external {
        IUsageEscrow.Item memory item = _item(id, 10);
        item.payer = stranger;
        _expectUnpaid(assetId, item);
    }

    function test_settle_PaysNothingFromAnotherOperatorsDeposit() external {
        vm.prank(stranger);
        escrow.registerOperator(receiptKey, uint64(block.timestamp), uint64(block.timestamp) + 1);
        vm.prank(stranger);
        escrow.setSettlerCap(address(usd), type(uint128).max);
        _settleAs(stranger, 1, _groups(_one(_item(id, 10))));
        assertEq(escrow.drawableOf(id), 1000);
    }

    function test_settle_PaysNothingForAnotherWindow() external {
        IUsageEscrow.Item memory item = _item(id, 10);
        item.window = 1;
        _expectUnpaid(assetId, item);
    }

    function test_settle_PaysNothingForAnUnknownAsset() external {
        _expectUnpaid("unknown", _item(id, 10));
    }

    function test_settle_PaysNothingByAnUnknownAuthority() external {
        IUsageEscrow.Item memory item = _item(id, 10);
        item.authority = "unknown";
        _expectUnpaid(assetId, item);
    }

    function test_settle_GoesOnAfterAnItemThatCannotBePaid() external {
        IUsageEscrow.Item[] memory items = new IUsageEscrow.Item[](4);
        items[0] = _item(id, type(uint128).max);
        items[0].payer = stranger;
        items[1] = _item(id, 700);
        items[2] = _item(id, 700);
        items[3] = _item(id, 0);
        uint256 due = uint256(type(uint128).max) + 1400;
        bytes32 root = batchRoots.rootOf(_groups(items));
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.BatchSettled(operator, 1, root, "data:leaves", 4, due, 1000);
        _settle(items);
        assertEq(_paidLast(), 1000);
    }

    // --- the event, which is written by hand ---

    function testFuzz_settle_SaysWhatBecameOfEachLine(uint128[3] calldata amounts, uint32[3] calldata records)
        external
    {
        IUsageEscrow.Item[] memory items = new IUsageEscrow.Item[](3);
        IUsageEscrow.Settled[] memory lines = new IUsageEscrow.Settled[](3);
        uint256 due;
        uint128 left = 1000;
        for (uint256 i = 0; i < 3; ++i) {
            items[i] = _item(id, amounts[i]);
            items[i].records = records[i];
            uint128 paid = amounts[i] < left ? amounts[i] : left;
            if (records[i] == 0) paid = 0;
            left -= paid;
            due += amounts[i];
            lines[i] = IUsageEscrow.Settled(id, 0, amounts[i], paid, 0, records[i]);
        }
        uint64 releaseAt = uint64(block.timestamp) + DISPUTE_TIME;
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.GroupSettled(operator, 1, assetId, address(usd), 0, due, 1000 - left, releaseAt, lines);
        _settle(items);
        assertEq(_paidLast(), 1000 - left);
    }

    function test_settle_CountsItemsOverAllGroups() external {
        bytes32 other = _deposit(buyer, 50);
        IUsageEscrow.Group[] memory groups = new IUsageEscrow.Group[](2);
        groups[0] = _groups(_one(_item(id, 10)))[0];
        groups[1] = _groups(_one(_item(other, 20)))[0];
        IUsageEscrow.Settled[] memory lines = new IUsageEscrow.Settled[](1);
        lines[0] = IUsageEscrow.Settled(other, 0, 20, 20, 0, 1);
        bytes32 root = batchRoots.rootOf(groups);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.GroupSettled(
            operator, 1, assetId, address(usd), 1, 20, 20, uint64(block.timestamp) + DISPUTE_TIME, lines
        );
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.BatchSettled(operator, 1, root, "data:leaves", 2, 30, 30);
        _settleAs(operator, 1, groups);
        // Two groups of one asset are held together.
        assertEq(_paidLast(), 30);
    }

    function test_settle_RevertWhen_AFieldHasMoreBitsThanItsType() external {
        IUsageEscrow.Group[] memory groups = _groups(_one(_item(id, 10)));
        bytes32 root = batchRoots.rootOf(groups);
        bytes memory data = abi.encodeCall(escrow.settle, (1, root, "", groups));
        // Where the item begins in the call: its fields are payer, authority, window, amount, payerRoot, records.
        uint256 at = data.length - 6 * 32;
        uint256[4] memory narrow = [uint256(0), 2, 3, 5];
        for (uint256 i = 0; i < 4; ++i) {
            bytes memory wide = bytes.concat(data);
            wide[at + narrow[i] * 32] = 0x01;
            vm.prank(operator);
            (bool ok, bytes memory answer) = address(escrow).call(wide);
            assertFalse(ok);
            assertEq(answer.length, 0);
        }
        vm.prank(operator);
        (bool fine,) = address(escrow).call(data);
        assertTrue(fine);
    }

    // --- numbers and sizes ---

    function test_settle_OfAUsedNumberChangesNothing() external {
        IUsageEscrow.Group[] memory groups = _groups(_one(_item(id, 100)));
        bytes32 root = batchRoots.rootOf(groups);
        _settleAs(operator, 1, groups);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.BatchRepeated(operator, 1, root, true);
        _settleAs(operator, 1, groups);
        groups[0].items[0].amount = 500;
        vm.recordLogs();
        _settleAs(operator, 1, groups);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1);
        assertEq(logs[0].topics[0], IUsageEscrow.BatchRepeated.selector);
        assertEq(logs[0].data, abi.encode(root, false));
        assertEq(escrow.depositOf(id).drawn, 100);
        assertEq(escrow.lastBatchOf(operator), 1);
        assertEq(escrow.batchRootOf(operator, 1), root);
    }

    function test_settle_RevertWhen_SizeIsOutOfBounds() external {
        _expectSizeRefused(0, new IUsageEscrow.Group[](0));
        _expectSizeRefused(0, _groups(new IUsageEscrow.Item[](0)));
        uint256 tooMany = escrow.MAX_ITEMS() + 1;
        _expectSizeRefused(tooMany, _groups(new IUsageEscrow.Item[](tooMany)));
    }

    function _expectSizeRefused(uint256 size, IUsageEscrow.Group[] memory groups) private {
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_InvalidBatchSize.selector, size));
        vm.prank(operator);
        escrow.settle(1, 0, "", groups);
    }

    function test_settle_RevertWhen_NoCapWasSet() external {
        TestUSD other = new TestUSD();
        other.mint(payer, 100);
        vm.startPrank(payer);
        other.approve(address(escrow), 100);
        bytes32 source = escrow.deposit(operator, address(other), 100);
        vm.stopPrank();
        IUsageEscrow.Group[] memory groups = _group(assetId, address(other), _one(_item(source, 1)));
        bytes32 root = batchRoots.rootOf(groups);
        vm.expectRevert(
            abi.encodeWithSelector(IUsageEscrow.UsageEscrow_CapExceeded.selector, operator, address(other), 0, 1)
        );
        vm.prank(operator);
        escrow.settle(1, root, "", groups);
    }

    // --- direct draws ---

    function test_setDirectDraws_ForbidsFromTheExitDelayOn() external {
        vm.expectEmit(address(escrow));
        uint64 until = uint64(block.timestamp) + EXIT_DELAY;
        emit IUsageEscrow.DirectDrawsSet(id, payer, operator, address(usd), until);
        vm.prank(payer);
        escrow.setDirectDraws(operator, address(usd), false);
        skip(EXIT_DELAY - 1);
        _settleOne(id, 100);
        assertEq(_paidLast(), 100);
        // Saying it again gives no more time.
        vm.prank(payer);
        escrow.setDirectDraws(operator, address(usd), false);
        assertEq(escrow.directUntilOf(id), until);
        skip(1);
        _settleOne(id, 100);
        assertEq(_paidLast(), 0);
        vm.prank(payer);
        escrow.setDirectDraws(operator, address(usd), true);
        _settleOne(id, 100);
        assertEq(_paidLast(), 100);
    }

    function test_setDirectDraws_HoldsAtOnceBeforeTheFirstDeposit() external {
        vm.prank(buyer);
        escrow.setDirectDraws(operator, address(usd), false);
        bytes32 own = _deposit(buyer, 100);
        _settleOne(own, 50);
        assertEq(_paidLast(), 0);
        assertEq(escrow.depositOf(own).spendable, 100);
    }
}
