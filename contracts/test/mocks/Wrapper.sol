// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @notice Takes shares while it is made, when it has no code yet, or later.
contract Wrapper {
    constructor(IERC20 shares, address from, uint256 amount) {
        if (amount != 0) shares.transferFrom(from, address(this), amount);
    }

    function wrap(IERC20 shares, uint256 amount) external {
        shares.transferFrom(msg.sender, address(this), amount);
    }
}
