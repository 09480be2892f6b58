// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {SumTree} from "../../src/libraries/SumTree.sol";

/// @notice What a root of the sum tree commits to, for all charges and siblings.
contract SumTreeProof {
    using SumTree for SumTree.Charge;

    function check_sumTree_leafCommitsToItsCharge(SumTree.Charge memory a, SumTree.Charge memory b) external pure {
        if (a.leafHash() != b.leafHash()) return;
        assert(a.receiptHash == b.receiptHash && a.amount == b.amount && a.currency == b.currency);
        assert(a.payer == b.payer && a.salt == b.salt);
    }

    function check_sumTree_nodeCommitsToItsChildren(
        SumTree.Step memory a,
        SumTree.Step memory b,
        SumTree.Step memory c,
        SumTree.Step memory d
    ) external pure {
        if (SumTree.nodeHash(a.hash, a.sum, b.hash, b.sum) != SumTree.nodeHash(c.hash, c.sum, d.hash, d.sum)) return;
        assert(a.hash == c.hash && a.sum == c.sum && b.hash == d.hash && b.sum == d.sum);
    }

    function check_sumTree_leafIsNoNode(SumTree.Charge memory leaf, SumTree.Step memory a, SumTree.Step memory b)
        external
        pure
    {
        assert(leaf.leafHash() != SumTree.nodeHash(a.hash, a.sum, b.hash, b.sum));
    }

    /// @dev Two proofs of one root that take the same turns show the same charge and the same sum.
    function check_sumTree_rootHoldsOneChargeAPlace(
        SumTree.Charge memory a,
        SumTree.Charge memory b,
        SumTree.Step[2] memory toA,
        SumTree.Step[2] memory toB
    ) external pure {
        (SumTree.Step[] memory stepsA, SumTree.Step[] memory stepsB) = (new SumTree.Step[](2), new SumTree.Step[](2));
        for (uint256 i = 0; i < 2; ++i) {
            (stepsA[i], stepsB[i]) = (toA[i], toB[i]);
            if (toA[i].left != toB[i].left) return;
        }
        (bytes32 rootA, uint128 sumA) = SumTree.rootOf(a, stepsA);
        (bytes32 rootB, uint128 sumB) = SumTree.rootOf(b, stepsB);
        if (rootA != rootB) return;
        assert(a.receiptHash == b.receiptHash && a.amount == b.amount && a.payer == b.payer);
        assert(sumA == sumB);
    }

    /// @dev No charge of a proven root is above the sum, nor is its neighbours' sum negative.
    function check_sumTree_chargeIsWithinTheSum(SumTree.Charge memory a, SumTree.Step[2] memory path) external pure {
        SumTree.Step[] memory steps = new SumTree.Step[](2);
        (steps[0], steps[1]) = (path[0], path[1]);
        (, uint128 sum) = SumTree.rootOf(a, steps);
        assert(sum >= a.amount && sum - a.amount == steps[0].sum + steps[1].sum);
    }
}
