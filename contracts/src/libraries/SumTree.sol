// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Merkle sum tree of charges
/// @notice Every node commits to the sums of its children, so that a root commits to the sum of its leaves.
/// `proto/vectors/README.md` specifies the same tree for every language.
library SumTree {
    /// @notice One charge: what one receipt cost one payer.
    /// @param receiptHash EIP-712 digest of the receipt.
    /// @param salt Keeps a leaf from being guessed from the others' siblings.
    struct Charge {
        bytes32 receiptHash;
        uint128 amount;
        address currency;
        address payer;
        bytes32 salt;
    }

    /// @notice One step of a proof: the sibling's hash and sum, and whether it stands left of the path.
    struct Step {
        bytes32 hash;
        uint128 sum;
        bool left;
    }

    /// @dev A leaf and a node differ in the first byte and in length, so neither passes for the other.
    bytes1 private constant LEAF = 0x00;
    bytes1 private constant NODE = 0x01;

    /// @notice Hash of a leaf.
    function leafHash(Charge memory charge) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(LEAF, charge.receiptHash, charge.amount, charge.currency, charge.payer, charge.salt)
        );
    }

    /// @notice Hash of a node over its children in their order.
    function nodeHash(bytes32 left, uint128 leftSum, bytes32 right, uint128 rightSum) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(NODE, left, leftSum, right, rightSum));
    }

    /// @notice Root and sum that a charge and its proof lead to. Reverts when the sum exceeds 128 bits.
    function rootOf(Charge memory charge, Step[] memory steps) internal pure returns (bytes32 root, uint128 sum) {
        root = leafHash(charge);
        sum = charge.amount;
        for (uint256 i = 0; i < steps.length; ++i) {
            Step memory step = steps[i];
            root = step.left ? nodeHash(step.hash, step.sum, root, sum) : nodeHash(root, sum, step.hash, step.sum);
            sum += step.sum;
        }
    }

    /// @notice Whether the charge is a leaf of the tree with this root whose leaves sum up to `amount`.
    function verify(Charge memory charge, Step[] memory steps, bytes32 root, uint128 amount)
        internal
        pure
        returns (bool)
    {
        (bytes32 computed, uint128 sum) = rootOf(charge, steps);
        return computed == root && sum == amount;
    }

    /// @notice Whether the steps are those of the leaf at `position` of `count`: a level pairs its nodes from the left,
    /// and a last node without a partner moves up without a step.
    function isAt(Step[] memory steps, uint256 position, uint256 count) internal pure returns (bool) {
        uint256 used = 0;
        for (; count > 1; (position, count) = (position / 2, (count + 1) / 2)) {
            bool isAlone = position % 2 == 0 && position + 1 == count;
            if (isAlone) continue;
            if (used == steps.length || steps[used].left != (position % 2 == 1)) return false;
            ++used;
        }
        return used == steps.length;
    }

    /// @notice Whether two proofs under one root lead from the same place.
    function isSamePath(Step[] memory a, Step[] memory b) internal pure returns (bool) {
        if (a.length != b.length) return false;
        for (uint256 i = 0; i < a.length; ++i) {
            if (a[i].left != b[i].left) return false;
        }
        return true;
    }
}
