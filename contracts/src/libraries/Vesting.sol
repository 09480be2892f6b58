// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Vesting in a line
library Vesting {
    /// @notice What of `amount` has not vested now, rounded up.
    function unvested(uint256 amount, uint256 start, uint256 cliff, uint256 end) internal view returns (uint256) {
        if (block.timestamp >= end) return 0;
        if (block.timestamp < cliff) return amount;
        return amount - amount * (block.timestamp - start) / (end - start);
    }
}
