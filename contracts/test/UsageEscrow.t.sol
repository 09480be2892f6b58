// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {UsageEscrow} from "../src/UsageEscrow.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {Base} from "./Base.sol";

contract UsageEscrowTest is Base {
    address private secondKey = makeAddr("secondKey");
    uint64 private begin;

    function setUp() public override {
        super.setUp();
        begin = uint64(block.timestamp);
    }

    function _expectInvalidKey(address key, uint64 from, uint64 until) private {
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_InvalidKeyInterval.selector, key, from, until));
        vm.prank(operator);
        escrow.setReceiptKey(key, from, until);
    }

    function test_registerOperator_RevertWhen_EscrowIsNotActive() external {
        _advance(address(escrow), IDirectory.Status.Retiring);
        vm.expectRevert(
            abi.encodeWithSelector(IDirectory.Directory_NotActive.selector, address(escrow), IDirectory.Status.Retiring)
        );
        vm.prank(stranger);
        escrow.registerOperator(secondKey, begin, begin + 1);
        // Rotating the key of a registered operator is no entry.
        vm.prank(operator);
        escrow.setReceiptKey(secondKey, begin, begin + 1);
    }

    function test_registerOperator_RevertWhen_CallerIsRegistered() external {
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_OperatorExists.selector, operator));
        vm.prank(operator);
        escrow.registerOperator(secondKey, begin, begin + 1);
    }

    function test_registerOperator_MakesTheCallerAnOperator() external {
        assertFalse(escrow.isOperator(stranger));
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.OperatorRegistered(stranger);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.OperatorKeySet(stranger, secondKey, begin, begin + 10);
        vm.prank(stranger);
        escrow.registerOperator(secondKey, begin, begin + 10);
        assertTrue(escrow.isOperator(stranger));
        // The same key of another operator is another key.
        assertFalse(escrow.isReceiptKeyValid(operator, secondKey, begin));
    }

    function test_setReceiptKey_RevertWhen_CallerIsNoOperator() external {
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_UnknownOperator.selector, stranger));
        vm.prank(stranger);
        escrow.setReceiptKey(secondKey, begin, begin + 1);
    }

    function test_setReceiptKey_RevertWhen_KeyOrIntervalIsInvalid() external {
        _expectInvalidKey(address(0), begin, begin + 1);
        _expectInvalidKey(secondKey, begin, begin);
        _expectInvalidKey(secondKey, begin + 1, begin);
        _expectInvalidKey(secondKey, begin - 10, begin - 1);
    }

    function test_setReceiptKey_RevertWhen_ThePastWouldChange() external {
        skip(100);
        uint64 until = begin + 365 days;
        _expectInvalidKey(receiptKey, begin + 1, until);
        _expectInvalidKey(receiptKey, begin - 1, until);
        _expectInvalidKey(receiptKey, begin, begin + 99);
        vm.prank(operator);
        escrow.setReceiptKey(receiptKey, begin, begin + 100);
        assertTrue(escrow.isReceiptKeyValid(operator, receiptKey, begin + 99));
        assertFalse(escrow.isReceiptKeyValid(operator, receiptKey, begin + 100));
        // Ended for good.
        _expectInvalidKey(receiptKey, begin, until);
    }

    function test_setReceiptKey_MovesAKeyThatHasNotBegun() external {
        vm.startPrank(operator);
        escrow.setReceiptKey(secondKey, begin + 100, begin + 200);
        escrow.setReceiptKey(secondKey, begin + 50, begin + 60);
        IUsageEscrow.KeyInterval memory key = escrow.receiptKeyOf(operator, secondKey);
        assertEq(key.validFrom, begin + 50);
        assertEq(key.validUntil, begin + 60);
    }

    function testFuzz_isReceiptKeyValid_HoldsInsideTheIntervalAlone(uint64 from, uint64 until, uint64 at) external {
        until = uint64(bound(until, begin, type(uint64).max));
        from = uint64(bound(from, 0, until - 1));
        vm.prank(operator);
        escrow.setReceiptKey(secondKey, from, until);
        assertEq(escrow.isReceiptKeyValid(operator, secondKey, at), at >= from && at < until);
        assertFalse(escrow.isReceiptKeyValid(operator, stranger, at));
    }

    function test_setSettlerCap_RevertWhen_CallerIsNoOperator() external {
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_UnknownOperator.selector, stranger));
        vm.prank(stranger);
        escrow.setSettlerCap(address(usd), 1);
    }

    function test_setSettlerCap_FirstAndLowerHoldAtOnceAndHigherWaits() external {
        address token = makeAddr("token");
        vm.startPrank(operator);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.SettlerCapSet(operator, token, 100, begin);
        escrow.setSettlerCap(token, 100);
        assertEq(_cap(token), 100);
        escrow.setSettlerCap(token, 40);
        assertEq(_cap(token), 40);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.SettlerCapSet(operator, token, 70, begin + EXIT_DELAY);
        escrow.setSettlerCap(token, 70);
        assertEq(_cap(token), 40);
        skip(EXIT_DELAY - 1);
        assertEq(_cap(token), 40);
        skip(1);
        assertEq(_cap(token), 70);
    }

    function test_setSettlerCap_ZeroIsNoWayAroundTheWait() external {
        address token = makeAddr("token");
        vm.startPrank(operator);
        escrow.setSettlerCap(token, 100);
        escrow.setSettlerCap(token, 0);
        escrow.setSettlerCap(token, 100);
        assertEq(_cap(token), 0);
        // A raise that waits is dropped by a later lower cap.
        escrow.setSettlerCap(token, 0);
        skip(2 * EXIT_DELAY);
        assertEq(_cap(token), 0);
    }

    function _cap(address token) private view returns (uint128 cap) {
        (cap,) = escrow.settlerCapOf(operator, token);
    }

    function test_deposit_RevertWhen_EscrowIsNotActive() external {
        _advance(address(escrow), IDirectory.Status.Retiring);
        _fund(payer, address(escrow), 1);
        vm.expectRevert(
            abi.encodeWithSelector(IDirectory.Directory_NotActive.selector, address(escrow), IDirectory.Status.Retiring)
        );
        vm.prank(payer);
        escrow.deposit(operator, address(usd), 1);
    }

    function test_deposit_RevertWhen_OperatorIsUnknownOrAmountZero() external {
        vm.startPrank(payer);
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_UnknownOperator.selector, stranger));
        escrow.deposit(stranger, address(usd), 1);
        vm.expectRevert(IUsageEscrow.UsageEscrow_ZeroAmount.selector);
        escrow.deposit(operator, address(usd), 0);
    }

    function test_deposit_AddsToOneDeposit() external {
        bytes32 expected = keccak256(abi.encode(payer, operator, address(usd)));
        _fund(payer, address(escrow), 150);
        vm.startPrank(payer);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.Deposited(expected, payer, operator, address(usd), 100, 100, 100);
        assertEq(escrow.deposit(operator, address(usd), 100), expected);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.Deposited(expected, payer, operator, address(usd), 50, 150, 150);
        escrow.deposit(operator, address(usd), 50);
        vm.stopPrank();
        IUsageEscrow.Deposit memory entry = escrow.depositOf(expected);
        assertEq(abi.encode(entry), abi.encode(IUsageEscrow.Deposit(payer, operator, address(usd), 150, 0)));
        assertEq(escrow.depositIdOf(payer, operator, address(usd)), expected);
        assertEq(escrow.heldOf(address(usd)), 150);
        assertEq(escrow.drawableOf(expected), 150);
        assertEq(usd.balanceOf(address(escrow)), 150);
    }

    function test_requestExit_RevertWhen_CallerIsNotThePayer() external {
        bytes32 id = _deposit(payer, 100);
        address[2] memory callers = [stranger, operator];
        for (uint256 i = 0; i < callers.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_NotPayer.selector, id, callers[i]));
            vm.prank(callers[i]);
            escrow.requestExit(id, 1);
        }
    }

    function test_requestExit_RevertWhen_AmountIsNotThere() external {
        bytes32 id = _deposit(payer, 100);
        vm.startPrank(payer);
        vm.expectRevert(IUsageEscrow.UsageEscrow_ZeroAmount.selector);
        escrow.requestExit(id, 0);
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_InsufficientSpendable.selector, id, 101, 100));
        escrow.requestExit(id, 101);
    }

    function test_requestExit_RevertWhen_FourAreOpen() external {
        bytes32 id = _deposit(payer, 100);
        vm.startPrank(payer);
        for (uint256 i = 0; i < 4; ++i) {
            escrow.requestExit(id, 10);
        }
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_TooManyExits.selector, id, 4));
        escrow.requestExit(id, 10);
        skip(EXIT_DELAY);
        escrow.withdraw(1);
        escrow.requestExit(id, 10);
    }

    function test_requestExit_LowersSpendableAndTotalAtOnce() external {
        bytes32 id = _deposit(payer, 100);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.ExitRequested(id, payer, 1, operator, address(usd), 30, begin + EXIT_DELAY, 70, 70);
        vm.prank(payer);
        assertEq(escrow.requestExit(id, 30), 1);
        assertEq(escrow.depositOf(id).spendable, 70);
        assertEq(escrow.drawableOf(id), 100);
        assertEq(escrow.heldOf(address(usd)), 100);
        IUsageEscrow.Exit memory exit = escrow.exitOf(1);
        assertEq(abi.encode(exit), abi.encode(IUsageEscrow.Exit(id, 30, begin + EXIT_DELAY)));
    }

    function test_withdraw_RevertWhen_ExitIsUnknownOrWithdrawn() external {
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_UnknownExit.selector, 1));
        escrow.withdraw(1);
        bytes32 id = _deposit(payer, 100);
        vm.prank(payer);
        escrow.requestExit(id, 30);
        skip(EXIT_DELAY);
        escrow.withdraw(1);
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_UnknownExit.selector, 1));
        escrow.withdraw(1);
    }

    function test_withdraw_RevertWhen_ExitStillWaits() external {
        bytes32 id = _deposit(payer, 100);
        vm.prank(payer);
        escrow.requestExit(id, 30);
        skip(EXIT_DELAY - 1);
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_ExitLocked.selector, 1, begin + EXIT_DELAY));
        vm.prank(payer);
        escrow.withdraw(1);
    }

    function test_withdraw_PaysThePayerWhoeverCalls() external {
        bytes32 id = _deposit(payer, 100);
        vm.prank(payer);
        escrow.requestExit(id, 30);
        skip(EXIT_DELAY);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.Withdrawn(id, payer, 1, operator, address(usd), 30);
        vm.prank(stranger);
        assertEq(escrow.withdraw(1), 30);
        assertEq(usd.balanceOf(payer), 30);
        assertEq(escrow.heldOf(address(usd)), 70);
        assertEq(escrow.depositOf(id).spendable, 70);
    }

    function testFuzz_withdraw_KeepsTheOrderOfTheOthers(uint8 which) external {
        which = uint8(bound(which, 1, 4));
        bytes32 id = _deposit(payer, 100);
        for (uint128 i = 1; i <= 4; ++i) {
            vm.prank(payer);
            escrow.requestExit(id, i);
        }
        skip(EXIT_DELAY);
        escrow.withdraw(which);
        uint256[] memory open = escrow.openExitsOf(id);
        assertEq(open.length, 3);
        for (uint256 i = 0; i < 3; ++i) {
            assertEq(open[i], i + 1 < which ? i + 1 : i + 2);
        }
    }

    function test_setExitDelay_RevertWhen_CallerLacksRole() external {
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, operator));
        vm.prank(operator);
        escrow.setExitDelay(1 days);
    }

    function test_setExitDelay_RevertWhen_OutOfBounds() external {
        uint64[3] memory delays = [uint64(0), 9, 14 days + 1];
        for (uint256 i = 0; i < delays.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_InvalidExitDelay.selector, delays[i]));
            escrow.setExitDelay(delays[i]);
        }
    }

    function test_setExitDelay_FirstHoldsAtOnceAndLaterOnesWait() external {
        UsageEscrow fresh = new UsageEscrow(address(manager), directory, address(1));
        assertEq(fresh.exitDelay(), 72 hours);
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = IUsageEscrow.setExitDelay.selector;
        manager.setTargetFunctionRole(address(fresh), selectors, manager.PUBLIC_ROLE());
        vm.expectEmit(address(fresh));
        emit IUsageEscrow.ExitDelaySet(10, begin);
        fresh.setExitDelay(10);
        assertEq(fresh.exitDelay(), 10);
        vm.expectEmit(address(fresh));
        emit IUsageEscrow.ExitDelaySet(1 days, begin + 10);
        fresh.setExitDelay(1 days);
        skip(9);
        assertEq(fresh.exitDelay(), 10);
        skip(1);
        assertEq(fresh.exitDelay(), 1 days);
    }

    function test_setExitDelay_LeavesOpenExitsAsTheyAre() external {
        bytes32 id = _deposit(payer, 100);
        vm.prank(payer);
        escrow.requestExit(id, 30);
        escrow.setExitDelay(14 days);
        vm.warp(begin + EXIT_DELAY);
        assertEq(escrow.exitDelay(), 14 days);
        escrow.withdraw(1);
        vm.prank(payer);
        escrow.requestExit(id, 30);
        assertEq(escrow.exitOf(2).unlockTime, block.timestamp + 14 days);
    }
}
