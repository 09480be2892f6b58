// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IMandates} from "../src/interfaces/IMandates.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {UsageEscrow} from "../src/UsageEscrow.sol";
import {Mandates} from "../src/libraries/Mandates.sol";
import {MandateBase} from "./MandateBase.sol";

contract MandateAttacksTest is MandateBase {
    /// @dev One batch with these windows, each item with all of a window's amount.
    function _settleWindows(bytes32 id, uint32[] memory windows) private returns (uint256 paid) {
        IUsageEscrow.Item[] memory items = new IUsageEscrow.Item[](windows.length);
        for (uint256 i = 0; i < windows.length; ++i) {
            items[i] = _use(id, windows[i], WINDOW_AMOUNT, 1);
        }
        _settle(items);
        paid = _paidLast();
    }

    function test_windowCountedTwiceInOneBatch() external {
        Mandates.Mandate memory m = _mandate();
        m.totalAmount = 10_000;
        bytes32 id = _open(m);
        skip(HOUR);
        uint32[] memory windows = new uint32[](6);
        (windows[0], windows[1], windows[2]) = (1, 0, 1);
        (windows[3], windows[4], windows[5]) = (0, 0, 1);
        assertEq(_settleWindows(id, windows), 2 * WINDOW_AMOUNT);
    }

    function test_windowCountedTwiceOverItsBoundary() external {
        bytes32 id = _open(_mandate());
        skip(HOUR - 1);
        assertEq(_draw(id, 0, WINDOW_AMOUNT, CALLS), WINDOW_AMOUNT);
        assertEq(_draw(id, 1, 1, 1), 0);
        skip(1);
        assertEq(_draw(id, 0, 1, 1), 0);
        assertEq(_draw(id, 1, WINDOW_AMOUNT, 1), WINDOW_AMOUNT);
        assertEq(_draw(id, 0, 1, 1), 0);
        skip(GRACE);
        assertEq(_draw(id, 0, 1, 1), 0);
    }

    /// @dev With the longest grace, window 0 is settled until window 2, which takes its place, begins.
    function test_windowCountedTwiceAfterItsPlaceWasTaken() external {
        Mandates.Mandate memory m = _mandate();
        (m.grace, m.totalAmount) = (HOUR, 10_000);
        bytes32 id = _open(m);
        assertEq(_draw(id, 0, WINDOW_AMOUNT, 1), WINDOW_AMOUNT);
        skip(2 * HOUR - 1);
        assertEq(_draw(id, 0, 1, 1), 0);
        assertEq(_draw(id, 2, 1, 1), 0);
        skip(1);
        assertEq(_draw(id, 2, 1, 1), 1);
        assertEq(_draw(id, 0, 1, 1), 0);
        vm.prank(agent.addr);
        escrow.revokeMandate(id);
        assertEq(_draw(id, 0, 1, 1), 0);
        assertEq(_draw(id, 1, 1, 1), 1);
    }

    function test_replayAcrossChains() external {
        bytes memory signature = _sign(_mandate());
        vm.chainId(1);
        bytes32 other = escrow.mandateDigest(_mandate());
        vm.expectRevert(abi.encodeWithSelector(IMandates.UsageEscrow_InvalidSignature.selector, other, agent.addr));
        escrow.openMandate(_mandate(), signature);
    }

    function test_replayAcrossContracts() external {
        bytes memory signature = _sign(_mandate());
        UsageEscrow second = new UsageEscrow(address(manager), directory, address(extension));
        directory.list("Second", address(second));
        bytes32 other = second.mandateDigest(_mandate());
        assertNotEq(other, escrow.mandateDigest(_mandate()));
        vm.expectRevert(abi.encodeWithSelector(IMandates.UsageEscrow_InvalidSignature.selector, other, agent.addr));
        second.openMandate(_mandate(), signature);
    }

    function test_replayOfANonce() external {
        bytes32 id = _open(_mandate());
        assertEq(_draw(id, 0, WINDOW_AMOUNT, 1), WINDOW_AMOUNT);
        bytes memory reason = abi.encodeWithSelector(IMandates.UsageEscrow_NonceUsed.selector, agent.addr, 7);
        bytes memory signature = _sign(_mandate());
        vm.expectRevert(reason);
        escrow.openMandate(_mandate(), signature);
        Mandates.Mandate memory m = _mandate();
        m.windowAmount = 9000;
        signature = _sign(m);
        vm.expectRevert(reason);
        escrow.openMandate(m, signature);
        assertEq(_draw(id, 0, WINDOW_AMOUNT, 1), 0);
    }

    function test_replayAcrossTime() external {
        bytes memory signature = _sign(_mandate());
        skip(10 * HOUR);
        vm.expectPartialRevert(IMandates.UsageEscrow_InvalidMandateTime.selector);
        escrow.openMandate(_mandate(), signature);
    }

    function test_replayOfTheMalleableTwin() external {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(agent.privateKey, escrow.mandateDigest(_mandate()));
        uint256 order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        bytes memory twin = abi.encodePacked(r, bytes32(order - uint256(s)), v == 27 ? uint8(28) : uint8(27));
        vm.expectPartialRevert(IMandates.UsageEscrow_InvalidSignature.selector);
        escrow.openMandate(_mandate(), twin);
    }

    function test_revokedThenReopened() external {
        bytes32 id = _open(_mandate());
        bytes memory signature = _sign(_mandate());
        vm.prank(agent.addr);
        escrow.revokeMandate(id);
        vm.expectPartialRevert(IMandates.UsageEscrow_NonceUsed.selector);
        vm.prank(operator);
        escrow.openMandate(_mandate(), signature);
        skip(1);
        assertEq(escrow.mandateOf(id).remaining, IN_FLIGHT);
    }

    function test_drawAfterRevokeOfALaterWindow() external {
        bytes32 id = _open(_mandate());
        skip(HOUR - 1);
        vm.prank(agent.addr);
        escrow.revokeMandate(id);
        skip(1);
        assertEq(_draw(id, 1, 1, 1), 0);
        assertEq(_draw(id, 0, WINDOW_AMOUNT, 1), IN_FLIGHT);
        assertEq(_draw(id, 0, WINDOW_AMOUNT, 1), 0);
    }

    function test_twoMandatesDrawOneDepositOnce() external {
        vm.prank(agent.addr);
        escrow.requestExit(depositId, 8500);
        skip(EXIT_DELAY);
        escrow.withdraw(1);
        Mandates.Mandate memory m = _mandate();
        m.validUntil += 100 * HOUR;
        bytes32 first = _open(m);
        m.nonce = 8;
        bytes32 second = _open(m);
        uint32 window = uint32(EXIT_DELAY / HOUR);
        IUsageEscrow.Item[] memory items = new IUsageEscrow.Item[](2);
        items[0] = _use(first, window, WINDOW_AMOUNT, 1);
        items[1] = _use(second, window, WINDOW_AMOUNT, 1);
        _settle(items);
        assertEq(_paidLast(), 1500);
        assertEq(escrow.drawableOf(depositId), 0);
    }
}
