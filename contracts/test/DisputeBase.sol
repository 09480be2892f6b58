// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Vm} from "forge-std/Vm.sol";
import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {Receipts} from "../src/libraries/Receipts.sol";
import {SumTree} from "../src/libraries/SumTree.sol";
import {Base} from "./Base.sol";

/// @notice An operator with a receipt key and a replica, and a payer with three charges under one line.
abstract contract DisputeBase is Base {
    uint32 internal constant CALLS = 3;

    Vm.Wallet internal key = vm.createWallet("receipt key");
    Vm.Wallet internal replica = vm.createWallet("replica");
    bytes32 internal depositId;
    uint64 internal begin;

    function setUp() public virtual override {
        super.setUp();
        begin = uint64(block.timestamp);
        depositId = _deposit(payer, 1000);
        vm.prank(operator);
        escrow.setReceiptKey(key.addr, begin, begin + 30 days);
        skip(1 hours);
    }

    function _receipt(uint256 n) internal view returns (Receipts.Receipt memory r) {
        r.requestId = vm.toString(n);
        r.assetId = assetId;
        r.units = uint64(n);
        r.startedAtMs = (begin + 60) * 1000;
        r.endedAtMs = (begin + 61) * 1000;
    }

    function _digest(bytes32 structHash) internal view returns (bytes32) {
        return Receipts.digest(address(escrow), structHash);
    }

    function _charge(uint256 n, uint128 amount) internal view returns (SumTree.Charge memory) {
        return SumTree.Charge(_digest(Receipts.hash(_receipt(n))), amount, address(usd), payer, bytes32(n));
    }

    /// @dev Charges of 10, 20 and 30; the last one has no partner.
    function _charges(uint256 from) internal view returns (SumTree.Charge[CALLS] memory charges) {
        for (uint256 i = 0; i < CALLS; ++i) {
            charges[i] = _charge(from + i, uint128(10 * (i + 1)));
        }
    }

    function _proofs(SumTree.Charge[CALLS] memory c)
        internal
        pure
        returns (IDisputes.ChargeProof[CALLS] memory proofs, bytes32 root)
    {
        bytes32[3] memory leaves = [SumTree.leafHash(c[0]), SumTree.leafHash(c[1]), SumTree.leafHash(c[2])];
        uint128 pairSum = c[0].amount + c[1].amount;
        bytes32 pair = SumTree.nodeHash(leaves[0], c[0].amount, leaves[1], c[1].amount);
        root = SumTree.nodeHash(pair, pairSum, leaves[2], c[2].amount);
        for (uint256 i = 0; i < 2; ++i) {
            SumTree.Step[] memory steps = new SumTree.Step[](2);
            steps[0] = SumTree.Step(leaves[1 - i], c[1 - i].amount, i == 1);
            steps[1] = SumTree.Step(leaves[2], c[2].amount, false);
            proofs[i] = IDisputes.ChargeProof(c[i], steps);
        }
        SumTree.Step[] memory last = new SumTree.Step[](1);
        last[0] = SumTree.Step(pair, pairSum, true);
        proofs[2] = IDisputes.ChargeProof(c[2], last);
    }

    /// @dev Settles the charges beside a line of somebody else, and gives the line with its proof.
    function _settleCharges(SumTree.Charge[CALLS] memory c) internal returns (IDisputes.SettledLine memory settled) {
        (, bytes32 root) = _proofs(c);
        IUsageEscrow.Item[] memory items = new IUsageEscrow.Item[](2);
        items[0] = _item(_deposit(buyer, 5), 5);
        items[1] = _item(depositId, c[0].amount + c[1].amount + c[2].amount);
        (items[1].payerRoot, items[1].records) = (root, CALLS);
        _settle(items);
        settled.operator = operator;
        settled.batch = escrow.lastBatchOf(operator);
        settled.line = batchRoots.lineOf(_groups(items)[0], 1, 1);
        settled.proof = batchRoots.proofOf(_groups(items), 1);
    }

    function _sign(Vm.Wallet storage who, bytes32 structHash) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(who.privateKey, _digest(structHash));
        return abi.encodePacked(r, s, v);
    }

    /// @dev A segment of one receipt, signed as the operator's replicas sign.
    function _signed(uint256 n) internal view returns (IDisputes.SignedReceipt memory signed) {
        signed.receipt = _receipt(n);
        bytes32 receiptHash = _digest(Receipts.hash(signed.receipt));
        signed.segment = Receipts.Segment(keccak256(bytes.concat(keccak256(abi.encode(receiptHash)))), 1);
        signed.segmentSignature = _sign(replica, Receipts.hash(signed.segment));
        signed.certificate = Receipts.ReplicaCertificate(operator, replica.addr, begin, begin + 1 days);
        signed.certificateSignature = _sign(key, Receipts.hash(signed.certificate));
    }

    function _lineId(IDisputes.SettledLine memory settled) internal view returns (bytes32) {
        return escrow.lineIdOf(settled.operator, settled.batch, settled.line);
    }

    function _challenge(IDisputes.SettledLine memory settled, uint32 position) internal returns (bytes32) {
        vm.prank(payer);
        return escrow.challenge(settled, position);
    }
}
