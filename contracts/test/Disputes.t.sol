// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {SumTree} from "../src/libraries/SumTree.sol";
import {DisputeBase} from "./DisputeBase.sol";

contract DisputesTest is DisputeBase {
    IDisputes.SettledLine private settled;
    SumTree.Charge[CALLS] private charges;
    bytes32 private lineId;

    function setUp() public override {
        super.setUp();
        SumTree.Charge[CALLS] memory c = _charges(1);
        IDisputes.SettledLine memory one = _settleCharges(c);
        for (uint256 i = 0; i < CALLS; ++i) {
            charges[i] = c[i];
        }
        settled = one;
        lineId = _lineId(one);
    }

    function _shown(uint256 position) private view returns (IDisputes.ChargeProof memory) {
        (IDisputes.ChargeProof[CALLS] memory proofs,) = _proofs(charges);
        return proofs[position];
    }

    function _status() private view returns (IDisputes.DisputeStatus) {
        return escrow.disputeOf(lineId).status;
    }

    // --- what draws ---

    /// @dev A line without charges could never be challenged, whatever it drew.
    function test_attack_ALineWithoutChargesDrawsNothing() external {
        uint128 before = escrow.drawableOf(depositId);
        IUsageEscrow.Item memory item = _item(depositId, 60);
        item.records = 0;
        _settle(_one(item));
        assertEq(escrow.holdOf(_held(2)).amount, 0);
        assertEq(escrow.drawableOf(depositId), before);
    }

    /// @dev What a refund took out of the hold is in no release, and what was refunded is not refunded again.
    function test_attack_cancelThenClaim() external {
        uint256 before = usd.balanceOf(payer);
        _challenge(settled, 2);
        skip(DISPUTE_TIME);
        assertEq(escrow.refund(settled), 60);
        assertEq(escrow.release(_held(1)), 5);
        vm.expectPartialRevert(IDisputes.UsageEscrow_NothingToRelease.selector);
        escrow.release(_held(1));
        vm.expectPartialRevert(IDisputes.UsageEscrow_WrongDisputeStatus.selector);
        escrow.refund(settled);
        assertEq(usd.balanceOf(payer) - before, 60);
        assertEq(router.pendingOf(assetId, address(usd)).amount, 5);
    }

    // --- release ---

    function test_release_WaitsForTheDisputeTime() external {
        skip(DISPUTE_TIME - 1);
        bytes32 holdId = keccak256(abi.encode(operator, uint64(1), assetId, address(usd)));
        vm.expectRevert(abi.encodeWithSelector(IDisputes.UsageEscrow_NothingToRelease.selector, holdId));
        escrow.release(_held(1));
        skip(1);
        vm.expectEmit(address(escrow));
        emit IDisputes.HoldReleased(operator, 1, assetId, address(usd), 65);
        vm.prank(stranger);
        assertEq(escrow.release(_held(1)), 65);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.UsageEscrow_NothingToRelease.selector, holdId));
        escrow.release(_held(1));
        assertEq(router.pendingOf(assetId, address(usd)).amount, 65);
    }

    function test_release_IsForTheOwnerOfTheSettlementsBlock() external {
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.prank(publisher);
        registry.transferFrom(publisher, stranger, tokenId);
        router.setFee(500);
        skip(14 days);
        assertEq(escrow.holdOf(_held(1)).terms.payee, publisher);
        escrow.release(_held(1));
        assertEq(router.pendingOf(assetId, address(usd)).payee, publisher);
        assertEq(router.pendingOf(assetId, address(usd)).feeBp, 100);
    }

    // --- challenge ---

    function test_challenge_KeepsTheDrawOfItsLine() external {
        uint64 deadline = uint64(block.timestamp) + DISPUTE_TIME;
        vm.expectEmit(address(escrow));
        emit IDisputes.ChargeChallenged(lineId, payer, operator, 1, 1, 2, 60, deadline);
        assertEq(_challenge(settled, 2), lineId);
        assertEq(escrow.holdOf(_held(1)).disputed, 60);
        skip(DISPUTE_TIME);
        // The other line's five are nobody's dispute.
        assertEq(escrow.release(_held(1)), 5);
    }

    function test_challenge_RevertWhen_ItIsNotTheLines() external {
        vm.expectRevert(abi.encodeWithSelector(IDisputes.UsageEscrow_NotLinePayer.selector, lineId, stranger));
        vm.prank(stranger);
        escrow.challenge(settled, 0);
        vm.startPrank(payer);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.UsageEscrow_InvalidPosition.selector, CALLS, CALLS));
        escrow.challenge(settled, CALLS);
        IDisputes.SettledLine memory other = settled;
        other.line.amount = 61;
        vm.expectRevert(abi.encodeWithSelector(IDisputes.UsageEscrow_LineNotSettled.selector, _lineId(other)));
        escrow.challenge(other, 0);
        other = settled;
        other.batch = 2;
        vm.expectRevert(abi.encodeWithSelector(IDisputes.UsageEscrow_LineNotSettled.selector, _lineId(other)));
        escrow.challenge(other, 0);
    }

    function test_challenge_RevertWhen_ItIsTheSecondOrTooLate() external {
        uint256 state = vm.snapshotState();
        skip(DISPUTE_TIME);
        uint64 releaseAt = escrow.holdOf(_held(1)).releaseAt;
        vm.expectRevert(abi.encodeWithSelector(IDisputes.UsageEscrow_WrongDisputeTime.selector, lineId, releaseAt));
        _challenge(settled, 0);
        vm.revertToState(state);
        _challenge(settled, 0);
        vm.expectRevert(
            abi.encodeWithSelector(
                IDisputes.UsageEscrow_WrongDisputeStatus.selector, lineId, IDisputes.DisputeStatus.Open
            )
        );
        _challenge(settled, 1);
    }

    function test_challenge_RevertWhen_NothingWasDrawn() external {
        vm.prank(payer);
        escrow.requestExit(depositId, 940);
        skip(EXIT_DELAY);
        IDisputes.SettledLine memory unpaid = _settleCharges(_charges(10));
        vm.expectRevert(abi.encodeWithSelector(IDisputes.UsageEscrow_NothingDrawn.selector, _lineId(unpaid)));
        _challenge(unpaid, 0);
    }

    // --- answer ---

    function testFuzz_answer_ShowsTheChargeAndItsReceipt(uint32 position) external {
        position = uint32(bound(position, 0, CALLS - 1));
        _challenge(settled, position);
        IDisputes.ChargeProof memory shown = _shown(position);
        vm.expectEmit(address(escrow));
        emit IDisputes.ChallengeAnswered(lineId, shown.charge.receiptHash);
        escrow.answer(settled, shown, _signed(position + 1));
        assertEq(uint8(_status()), uint8(IDisputes.DisputeStatus.Answered));
        skip(DISPUTE_TIME);
        assertEq(escrow.release(_held(1)), 65);
        vm.expectRevert();
        escrow.refund(settled);
    }

    function test_answer_RevertWhen_TheChargeIsNotThatOne() external {
        _challenge(settled, 1);
        bytes memory invalid = abi.encodeWithSelector(IDisputes.UsageEscrow_InvalidCharge.selector, lineId);
        vm.expectRevert(invalid);
        escrow.answer(settled, _shown(0), _signed(1));
        vm.expectRevert(invalid);
        escrow.answer(settled, _shown(2), _signed(3));
        IDisputes.ChargeProof memory shown = _shown(1);
        shown.charge.amount -= 1;
        vm.expectRevert(invalid);
        escrow.answer(settled, shown, _signed(2));
    }

    function test_answer_RevertWhen_TheReceiptIsNotTheOperators() external {
        _challenge(settled, 0);
        IDisputes.SignedReceipt[5] memory wrong;
        for (uint256 i = 0; i < 5; ++i) {
            wrong[i] = _signed(1);
        }
        wrong[0] = _signed(2);
        wrong[1].segmentSignature = wrong[1].certificateSignature;
        wrong[2].certificateSignature = wrong[2].segmentSignature;
        wrong[3].segment.receipts = 2;
        wrong[4].certificate.validUntil = wrong[4].certificate.validFrom + 1;
        for (uint256 i = 0; i < 5; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IDisputes.UsageEscrow_InvalidReceipt.selector, lineId));
            escrow.answer(settled, _shown(0), wrong[i]);
        }
        escrow.answer(settled, _shown(0), _signed(1));
    }

    function test_answer_RevertWhen_ItIsLate() external {
        _challenge(settled, 0);
        uint64 deadline = escrow.disputeOf(lineId).deadline;
        skip(DISPUTE_TIME);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.UsageEscrow_WrongDisputeTime.selector, lineId, deadline));
        escrow.answer(settled, _shown(0), _signed(1));
    }

    // --- refund ---

    function test_refund_PaysTheWalletWhenNobodyAnswers() external {
        _challenge(settled, 0);
        uint64 deadline = escrow.disputeOf(lineId).deadline;
        vm.expectRevert(abi.encodeWithSelector(IDisputes.UsageEscrow_WrongDisputeTime.selector, lineId, deadline));
        escrow.refund(settled);
        skip(DISPUTE_TIME);
        uint256 before = usd.balanceOf(payer);
        vm.expectEmit(address(escrow));
        emit IDisputes.DrawRefunded(lineId, payer, operator, 1, 1, assetId, address(usd), 60);
        assertEq(escrow.refund(settled), 60);
        assertEq(usd.balanceOf(payer) - before, 60);
        assertEq(escrow.release(_held(1)), 5);
        assertEq(escrow.heldOf(address(usd)), 940);
        vm.expectRevert();
        escrow.refund(settled);
    }

    function test_refund_OfAShortfallIsWhatWasDrawn() external {
        vm.prank(payer);
        escrow.requestExit(depositId, 900);
        skip(EXIT_DELAY);
        IDisputes.SettledLine memory cut = _settleCharges(_charges(10));
        _challenge(cut, 0);
        skip(DISPUTE_TIME);
        // Of the deposit's 1,000, the first line drew 60 and the exit took 900.
        assertEq(escrow.refund(cut), 40);
    }

    // --- contradict ---

    function test_contradict_AReceiptThatIsChargedInTwoBatches() external {
        SumTree.Charge[CALLS] memory again = _charges(10);
        again[2].receiptHash = charges[0].receiptHash;
        IDisputes.SettledLine memory other = _settleCharges(again);
        (IDisputes.ChargeProof[CALLS] memory proofs,) = _proofs(again);
        vm.prank(stranger);
        assertEq(escrow.contradict(other, proofs[2], settled, _shown(0)), 60);
        assertEq(usd.balanceOf(payer), 60);
        vm.expectRevert(
            abi.encodeWithSelector(
                IDisputes.UsageEscrow_WrongDisputeStatus.selector, _lineId(other), IDisputes.DisputeStatus.Refunded
            )
        );
        escrow.contradict(other, proofs[2], settled, _shown(0));
    }

    function test_contradict_AReceiptAtTwoPlacesOfOneLine() external {
        SumTree.Charge[CALLS] memory twice = _charges(10);
        twice[1] = twice[0];
        IDisputes.SettledLine memory line = _settleCharges(twice);
        (IDisputes.ChargeProof[CALLS] memory proofs,) = _proofs(twice);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.UsageEscrow_NoContradiction.selector, _lineId(line)));
        escrow.contradict(line, proofs[0], line, proofs[0]);
        assertEq(escrow.contradict(line, proofs[0], line, proofs[1]), line.line.amount);
    }

    function test_contradict_RevertWhen_TheLineIsNamedAfterAnotherOperator() external {
        IDisputes.SettledLine memory alias_ = settled;
        alias_.operator = stranger;
        vm.expectRevert(abi.encodeWithSelector(IDisputes.UsageEscrow_NoContradiction.selector, lineId));
        escrow.contradict(settled, _shown(0), alias_, _shown(0));
        bytes32 aliasId = _lineId(alias_);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.UsageEscrow_LineNotSettled.selector, aliasId));
        escrow.contradict(alias_, _shown(0), settled, _shown(0));
    }

    function test_contradict_EndsAnOpenChallenge() external {
        SumTree.Charge[CALLS] memory again = _charges(10);
        again[2].receiptHash = charges[0].receiptHash;
        IDisputes.SettledLine memory other = _settleCharges(again);
        (IDisputes.ChargeProof[CALLS] memory proofs,) = _proofs(again);
        _challenge(other, 0);
        escrow.contradict(other, proofs[2], settled, _shown(0));
        assertEq(escrow.holdOf(_held(2)).disputed, 0);
        assertEq(escrow.holdOf(_held(2)).amount, 5);
        skip(DISPUTE_TIME);
        vm.expectRevert();
        escrow.refund(other);
    }

    function test_contradict_RevertWhen_ReceiptsDifferOrNothingIsHeld() external {
        vm.expectRevert(abi.encodeWithSelector(IDisputes.UsageEscrow_NoContradiction.selector, lineId));
        escrow.contradict(settled, _shown(0), settled, _shown(1));
        SumTree.Charge[CALLS] memory again = _charges(10);
        again[2].receiptHash = charges[0].receiptHash;
        IDisputes.SettledLine memory other = _settleCharges(again);
        (IDisputes.ChargeProof[CALLS] memory proofs,) = _proofs(again);
        skip(DISPUTE_TIME);
        escrow.release(_held(2));
        vm.expectRevert(abi.encodeWithSelector(IDisputes.UsageEscrow_NotHeld.selector, _lineId(other)));
        escrow.contradict(other, proofs[2], settled, _shown(0));
    }

    // --- places in a sum tree ---

    function testFuzz_isAt_KnowsEachPlaceFromEveryOther(uint256 count, uint256 place, uint256 claimed) external pure {
        count = bound(count, 1, 600);
        place = bound(place, 0, count - 1);
        claimed = bound(claimed, 0, count - 1);
        SumTree.Step[] memory steps = new SumTree.Step[](16);
        uint256 used;
        (uint256 at, uint256 width) = (place, count);
        while (width > 1) {
            bool alone = at == width - 1 && width % 2 == 1;
            if (!alone) steps[used++].left = at % 2 == 1;
            at /= 2;
            width = width / 2 + width % 2;
        }
        assembly ("memory-safe") {
            mstore(steps, used)
        }
        assertEq(SumTree.isAt(steps, claimed, count), claimed == place);
    }
}
