// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {BatchTree} from "../src/libraries/BatchTree.sol";

/// @notice Makes the library callable with groups from memory.
contract BatchRoots {
    function rootOf(IUsageEscrow.Group[] calldata groups) external pure returns (bytes32) {
        return BatchTree.rootOf(_nodesOf(groups));
    }

    function leafOf(IUsageEscrow.Line calldata line) external pure returns (bytes32) {
        return BatchTree.leafOf(line);
    }

    function lineOf(IUsageEscrow.Group calldata group, uint256 item, uint32 index)
        external
        pure
        returns (IUsageEscrow.Line memory)
    {
        return _lineOf(group, item, index);
    }

    /// @notice Siblings of a leaf on its way to the root.
    function proofOf(IUsageEscrow.Group[] calldata groups, uint256 index)
        external
        pure
        returns (bytes32[] memory proof)
    {
        bytes32[] memory nodes = _nodesOf(groups);
        // Fills the inner nodes.
        BatchTree.rootOf(nodes);
        uint256 at = nodes.length - 1 - index;
        uint256 steps = 0;
        for (uint256 i = at; i != 0; i = (i - 1) / 2) {
            ++steps;
        }
        proof = new bytes32[](steps);
        for (uint256 i = 0; i < steps; ++i) {
            proof[i] = nodes[at % 2 == 0 ? at - 1 : at + 1];
            at = (at - 1) / 2;
        }
    }

    function _lineOf(IUsageEscrow.Group calldata group, uint256 item, uint32 index)
        private
        pure
        returns (IUsageEscrow.Line memory)
    {
        IUsageEscrow.Item calldata i = group.items[item];
        return IUsageEscrow.Line(
            index, group.assetId, group.token, i.payer, i.authority, i.window, i.amount, i.payerRoot, i.records
        );
    }

    function _nodesOf(IUsageEscrow.Group[] calldata groups) private pure returns (bytes32[] memory nodes) {
        uint256 count = 0;
        for (uint256 i = 0; i < groups.length; ++i) {
            count += groups[i].items.length;
        }
        nodes = BatchTree.nodesFor(count);
        uint32 index = 0;
        for (uint256 i = 0; i < groups.length; ++i) {
            for (uint256 j = 0; j < groups[i].items.length; ++j) {
                BatchTree.set(nodes, index, BatchTree.leafOf(_lineOf(groups[i], j, index)));
                ++index;
            }
        }
    }
}
