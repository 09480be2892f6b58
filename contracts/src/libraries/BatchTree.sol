// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {IUsageEscrow} from "../interfaces/IUsageEscrow.sol";

/// @title Merkle tree over the items of a batch
/// @notice OpenZeppelin's standard tree with the leaves in the order of the items; `proto/vectors/README.md`
/// specifies it.
library BatchTree {
    /// @notice Leaf of an item. Hashed twice, so that no inner node passes for a leaf.
    function leafOf(IUsageEscrow.Item calldata item) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(item))));
    }

    /// @notice Root over the items, of which there is at least one.
    function rootOf(IUsageEscrow.Item[] calldata items) internal pure returns (bytes32) {
        uint256 count = items.length;
        bytes32[] memory nodes = new bytes32[](2 * count - 1);
        for (uint256 i = 0; i < count; ++i) {
            nodes[2 * count - 2 - i] = leafOf(items[i]);
        }
        for (uint256 i = count - 1; i > 0; --i) {
            nodes[i - 1] = Hashes.commutativeKeccak256(nodes[2 * i - 1], nodes[2 * i]);
        }
        return nodes[0];
    }
}
