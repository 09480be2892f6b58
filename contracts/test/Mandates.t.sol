// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IMandates} from "../src/interfaces/IMandates.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {Mandates} from "../src/libraries/Mandates.sol";
import {SumTree} from "../src/libraries/SumTree.sol";
import {MandateBase} from "./MandateBase.sol";
import {ContractWallet} from "./mocks/Wallets.sol";

contract MandatesTest is MandateBase {
    function _expectRefused(Mandates.Mandate memory m, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(agent.addr);
        escrow.openMandate(m, "");
    }

    // --- open ---

    function test_open_KeepsTheTermsUnderTheDigest() external {
        Mandates.Mandate memory m = _mandate();
        m.assets = _only(assetId);
        bytes32 id = escrow.mandateDigest(m);
        bytes memory signature = _sign(m);
        vm.expectEmit(address(escrow));
        emit IMandates.MandateOpened(id, agent.addr, operator, depositId, m);
        vm.prank(stranger);
        assertEq(escrow.openMandate(m, signature), id);
        IMandates.MandateState memory state = escrow.mandateOf(id);
        assertEq(state.depositId, depositId);
        assertEq(state.windowAmount, WINDOW_AMOUNT);
        assertEq(state.remaining, TOTAL);
        assertEq(state.validUntil, m.validUntil);
        assertFalse(state.anyAsset);
        assertTrue(escrow.mandateCovers(id, assetId));
        assertFalse(escrow.mandateCovers(id, keccak256("other")));
        assertTrue(escrow.isMandateNonceUsed(agent.addr, 7));
    }

    function test_open_ByThePayerNeedsNoSignature() external {
        vm.prank(agent.addr);
        bytes32 id = escrow.openMandate(_mandate(), "");
        assertEq(escrow.mandateOf(id).depositId, depositId);
        assertTrue(escrow.mandateCovers(id, keccak256("any")));
    }

    function test_open_RevertWhen_TheSignatureIsNotThePayers() external {
        Mandates.Mandate memory m = _mandate();
        bytes memory signature = _sign(m);
        m.windowAmount += 1;
        bytes32 id = escrow.mandateDigest(m);
        vm.expectRevert(abi.encodeWithSelector(IMandates.UsageEscrow_InvalidSignature.selector, id, agent.addr));
        vm.prank(operator);
        escrow.openMandate(m, signature);
    }

    function test_open_AsksAContractThatPays() external {
        ContractWallet wallet = new ContractWallet(agent.addr);
        _deposit(address(wallet), 1000);
        Mandates.Mandate memory m = _mandate();
        m.payer = address(wallet);
        bytes32 id = _open(m);
        assertEq(_draw(id, 0, 100, 1), 100);
        m.nonce = 8;
        bytes memory signature = _sign(m);
        signature[3] ^= 0x01;
        vm.expectPartialRevert(IMandates.UsageEscrow_InvalidSignature.selector);
        escrow.openMandate(m, signature);
    }

    function test_open_RevertWhen_ThereIsNoDeposit() external {
        Mandates.Mandate memory m = _mandate();
        m.token = address(0x70CE);
        bytes32 missing = escrow.depositIdOf(agent.addr, operator, m.token);
        _expectRefused(m, abi.encodeWithSelector(IMandates.UsageEscrow_UnknownDeposit.selector, missing));
    }

    function test_open_RevertWhen_AnAmountIsZero() external {
        bytes memory reason = abi.encodeWithSelector(IUsageEscrow.UsageEscrow_ZeroAmount.selector);
        Mandates.Mandate memory m = _mandate();
        m.windowAmount = 0;
        _expectRefused(m, reason);
        m = _mandate();
        m.totalAmount = 0;
        _expectRefused(m, reason);
        m = _mandate();
        m.windowRecords = 0;
        _expectRefused(m, reason);
    }

    function test_open_RevertWhen_TheWindowIsOutOfBounds() external {
        Mandates.Mandate memory m = _mandate();
        m.grace = HOUR + 1;
        bytes4 selector = IMandates.UsageEscrow_InvalidMandateWindow.selector;
        _expectRefused(m, abi.encodeWithSelector(selector, HOUR, HOUR + 1));
        (m.windowLength, m.grace) = (59, 0);
        _expectRefused(m, abi.encodeWithSelector(selector, 59, 0));
        m = _mandate();
        // More windows than a word can count.
        (m.windowLength, m.grace) = (60, 60);
        m.validUntil = m.validFrom + uint64(m.windowLength) * (2 ** 24 - 2);
        _expectRefused(m, abi.encodeWithSelector(selector, m.windowLength, m.grace));
    }

    function test_open_RevertWhen_AWindowIsAboveWhatAWordCounts() external {
        Mandates.Mandate memory m = _mandate();
        (m.windowAmount, m.totalAmount) = (2 ** 87, 2 ** 88 - 1);
        _expectRefused(m, abi.encodeWithSelector(IMandates.UsageEscrow_MandateTooLarge.selector, 2 ** 87));
        m.windowAmount = 2 ** 87 - 1;
        vm.prank(m.payer);
        bytes32 id = escrow.openMandate(m, "");
        assertEq(escrow.mandateOf(id).windowAmount, 2 ** 87 - 1);
        assertEq(escrow.mandateOf(id).remaining, 2 ** 88 - 1);
    }

    function test_open_RevertWhen_TheTimeIsEmptyOrOver() external {
        Mandates.Mandate memory m = _mandate();
        bytes4 selector = IMandates.UsageEscrow_InvalidMandateTime.selector;
        (m.validFrom, m.validUntil) = (start - 9, start);
        _expectRefused(m, abi.encodeWithSelector(selector, start - 9, start));
        (m.validFrom, m.validUntil) = (start + 9, start + 9);
        _expectRefused(m, abi.encodeWithSelector(selector, start + 9, start + 9));
    }

    function test_open_RevertWhen_TheEndIsBeyondWhatAWordHolds() external {
        Mandates.Mandate memory m = _mandate();
        uint64 last = 2 ** 32 - 2 ** 24;
        (m.windowLength, m.grace, m.validUntil) = (2 ** 24 - 1, 2 ** 24 - 1, last + 1);
        bytes4 selector = IMandates.UsageEscrow_InvalidMandateTime.selector;
        _expectRefused(m, abi.encodeWithSelector(selector, m.validFrom, last + 1));
        m.validUntil = last;
        vm.prank(m.payer);
        assertEq(escrow.mandateOf(escrow.openMandate(m, "")).validUntil, last);
    }

    function test_open_RevertWhen_ThereAreTooManyAssets() external {
        Mandates.Mandate memory m = _mandate();
        m.assets = new bytes32[](17);
        _expectRefused(m, abi.encodeWithSelector(IMandates.UsageEscrow_TooManyAssets.selector, 17));
    }

    function test_open_RevertWhen_TheEscrowIsRetiring() external {
        _advance(address(escrow), IDirectory.Status.Retiring);
        vm.expectRevert();
        vm.prank(agent.addr);
        escrow.openMandate(_mandate(), "");
    }

    // --- revoke, cancel ---

    function test_revoke_EndsItNowAndLeavesTheInFlightCap() external {
        bytes32 id = _open(_mandate());
        skip(100);
        vm.expectEmit(address(escrow));
        emit IMandates.MandateRevoked(
            id, agent.addr, operator, address(usd), start + 100, start + 100 + GRACE, IN_FLIGHT
        );
        vm.prank(agent.addr);
        escrow.revokeMandate(id);
        assertEq(escrow.mandateOf(id).validUntil, start + 100);
        skip(GRACE - 1);
        assertEq(_draw(id, 0, 200, 1), 200);
        assertEq(_draw(id, 0, 200, 1), 100);
        assertEq(_draw(id, 0, 200, 1), 0);
    }

    function test_revoke_OfABegunWindowRefusesOnceTheGraceIsOver() external {
        bytes32 id = _open(_mandate());
        skip(100);
        vm.prank(agent.addr);
        escrow.revokeMandate(id);
        skip(GRACE);
        assertEq(_draw(id, 0, 1, 1), 0);
    }

    function test_revoke_BeforeItBeginsLeavesNothing() external {
        Mandates.Mandate memory m = _mandate();
        m.validFrom = start + 50;
        bytes32 id = _open(m);
        vm.prank(agent.addr);
        escrow.revokeMandate(id);
        skip(50);
        assertEq(_draw(id, 0, 1, 1), 0);
    }

    function test_revoke_AfterItsEndKeepsTheEnd() external {
        bytes32 id = _open(_mandate());
        skip(10 * HOUR + 5);
        vm.prank(agent.addr);
        escrow.revokeMandate(id);
        assertEq(escrow.mandateOf(id).validUntil, start + 10 * HOUR);
        assertEq(_draw(id, 9, 1000, 1), IN_FLIGHT);
    }

    function test_revoke_RevertWhen_NotThePayerUnknownOrRevoked() external {
        bytes32 id = _open(_mandate());
        vm.expectRevert(abi.encodeWithSelector(IMandates.UsageEscrow_NotMandatePayer.selector, id, operator));
        vm.prank(operator);
        escrow.revokeMandate(id);
        vm.expectRevert(abi.encodeWithSelector(IMandates.UsageEscrow_UnknownMandate.selector, depositId));
        vm.startPrank(agent.addr);
        escrow.revokeMandate(depositId);
        escrow.revokeMandate(id);
        vm.expectRevert(abi.encodeWithSelector(IMandates.UsageEscrow_MandateIsRevoked.selector, id));
        escrow.revokeMandate(id);
    }

    function test_revoke_StaysOpenWhenEverythingIsClosed() external {
        bytes32 id = _open(_mandate());
        _advance(address(escrow), IDirectory.Status.Retiring);
        _advance(address(escrow), IDirectory.Status.Retired);
        manager.setTargetClosed(address(escrow), true);
        vm.startPrank(agent.addr);
        escrow.revokeMandate(id);
        escrow.cancelMandateNonce(8);
        assertTrue(escrow.mandateOf(id).revoked);
    }

    function test_cancel_TakesBackAnUnusedSignature() external {
        bytes memory signature = _sign(_mandate());
        vm.expectEmit(address(escrow));
        emit IMandates.MandateNonceCancelled(agent.addr, 7);
        vm.prank(agent.addr);
        escrow.cancelMandateNonce(7);
        vm.expectRevert(abi.encodeWithSelector(IMandates.UsageEscrow_NonceUsed.selector, agent.addr, 7));
        escrow.openMandate(_mandate(), signature);
    }

    // --- settle ---

    function test_settle_DrawsFromTheDepositAndCounts() external {
        bytes32 id = _open(_mandate());
        IUsageEscrow.Settled[] memory lines = new IUsageEscrow.Settled[](1);
        lines[0] = IUsageEscrow.Settled(depositId, id, 400, 400, 0, 3);
        vm.expectEmit(address(escrow));
        emit IUsageEscrow.GroupSettled(
            operator, 1, assetId, address(usd), 0, 400, 400, uint64(block.timestamp) + DISPUTE_TIME, lines
        );
        assertEq(_draw(id, 0, 400, 3), 400);
        IMandates.WindowUse[2] memory use = escrow.mandateUseOf(id);
        assertEq(use[0].amount, 400);
        assertEq(use[0].records, 3);
        assertEq(escrow.mandateOf(id).remaining, TOTAL - 400);
        assertEq(escrow.depositOf(depositId).drawn, 400);
    }

    function test_settle_PaysWhatIsLeftOfWindowTotalAndDeposit() external {
        bytes32 id = _open(_mandate());
        assertEq(_draw(id, 0, 1500, 1), WINDOW_AMOUNT);
        skip(HOUR);
        assertEq(_draw(id, 1, 1500, 1), WINDOW_AMOUNT);
        skip(HOUR);
        assertEq(_draw(id, 2, 1500, 1), TOTAL - 2 * WINDOW_AMOUNT);
        assertEq(_draw(id, 2, 1, 1), 0);

        Mandates.Mandate memory m = _mandate();
        (m.nonce, m.windowAmount, m.totalAmount) = (8, 20_000, 20_000);
        assertEq(_draw(_open(m), 2, 15_000, 1), 10_000 - TOTAL);
    }

    function test_settle_PaysNothingOutsideOfTheMandate() external {
        Mandates.Mandate memory m = _mandate();
        m.assets = _only(keccak256("other"));
        m.nonce = 8;
        bytes32 elsewhere = _open(m);
        bytes32 id = _open(_mandate());
        assertEq(_draw(elsewhere, 0, 1, 1), 0);
        assertEq(_draw(id, 0, 1, 0), 0);
        assertEq(_draw(id, 1, 1, 1), 0);
        assertEq(_draw(id, type(uint32).max, 1, 1), 0);
        assertEq(_draw(id, 0, 1, CALLS + 1), 0);
        assertEq(_draw(id, 0, 1, type(uint32).max), 0);
        _settleAs(operator, escrow.lastBatchOf(operator) + 1, _group("unknown", address(usd), _one(_use(id, 0, 1, 1))));
        assertEq(escrow.mandateOf(id).remaining, TOTAL);
        assertEq(escrow.mandateUseOf(id)[0].records, 0);
    }

    function test_settle_OfAnotherOperatorPaysNothing() external {
        bytes32 id = _open(_mandate());
        vm.startPrank(stranger);
        escrow.registerOperator(stranger, 0, type(uint64).max);
        escrow.setSettlerCap(address(usd), type(uint128).max);
        vm.stopPrank();
        _settleAs(stranger, 1, _groups(_one(_use(id, 0, 1, 1))));
        assertEq(escrow.mandateOf(id).remaining, TOTAL);
        assertEq(escrow.depositOf(depositId).drawn, 0);
    }

    function test_settle_CountsTheCallsOfAWindow() external {
        bytes32 id = _open(_mandate());
        assertEq(_draw(id, 0, 1, CALLS - 1), 1);
        assertEq(_draw(id, 0, 1, 2), 0);
        assertEq(_draw(id, 0, 1, 1), 1);
        assertEq(_draw(id, 0, 1, 1), 0);
        skip(HOUR);
        assertEq(_draw(id, 1, 1, CALLS), 1);
    }

    function testFuzz_settle_AcceptsAWindowFromItsBeginUntilItsGraceIsOver(uint32 at, uint32 window) external {
        at = uint32(bound(at, 0, 12 * HOUR));
        window = uint32(bound(window, 0, 12));
        bytes32 id = _open(_mandate());
        skip(at);
        bool begun = window < 10 && at >= window * HOUR;
        bool over = at >= (window + 1) * HOUR + GRACE;
        assertEq(_draw(id, window, 5, 1), begun && !over ? 5 : 0);
    }

    function test_verifyCharge_OfAMandate() external {
        bytes32 id = _open(_mandate());
        SumTree.Charge memory charge = SumTree.Charge(keccak256("r"), 400, address(usd), agent.addr, keccak256("s"));
        IUsageEscrow.Item memory item = _use(id, 0, 400, 1);
        item.payerRoot = SumTree.leafHash(charge);
        _settle(_one(item));
        IUsageEscrow.Line memory line = batchRoots.lineOf(_groups(_one(item))[0], 0, 0);
        SumTree.Step[] memory steps = new SumTree.Step[](0);
        bytes32[] memory proof = new bytes32[](0);
        assertTrue(escrow.verifyCharge(operator, 1, charge, steps, line, proof));
        charge.payer = stranger;
        assertFalse(escrow.verifyCharge(operator, 1, charge, steps, line, proof));
    }
}
