// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Vm} from "forge-std/Vm.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IRevenueRouter} from "../src/interfaces/IRevenueRouter.sol";
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

    function _items(IUsageEscrow.Item memory a) private pure returns (IUsageEscrow.Item[] memory items) {
        items = new IUsageEscrow.Item[](1);
        items[0] = a;
    }

    function _settleAs(address who, uint64 batch, IUsageEscrow.Item[] memory items) private {
        bytes32 root = batchRoots.rootOf(items);
        vm.prank(who);
        escrow.settle(batch, root, "data:leaves", items);
    }

    /// @dev Settles one item and expects nothing to be paid for it.
    function _expectUnpaid(IUsageEscrow.Item memory item) private {
        address token = escrow.depositOf(item.source).token;
        uint64 batch = escrow.lastBatchOf(operator) + 1;
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.ItemSettled(
            operator,
            batch,
            item.source,
            0,
            item.assetId,
            token,
            item.window,
            item.amount,
            0,
            item.payerRoot,
            item.records
        );
        _settle(_items(item));
        assertEq(usd.balanceOf(address(escrow)), 1000);
        assertEq(escrow.drawableOf(id), 1000);
    }

    function test_settle_RevertWhen_CallerIsNoOperator() external {
        IUsageEscrow.Item[] memory items = _items(_item(id, 1));
        bytes32 root = batchRoots.rootOf(items);
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_UnknownOperator.selector, stranger));
        vm.prank(stranger);
        escrow.settle(1, root, "", items);
    }

    function test_settle_OfAUsedNumberChangesNothing() external {
        IUsageEscrow.Item[] memory items = _items(_item(id, 100));
        bytes32 root = batchRoots.rootOf(items);
        _settleAs(operator, 1, items);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.BatchRepeated(operator, 1, root, true);
        _settleAs(operator, 1, items);
        items[0].amount = 500;
        vm.recordLogs();
        _settleAs(operator, 1, items);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 1);
        assertEq(logs[0].topics[0], IUsageEscrow.BatchRepeated.selector);
        assertEq(logs[0].data, abi.encode(root, false));
        assertEq(escrow.depositOf(id).drawn, 100);
        assertEq(escrow.lastBatchOf(operator), 1);
        assertEq(escrow.batchRootOf(operator, 1), root);
    }

    function testFuzz_settle_RevertWhen_NumberLeavesAGap(uint64 batch) external {
        batch = uint64(bound(batch, 2, type(uint64).max));
        IUsageEscrow.Item[] memory items = _items(_item(id, 1));
        bytes32 root = batchRoots.rootOf(items);
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_BatchGap.selector, operator, 1, batch));
        vm.prank(operator);
        escrow.settle(batch, root, "", items);
    }

    function test_settle_RevertWhen_SizeIsOutOfBounds() external {
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_InvalidBatchSize.selector, 0));
        vm.prank(operator);
        escrow.settle(1, 0, "", new IUsageEscrow.Item[](0));
        uint256 tooMany = escrow.MAX_ITEMS() + 1;
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_InvalidBatchSize.selector, tooMany));
        vm.prank(operator);
        escrow.settle(1, 0, "", new IUsageEscrow.Item[](tooMany));
    }

    function test_settle_RevertWhen_RootIsNotOfTheItems() external {
        IUsageEscrow.Item[] memory items = _items(_item(id, 1));
        bytes32 root = batchRoots.rootOf(items);
        items[0].amount = 2;
        bytes32 computed = batchRoots.rootOf(items);
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_RootMismatch.selector, root, computed));
        vm.prank(operator);
        escrow.settle(1, root, "", items);
    }

    function test_settle_RevertWhen_EscrowIsRetired() external {
        _advance(address(escrow), IDirectory.Status.Retiring);
        _settleOne(id, 100);
        _advance(address(escrow), IDirectory.Status.Retired);
        IUsageEscrow.Item[] memory items = _items(_item(id, 1));
        bytes32 root = batchRoots.rootOf(items);
        vm.expectRevert(IUsageEscrow.UsageEscrow_Retired.selector);
        vm.prank(operator);
        escrow.settle(2, root, "", items);
        assertEq(escrow.lastBatchOf(operator), 1);
    }

    function test_settle_RevertWhen_NoRouterIsActive() external {
        _advance(address(router), IDirectory.Status.Retiring);
        IUsageEscrow.Item[] memory items = _items(_item(id, 1));
        bytes32 root = batchRoots.rootOf(items);
        vm.expectRevert(IUsageEscrow.UsageEscrow_NoRouter.selector);
        vm.prank(operator);
        escrow.settle(1, root, "", items);
    }

    function test_settle_RevertWhen_CapIsExceeded() external {
        // Windows are days of Unix time; the cap of the fixture is unlimited.
        vm.warp(1_760_054_400);
        _setCap(address(usd), 150);
        _settleOne(id, 100);
        IUsageEscrow.Item[] memory items = _items(_item(id, 51));
        bytes32 root = batchRoots.rootOf(items);
        vm.expectRevert(
            abi.encodeWithSelector(IUsageEscrow.UsageEscrow_CapExceeded.selector, operator, address(usd), 150, 151)
        );
        vm.prank(operator);
        escrow.settle(2, root, "", items);
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

    function test_settle_RevertWhen_NoCapWasSet() external {
        TestUSD other = new TestUSD();
        other.mint(payer, 100);
        vm.startPrank(payer);
        other.approve(address(escrow), 100);
        bytes32 source = escrow.deposit(operator, address(other), 100);
        vm.stopPrank();
        IUsageEscrow.Item[] memory items = _items(_item(source, 1));
        bytes32 root = batchRoots.rootOf(items);
        vm.expectRevert(
            abi.encodeWithSelector(IUsageEscrow.UsageEscrow_CapExceeded.selector, operator, address(other), 0, 1)
        );
        vm.prank(operator);
        escrow.settle(1, root, "", items);
    }

    /// @dev With any gas limit, a batch reverts or pays in full: lack of gas never looks like a shortfall.
    function testFuzz_settle_NeverPaysLessForLackOfGas(uint256 gasLimit) external {
        gasLimit = bound(gasLimit, 50_000, 1_500_000);
        IUsageEscrow.Item[] memory items = new IUsageEscrow.Item[](3);
        for (uint128 i = 0; i < 3; ++i) {
            items[i] = _item(id, 10 + i);
        }
        bytes32 root = batchRoots.rootOf(items);
        bytes memory data = abi.encodeCall(escrow.settle, (1, root, "", items));
        vm.prank(operator);
        (bool ok,) = address(escrow).call{gas: gasLimit}(data);
        assertEq(escrow.depositOf(id).drawn, ok ? 33 : 0);
    }

    function test_settle_RevertWhen_GasIsTooLow() external {
        IUsageEscrow.Item[] memory items = _items(_item(id, 10));
        bytes memory data = abi.encodeCall(escrow.settle, (1, batchRoots.rootOf(items), "", items));
        vm.prank(operator);
        (bool ok, bytes memory error) = address(escrow).call{gas: 400_000}(data);
        assertFalse(ok);
        assertEq(bytes4(error), IUsageEscrow.UsageEscrow_GasTooLow.selector);
    }

    function test_settle_PaysNothingForAnUnknownDeposit() external {
        _expectUnpaid(_item(keccak256("unknown"), 10));
    }

    function test_settle_PaysNothingFromAnotherOperatorsDeposit() external {
        vm.prank(stranger);
        escrow.registerOperator(receiptKey, uint64(block.timestamp), uint64(block.timestamp) + 1);
        vm.prank(stranger);
        escrow.setSettlerCap(address(usd), type(uint128).max);
        _settleAs(stranger, 1, _items(_item(id, 10)));
        assertEq(escrow.drawableOf(id), 1000);
        assertEq(router.owedOf(address(usd)), 0);
    }

    function test_settle_PaysNothingForAnotherWindow() external {
        IUsageEscrow.Item memory item = _item(id, 10);
        item.window = 1;
        _expectUnpaid(item);
    }

    function test_settle_PaysNothingForAnUnknownAsset() external {
        IUsageEscrow.Item memory item = _item(id, 10);
        item.assetId = keccak256("unknown");
        _expectUnpaid(item);
    }

    function test_settle_GoesOnAfterAnItemThatCannotBePaid() external {
        IUsageEscrow.Item[] memory items = new IUsageEscrow.Item[](4);
        items[0] = _item(keccak256("unknown"), 5);
        items[1] = _item(id, 700);
        items[2] = _item(id, 700);
        items[3] = _item(id, 0);
        bytes32 root = batchRoots.rootOf(items);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.BatchSettled(operator, 1, root, "data:leaves", 4, 1405, 1000);
        _settle(items);
        assertEq(router.pendingOf(assetId, address(usd)).amount, 1000);
    }

    function test_settle_HandsTheMoneyToTheRouter() external {
        IUsageEscrow.Item memory item = _item(id, 400);
        vm.expectEmit(address(router));
        emit IRevenueRouter.RevenueReceived(assetId, address(usd), publisher, 400, IRevenueRouter.Source.Usage, id);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.ItemSettled(operator, 1, id, 0, assetId, address(usd), 0, 400, 400, item.payerRoot, 1);
        _settle(_items(item));
        assertEq(usd.balanceOf(address(router)), 400);
        assertEq(escrow.heldOf(address(usd)), 600);
        IUsageEscrow.Deposit memory entry = escrow.depositOf(id);
        assertEq(entry.spendable, 600);
        assertEq(entry.drawn, 400);
        // The total, which is what the payer may use in all, is as before.
        _fund(payer, address(escrow), 5);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.Deposited(id, payer, operator, address(usd), 5, 605, 1005);
        vm.prank(payer);
        escrow.deposit(operator, address(usd), 5);
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
        assertEq(escrow.heldOf(address(usd)), 250);
        skip(EXIT_DELAY);
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
        assertEq(router.owedOf(address(usd)), paid);
        assertEq(usd.balanceOf(address(escrow)), 1000 - paid);
        assertEq(escrow.heldOf(address(usd)), 1000 - paid);
        assertEq(escrow.drawableOf(id), drawable - paid);
    }

    function test_payItem_RevertWhen_CallerIsNotTheEscrow() external {
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_NotSelf.selector, operator));
        vm.prank(operator);
        escrow.payItem(operator, operator, 1000, _item(id, 1000));
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
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = batchRoots.leafOf(items[0]);
        assertFalse(escrow.verifyCharge(operator, 1, charge, steps, items[1], proof));
        _settle(items);
        assertTrue(escrow.verifyCharge(operator, 1, charge, steps, items[1], proof));
        assertFalse(escrow.verifyCharge(operator, 2, charge, steps, items[1], proof));
        assertFalse(escrow.verifyCharge(stranger, 1, charge, steps, items[1], proof));
        assertFalse(escrow.verifyCharge(operator, 1, other, steps, items[1], proof));
        assertFalse(escrow.verifyCharge(operator, 1, charge, steps, items[0], proof));
        assertFalse(escrow.verifyCharge(operator, 1, charge, new SumTree.Step[](0), items[1], proof));
        charge.amount = 59;
        assertFalse(escrow.verifyCharge(operator, 1, charge, steps, items[1], proof));
    }

    function test_verifyCharge_BindsPayerAndCurrencyToTheDeposit() external {
        // The tree says another payer, or another currency, than the deposit that was drawn.
        SumTree.Charge memory charge =
            SumTree.Charge(keccak256("receipt"), 60, address(usd), stranger, keccak256("salt"));
        for (uint64 batch = 1; batch <= 2; ++batch) {
            IUsageEscrow.Item[] memory items = _items(_item(id, 60));
            items[0].payerRoot = SumTree.leafHash(charge);
            _settle(items);
            assertFalse(escrow.verifyCharge(operator, batch, charge, new SumTree.Step[](0), items[0], new bytes32[](0)));
            (charge.payer, charge.currency) = (payer, stranger);
        }
        charge.currency = address(usd);
        IUsageEscrow.Item[] memory right = _items(_item(id, 60));
        right[0].payerRoot = SumTree.leafHash(charge);
        _settle(right);
        assertTrue(escrow.verifyCharge(operator, 3, charge, new SumTree.Step[](0), right[0], new bytes32[](0)));
    }
}
