// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IUsageEscrow} from "../interfaces/IUsageEscrow.sol";

/// @title Arithmetic of deposits and their exits
/// @notice `held[token]` is always the sum of all spendable balances and all open exits in that token.
library DepositBook {
    /// @notice Exits of a deposit that are not withdrawn; bounds what one settlement item walks through.
    uint256 internal constant MAX_OPEN_EXITS = 4;

    struct Book {
        mapping(bytes32 depositId => IUsageEscrow.Deposit) deposits;
        mapping(bytes32 depositId => uint256[]) openExits;
        mapping(uint256 exitId => IUsageEscrow.Exit) exits;
        mapping(address token => uint256) held;
        uint256 lastExitId;
    }

    /// @notice Id of the deposit of a payer with an operator in a token.
    function idOf(address payer, address operator, address token) internal pure returns (bytes32) {
        return keccak256(abi.encode(payer, operator, token));
    }

    /// @notice Adds money that has arrived.
    function credit(Book storage self, bytes32 id, address payer, address operator, address token, uint128 amount)
        internal
    {
        IUsageEscrow.Deposit storage entry = self.deposits[id];
        if (entry.payer == address(0)) (entry.payer, entry.operator, entry.token) = (payer, operator, token);
        entry.spendable += amount;
        self.held[token] += amount;
        emit IUsageEscrow.Deposited(id, payer, operator, token, amount, entry.spendable, total(entry));
    }

    /// @notice Moves `amount` from the spendable balance into a new exit.
    function requestExit(Book storage self, bytes32 id, uint128 amount, uint64 unlockTime)
        internal
        returns (uint256 exitId)
    {
        IUsageEscrow.Deposit storage entry = self.deposits[id];
        if (amount > entry.spendable) {
            revert IUsageEscrow.UsageEscrow_InsufficientSpendable(id, amount, entry.spendable);
        }
        uint256 open = self.openExits[id].length;
        if (open == MAX_OPEN_EXITS) revert IUsageEscrow.UsageEscrow_TooManyExits(id, open);
        entry.spendable -= amount;
        exitId = ++self.lastExitId;
        self.exits[exitId] = IUsageEscrow.Exit({depositId: id, amount: amount, unlockTime: unlockTime});
        self.openExits[id].push(exitId);
        emit IUsageEscrow.ExitRequested(
            id, entry.payer, exitId, entry.operator, entry.token, amount, unlockTime, entry.spendable, total(entry)
        );
    }

    /// @notice Ends an unlocked exit; the caller then pays `amount` of `token` to `payer`.
    function close(Book storage self, uint256 exitId) internal returns (address payer, address token, uint128 amount) {
        IUsageEscrow.Exit memory exit = self.exits[exitId];
        if (exit.unlockTime == 0) revert IUsageEscrow.UsageEscrow_UnknownExit(exitId);
        if (block.timestamp < exit.unlockTime) revert IUsageEscrow.UsageEscrow_ExitLocked(exitId, exit.unlockTime);
        IUsageEscrow.Deposit storage entry = self.deposits[exit.depositId];
        (payer, token, amount) = (entry.payer, entry.token, exit.amount);
        delete self.exits[exitId];
        _remove(self.openExits[exit.depositId], exitId);
        self.held[token] -= amount;
        emit IUsageEscrow.Withdrawn(exit.depositId, payer, exitId, entry.operator, token, amount);
    }

    /// @notice What a settlement could draw now: the spendable balance and the exits that still wait.
    /// @dev Each fits in 128 bits, their sum need not; an item can name no more, so the sum is cut rather than refused.
    function drawable(Book storage self, bytes32 id) internal view returns (uint128) {
        uint256 sum = self.deposits[id].spendable;
        uint256[] storage open = self.openExits[id];
        for (uint256 i = 0; i < open.length; ++i) {
            IUsageEscrow.Exit storage exit = self.exits[open[i]];
            if (block.timestamp < exit.unlockTime) sum += exit.amount;
        }
        // casting to 'uint128' is safe because a larger sum is not cast
        // forge-lint: disable-next-line(unsafe-typecast)
        return sum < type(uint128).max ? uint128(sum) : type(uint128).max;
    }

    /// @notice Takes `amount`, which is drawable, out of the deposit: the spendable balance first, then the waiting
    /// exits, newest first.
    function draw(Book storage self, bytes32 id, uint128 amount) internal {
        IUsageEscrow.Deposit storage entry = self.deposits[id];
        uint128 fromSpendable = amount < entry.spendable ? amount : entry.spendable;
        entry.spendable -= fromSpendable;
        entry.drawn += fromSpendable;
        self.held[entry.token] -= amount;
        uint128 rest = amount - fromSpendable;
        uint256[] storage open = self.openExits[id];
        for (uint256 i = open.length; rest != 0; --i) {
            rest -= _drawExit(self, entry, open[i - 1], rest);
        }
    }

    /// @notice What the deposit has been able to pay in its life; see `IUsageEscrow`.
    function total(IUsageEscrow.Deposit storage entry) internal view returns (uint128) {
        return entry.spendable + entry.drawn;
    }

    function _drawExit(Book storage self, IUsageEscrow.Deposit storage entry, uint256 exitId, uint128 wanted)
        private
        returns (uint128 amount)
    {
        IUsageEscrow.Exit storage exit = self.exits[exitId];
        if (block.timestamp >= exit.unlockTime || exit.amount == 0) return 0;
        amount = wanted < exit.amount ? wanted : exit.amount;
        exit.amount -= amount;
        entry.drawn += amount;
        emit IUsageEscrow.ExitDrawn(
            exit.depositId, entry.payer, exitId, entry.operator, entry.token, amount, exit.amount, total(entry)
        );
    }

    /// @dev Keeps the order of the others.
    function _remove(uint256[] storage ids, uint256 id) private {
        uint256 last = ids.length - 1;
        bool found = false;
        for (uint256 i = 0; i < last; ++i) {
            found = found || ids[i] == id;
            if (found) ids[i] = ids[i + 1];
        }
        ids.pop();
    }
}
