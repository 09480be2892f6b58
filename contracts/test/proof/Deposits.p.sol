// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IUsageEscrow} from "../../src/interfaces/IUsageEscrow.sol";
import {DepositBook} from "../../src/libraries/DepositBook.sol";
import {Prover} from "./Prover.sol";

/// @notice Conservation of deposits, for every balance, every set of exits that can be open, and every time.
contract DepositsProof is Prover {
    using DepositBook for DepositBook.Book;

    uint256 private constant MAX = DepositBook.MAX_OPEN_EXITS;
    /// @dev A draw takes one of three turns at each exit, and `drawable` one of two: more exits make too many paths.
    uint256 private constant DRAWN_FROM = 1;
    address private constant PAYER = address(0xA11CE);
    address private constant OPERATOR = address(0x0b);

    DepositBook.Book private _book;

    /// @dev The id and the token are given too, because the prover does not know the hash of a constant.
    struct Given {
        bytes32 id;
        address token;
        uint112 spendable;
        uint112 drawn;
        uint112[4] exits;
        uint64[4] unlocks;
        uint128 others;
        uint64 present;
        uint32 until;
    }

    /// @dev A deposit as `credit` and `requestExit` leave it: what came in is below five times the greatest deposit.
    function _arbitrary(Given memory given, uint256 open) private {
        uint256 all = uint256(given.spendable) + given.drawn;
        _book.parties[given.id] = DepositBook.Party(PAYER, OPERATOR, given.token);
        _book.balances[given.id] = DepositBook.Balance(given.spendable, given.drawn, given.until);
        for (uint256 i = 0; i < open; ++i) {
            vm.assume(given.unlocks[i] != 0);
            _book.exits[i + 1] =
                IUsageEscrow.Exit({depositId: given.id, amount: given.exits[i], unlockTime: given.unlocks[i]});
            _book.openExits[given.id].push(i + 1);
            all += given.exits[i];
        }
        vm.assume(all < 5 * DepositBook.MAX_DEPOSIT);
        _book.lastExitId = 4;
        _book.held[given.token] = all + given.others;
        vm.warp(given.present);
    }

    function _inExits(Given memory given) private view returns (uint256 sum) {
        for (uint256 i = 0; i < _book.openExits[given.id].length; ++i) {
            sum += _book.exits[_book.openExits[given.id][i]].amount;
        }
    }

    function _conserved(Given memory given) private view {
        DepositBook.Balance memory balance = _book.balances[given.id];
        // What was drawn is held for assets.
        assert(_book.held[given.token] == uint256(balance.spendable) + balance.drawn + _inExits(given) + given.others);
    }

    function check_deposit_creditConserves(Given memory given, uint128 amount) external {
        _arbitrary(given, MAX);
        _book.credit(given.id, DepositBook.Party(PAYER, OPERATOR, given.token), amount);
        assert(_book.balances[given.id].spendable == given.spendable + amount);
        assert(_book.balances[given.id].drawn == given.drawn && _book.balances[given.id].directUntil == given.until);
        _conserved(given);
    }

    function check_deposit_drawConservesAndTakesExactly(Given memory given, uint128 amount) external {
        _arbitrary(given, DRAWN_FROM);
        uint256 before = _book.held[given.token];
        vm.assume(amount <= _book.drawable(given.id));
        assert(_book.draw(given.id, amount, false) == amount);
        assert(_book.balances[given.id].drawn == given.drawn + amount);
        assert(_book.balances[given.id].directUntil == given.until);
        assert(_book.held[given.token] == before);
        _conserved(given);
    }

    /// @dev With two, of which a draw could take the wrong one.
    function check_deposit_drawLeavesUnlockedExits(Given memory given, uint128 amount) external {
        _arbitrary(given, 2);
        vm.assume(amount <= _book.drawable(given.id));
        _book.draw(given.id, amount, false);
        for (uint256 i = 0; i < 2; ++i) {
            assert(_book.exits[i + 1].amount <= given.exits[i]);
            assert(given.present < given.unlocks[i] || _book.exits[i + 1].amount == given.exits[i]);
        }
    }

    function check_deposit_withdrawalPaysWhatIsLeftAndConserves(Given memory given, uint8 which) external {
        vm.assume(which < MAX);
        _arbitrary(given, MAX);
        // One path for each place, since a place in the storage cannot be unknown.
        for (uint256 i = 0; i < MAX; ++i) {
            if (which == i) _withdraw(given, i);
        }
        _conserved(given);
    }

    function _withdraw(Given memory given, uint256 which) private {
        (address payer, address token, uint128 amount) = _book.close(which + 1);
        assert(payer == PAYER && token == given.token && amount == given.exits[which]);
        assert(given.present >= given.unlocks[which]);
        assert(_book.openExits[given.id].length == MAX - 1 && _book.exits[which + 1].unlockTime == 0);
    }

    function check_deposit_exitLeavesTheSpendableAtOnce(Given memory given, uint128 amount, uint64 unlock) external {
        _arbitrary(given, MAX);
        // The newest exit makes room for another one.
        vm.assume(given.exits[3] == 0 && given.unlocks[3] <= given.present);
        _book.close(_book.openExits[given.id][3]);
        uint256 exitId = _book.requestExit(given.id, amount, unlock);
        assert(exitId == 5 && _book.exits[exitId].amount == amount && _book.exits[exitId].unlockTime == unlock);
        assert(_book.balances[given.id].spendable == given.spendable - amount);
        _conserved(given);
    }

    /// @dev Neither more than is there, nor anything directly once that is forbidden.
    function check_deposit_drawTakesTheLesserAndHeedsTheBan(Given memory given, uint128 wanted, bool direct) external {
        _arbitrary(given, DRAWN_FROM);
        uint128 there = _book.drawable(given.id);
        uint128 paid = _book.draw(given.id, wanted, direct);
        bool isForbidden = direct && given.until != 0 && given.present >= given.until;
        assert(paid == (isForbidden ? 0 : wanted < there ? wanted : there));
        _conserved(given);
    }

    /// @dev `total` is what grants stand on: it falls by an exit alone.
    function check_deposit_drawKeepsOrRaisesTheTotal(Given memory given, uint128 amount) external {
        _arbitrary(given, DRAWN_FROM);
        uint128 before = DepositBook.total(_book.balances[given.id]);
        vm.assume(amount <= _book.drawable(given.id));
        _book.draw(given.id, amount, false);
        assert(DepositBook.total(_book.balances[given.id]) >= before);
    }
}
