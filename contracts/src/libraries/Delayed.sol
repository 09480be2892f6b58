// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title A number that changes at a time
/// @notice Whoever depends on the number sees the change coming.
library Delayed {
    /// @param at From when `next` holds; 0: the number was never set.
    struct Number {
        uint128 current;
        uint128 next;
        uint64 at;
    }

    /// @notice The number that holds now.
    function value(Number storage self) internal view returns (uint128) {
        return block.timestamp >= self.at ? self.next : self.current;
    }

    /// @notice Whether the number was ever set.
    function isSet(Number storage self) internal view returns (bool) {
        return self.at != 0;
    }

    /// @notice Lets `next` hold after `delay` seconds; 0: from now. A change that waits is dropped.
    /// @return at From when it holds.
    function set(Number storage self, uint128 next, uint64 delay) internal returns (uint64 at) {
        self.current = value(self);
        self.next = next;
        at = uint64(block.timestamp) + delay;
        self.at = at;
    }
}
