// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Shares} from "../../src/Shares.sol";
import {ITransferGate} from "../../src/interfaces/ITransferGate.sol";

/// @notice Refuses whom it is told to refuse, and passes orders on to shares.
contract Gate is ITransferGate {
    mapping(address => bool) public barred;
    uint256 public most = type(uint256).max;

    function bar(address account, bool on) external {
        barred[account] = on;
    }

    function setMost(uint256 most_) external {
        most = most_;
    }

    function canSend(bytes32, address account) external view returns (bool) {
        return !barred[account];
    }

    function canReceive(bytes32, address account) external view returns (bool) {
        return !barred[account];
    }

    function canVote(bytes32, address account) external view returns (bool) {
        return !barred[account];
    }

    function canBePaid(bytes32, address, address to) external view returns (bool) {
        return !barred[to];
    }

    function canTransfer(bytes32, address, address, uint256 amount) external view returns (bool) {
        return amount <= most;
    }

    function freeze(Shares shares, address account, uint256 amount) external {
        shares.setFrozenTokens(account, amount);
    }

    function force(Shares shares, address from, address to, uint256 amount) external {
        shares.forcedTransfer(from, to, amount);
    }
}
