// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IUsageEscrow} from "../interfaces/IUsageEscrow.sol";

/// @title Arithmetic of deposits and their exits
/// @notice `held[token]` is always the sum of all spendable balances, all open exits and all that settlements hold for
/// assets in that token. A settlement moves money between them, so that it leaves the sum as it is.
library DepositBook {
    /// @notice Exits of a deposit that are not withdrawn; bounds what one settlement item walks through.
    uint256 internal constant MAX_OPEN_EXITS = 4;
    /// @notice A deposit holds less, what was drawn from it included. Its open exits can bring what was drawn to at most
    /// five times as much, which still fits into 112 bits.
    uint256 internal constant MAX_DEPOSIT = 2 ** 109;
    /// @notice Most that is held of a token: a group draws from many deposits, and a hold keeps it in 112 bits.
    uint256 internal constant MAX_HELD = type(uint112).max;

    struct Party {
        address payer;
        address operator;
        address token;
    }

    /// @dev One word, all that a settlement reads and writes of a deposit that it draws directly.
    /// @param directUntil Until when the operator draws without a mandate or a voucher; 0: without end.
    struct Balance {
        uint112 spendable;
        uint112 drawn;
        uint32 directUntil;
    }

    struct Book {
        mapping(bytes32 depositId => Party) parties;
        mapping(bytes32 depositId => Balance) balances;
        mapping(bytes32 depositId => uint256[]) openExits;
        mapping(uint256 exitId => IUsageEscrow.Exit) exits;
        mapping(address token => uint256) held;
        uint256 lastExitId;
    }

    /// @notice Id of the deposit of a payer with an operator in a token.
    function idOf(address payer, address operator, address token) internal pure returns (bytes32 id) {
        // As `keccak256(abi.encode(payer, operator, token))`, without keeping the memory: a batch does it hundreds of times.
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, payer)
            mstore(add(free, 0x20), operator)
            mstore(add(free, 0x40), token)
            id := keccak256(free, 0x60)
        }
    }

    /// @notice Adds money that has arrived.
    function credit(Book storage self, bytes32 id, Party memory party, uint128 amount) internal {
        if (self.parties[id].payer == address(0)) self.parties[id] = party;
        Balance memory balance = self.balances[id];
        uint256 newTotal = uint256(balance.spendable) + balance.drawn + amount;
        if (newTotal >= MAX_DEPOSIT) revert IUsageEscrow.UsageEscrow_DepositTooLarge(id, newTotal);
        uint256 newHeld = self.held[party.token] + amount;
        if (newHeld > MAX_HELD) revert IUsageEscrow.UsageEscrow_DepositTooLarge(id, newHeld);
        // casting to 'uint112' is safe because the total is below 2^109
        // forge-lint: disable-next-line(unsafe-typecast)
        balance.spendable += uint112(amount);
        self.balances[id] = balance;
        self.held[party.token] = newHeld;
        emit IUsageEscrow.Deposited(
            id, party.payer, party.operator, party.token, amount, balance.spendable, total(balance)
        );
    }

    /// @notice Allows or forbids direct draws from a deposit, which may be still to come.
    function setDirectDraws(Book storage self, bytes32 id, Party memory party, bool allowed, uint64 wait) internal {
        Balance storage balance = self.balances[id];
        bool isUnused = self.parties[id].payer == address(0);
        uint64 until = allowed ? 0 : uint64(block.timestamp) + (isUnused ? 0 : wait);
        // Forbidding again must not give the operator more time.
        if (!allowed && balance.directUntil != 0 && balance.directUntil < until) until = balance.directUntil;
        // casting to 'uint32' is safe until the year 2106
        // forge-lint: disable-next-line(unsafe-typecast)
        balance.directUntil = uint32(until);
        emit IUsageEscrow.DirectDrawsSet(id, party.payer, party.operator, party.token, until);
    }

    /// @notice Moves `amount` from the spendable balance into a new exit.
    function requestExit(Book storage self, bytes32 id, uint128 amount, uint64 unlockTime)
        internal
        returns (uint256 exitId)
    {
        Balance memory balance = self.balances[id];
        if (amount > balance.spendable) {
            revert IUsageEscrow.UsageEscrow_InsufficientSpendable(id, amount, balance.spendable);
        }
        uint256 open = self.openExits[id].length;
        if (open == MAX_OPEN_EXITS) revert IUsageEscrow.UsageEscrow_TooManyExits(id, open);
        // casting to 'uint112' is safe because the amount is spendable
        // forge-lint: disable-next-line(unsafe-typecast)
        balance.spendable -= uint112(amount);
        self.balances[id] = balance;
        exitId = ++self.lastExitId;
        self.exits[exitId] = IUsageEscrow.Exit({depositId: id, amount: amount, unlockTime: unlockTime});
        self.openExits[id].push(exitId);
        Party memory party = self.parties[id];
        emit IUsageEscrow.ExitRequested(
            id, party.payer, exitId, party.operator, party.token, amount, unlockTime, balance.spendable, total(balance)
        );
    }

    /// @notice Ends an unlocked exit; the caller then pays `amount` of `token` to `payer`.
    function close(Book storage self, uint256 exitId) internal returns (address payer, address token, uint128 amount) {
        IUsageEscrow.Exit memory exit = self.exits[exitId];
        if (exit.unlockTime == 0) revert IUsageEscrow.UsageEscrow_UnknownExit(exitId);
        if (block.timestamp < exit.unlockTime) revert IUsageEscrow.UsageEscrow_ExitLocked(exitId, exit.unlockTime);
        Party memory party = self.parties[exit.depositId];
        (payer, token, amount) = (party.payer, party.token, exit.amount);
        delete self.exits[exitId];
        _remove(self.openExits[exit.depositId], exitId);
        self.held[token] -= amount;
        emit IUsageEscrow.Withdrawn(exit.depositId, payer, exitId, party.operator, token, amount);
    }

    /// @notice What a settlement could draw now: the spendable balance and the exits that still wait.
    function drawable(Book storage self, bytes32 id) internal view returns (uint128 sum) {
        sum = self.balances[id].spendable;
        uint256[] storage open = self.openExits[id];
        for (uint256 i = 0; i < open.length; ++i) {
            IUsageEscrow.Exit storage exit = self.exits[open[i]];
            if (block.timestamp < exit.unlockTime) sum += exit.amount;
        }
    }

    /// @notice Takes what is drawable of `wanted` out of the deposit: the spendable balance first, then the waiting
    /// exits, newest first.
    /// @param direct Whether it is drawn without a mandate or a voucher.
    function draw(Book storage self, bytes32 id, uint128 wanted, bool direct) internal returns (uint128 paid) {
        mapping(bytes32 depositId => Balance) storage balances = self.balances;
        bool isWhole;
        // Without whatever stands above the 128 bits.
        uint256 amount = wanted;
        assembly ("memory-safe") {
            mstore(0x00, id)
            mstore(0x20, balances.slot)
            let slot := keccak256(0x00, 0x40)
            // The word of the balance, from its lowest bits on: 112 spendable, 112 drawn, 32 directUntil.
            let word := sload(slot)
            let until := shr(224, word)
            let isClosed := and(and(direct, gt(until, 0)), iszero(lt(timestamp(), until)))
            let fits := iszero(gt(amount, and(word, 0xffffffffffffffffffffffffffff)))
            isWhole := or(isClosed, fits)
            // What is drawn is below 2^112 together with what is spendable, so that no part runs over into the next.
            if and(fits, iszero(isClosed)) {
                paid := amount
                sstore(slot, add(sub(word, amount), shl(112, amount)))
            }
        }
        return isWhole ? paid : _drawAll(self, id, wanted);
    }

    /// @notice What the deposit has been able to pay in its life; see `IUsageEscrow`.
    function total(Balance memory balance) internal pure returns (uint128) {
        return uint128(balance.spendable) + balance.drawn;
    }

    /// @dev Draws all that is spendable, and the exits that still wait.
    function _drawAll(Book storage self, bytes32 id, uint128 wanted) private returns (uint128 paid) {
        Balance memory balance = self.balances[id];
        paid = balance.spendable;
        (balance.spendable, balance.drawn) = (0, balance.drawn + balance.spendable);
        uint256[] storage open = self.openExits[id];
        for (uint256 i = open.length; i != 0 && paid != wanted; --i) {
            paid += _drawExit(self, balance, open[i - 1], wanted - paid);
        }
        if (paid != 0) self.balances[id] = balance;
    }

    function _drawExit(Book storage self, Balance memory balance, uint256 exitId, uint128 wanted)
        private
        returns (uint128 amount)
    {
        IUsageEscrow.Exit storage exit = self.exits[exitId];
        if (block.timestamp >= exit.unlockTime || exit.amount == 0) return 0;
        amount = wanted < exit.amount ? wanted : exit.amount;
        exit.amount -= amount;
        // casting to 'uint112' is safe because exits were spendable
        // forge-lint: disable-next-line(unsafe-typecast)
        balance.drawn += uint112(amount);
        Party memory party = self.parties[exit.depositId];
        emit IUsageEscrow.ExitDrawn(
            exit.depositId, party.payer, exitId, party.operator, party.token, amount, exit.amount, total(balance)
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
