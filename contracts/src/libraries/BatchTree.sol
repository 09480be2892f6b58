// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IUsageEscrow} from "../interfaces/IUsageEscrow.sol";

/// @title Merkle tree over the items of a batch
/// @notice OpenZeppelin's standard tree with the leaves in the order of the items; `proto/vectors/README.md`
/// specifies it.
library BatchTree {
    /// @notice Leaf of a line. Hashed twice, so that no inner node passes for a leaf.
    function leafOf(IUsageEscrow.Line memory line) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(line))));
    }

    /// @notice Leaf of a line that is in memory as it is encoded.
    function leafOfPlain(IUsageEscrow.Line memory line) internal pure returns (bytes32 leaf) {
        // As `leafOf`: a struct without dynamic members lies in memory as the encoding has it.
        assembly ("memory-safe") {
            mstore(0x00, keccak256(line, 0x120))
            leaf := keccak256(0x00, 0x20)
        }
    }

    /// @notice Begins the lines of a group.
    function begin(IUsageEscrow.Line memory line, IUsageEscrow.Group calldata group) internal pure {
        (line.assetId, line.token) = (group.assetId, group.token);
    }

    /// @notice Takes an item into the line; `index` is below their number. What the line has beyond its group is an item, in its order. Reverts as the
    /// compiler's decoder does, without data, where a field has more bits than its type.
    function take(IUsageEscrow.Line memory line, IUsageEscrow.Item[] calldata items, uint256 index) internal pure {
        assembly ("memory-safe") {
            let at := add(line, 0x60)
            calldatacopy(at, add(items.offset, mul(index, 0xc0)), 0xc0)
            let excess := or(shr(160, mload(at)), shr(32, mload(add(at, 0x40))))
            excess := or(excess, or(shr(128, mload(add(at, 0x60))), shr(32, mload(add(at, 0xa0)))))
            if excess { revert(0, 0) }
        }
    }

    /// @notice Nodes of a tree of `count` leaves, at least one, which are still to be set.
    function nodesFor(uint256 count) internal pure returns (bytes32[] memory) {
        return new bytes32[](2 * count - 1);
    }

    /// @notice Sets a leaf.
    function set(bytes32[] memory nodes, uint256 index, bytes32 leaf) internal pure {
        // As `nodes[nodes.length - 1 - index] = leaf`, without the check of an index that is below the length.
        assembly ("memory-safe") {
            mstore(add(nodes, shl(5, sub(mload(nodes), index))), leaf)
        }
    }

    /// @notice Root over the leaves, all of which are set.
    /// @dev As a loop of `nodes[i - 1] = Hashes.commutativeKeccak256(nodes[2 * i - 1], nodes[2 * i])`, without the checks
    /// of an index that is below the length.
    function rootOf(bytes32[] memory nodes) internal pure returns (bytes32) {
        assembly ("memory-safe") {
            let first := add(nodes, 0x20)
            for { let i := shr(1, mload(nodes)) } i { i := sub(i, 1) } {
                let left := mload(add(first, mul(0x20, sub(mul(2, i), 1))))
                let right := mload(add(first, mul(0x40, i)))
                let swap := mul(lt(right, left), xor(left, right))
                mstore(0x00, xor(left, swap))
                mstore(0x20, xor(right, swap))
                mstore(add(first, mul(0x20, sub(i, 1))), keccak256(0x00, 0x40))
            }
        }
        return nodes[0];
    }
}
