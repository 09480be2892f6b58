// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {BatchTree} from "../src/libraries/BatchTree.sol";

/// @notice Makes the library callable with items from memory.
contract BatchRoots {
    function rootOf(IUsageEscrow.Item[] calldata items) external pure returns (bytes32) {
        return BatchTree.rootOf(items);
    }

    function leafOf(IUsageEscrow.Item calldata item) external pure returns (bytes32) {
        return BatchTree.leafOf(item);
    }
}
