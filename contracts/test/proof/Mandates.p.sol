// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IUsageEscrow} from "../../src/interfaces/IUsageEscrow.sol";
import {DepositBook} from "../../src/libraries/DepositBook.sol";
import {MandateBook} from "../../src/libraries/MandateBook.sol";
import {Prover} from "./Prover.sol";

/// @notice A draw through a mandate, for all terms that can be opened, all that it may have drawn, every time and every
/// item. Every asset is covered, and the deposit has as much as a deposit can have.
contract MandatesProof is Prover {
    using MandateBook for MandateBook.Book;
    using DepositBook for DepositBook.Book;

    address private constant PAYER = address(0xA11CE);
    address private constant OPERATOR = address(0x0b);

    MandateBook.Book private _mandates;
    DepositBook.Book private _book;

    struct Given {
        bytes32 id;
        bytes32 depositId;
        MandateBook.Terms terms;
        MandateBook.Use use;
        MandateBook.Rest rest;
        uint112 spendable;
        uint40 present;
    }

    /// @dev As `open`, draws and `revoke` leave it.
    function _arbitrary(Given memory given) private returns (bytes32 key) {
        vm.assume(given.terms.windowAmount != 0 && given.terms.windowLength >= MandateBook.MIN_WINDOW);
        vm.assume(given.terms.grace <= given.terms.windowLength);
        vm.assume(given.use.amount <= given.terms.windowAmount && given.use.records <= given.terms.windowRecords);
        vm.assume(given.rest.previousAmount <= given.terms.windowAmount);
        vm.assume(given.use.previousRecords <= given.terms.windowRecords);
        vm.assume(given.spendable < DepositBook.MAX_DEPOSIT);
        given.terms.anyAsset = true;
        key = keccak256(abi.encode(given.id, given.depositId));
        (_mandates.terms[key], _mandates.uses[key], _mandates.rests[key]) = (given.terms, given.use, given.rest);
        _book.parties[given.depositId] = DepositBook.Party(PAYER, OPERATOR, address(0));
        _book.balances[given.depositId] = DepositBook.Balance(given.spendable, 0, 0);
        vm.warp(given.present);
    }

    function _line(Given memory given, uint32 window, uint32 records, uint128 amount)
        private
        pure
        returns (IUsageEscrow.Line memory line)
    {
        (line.authority, line.window, line.records, line.amount) = (given.id, window, records, amount);
    }

    function check_mandate_drawsNothingBeyondItsTerms(Given memory given, uint32 window, uint32 records, uint128 amount)
        external
    {
        bytes32 key = _arbitrary(given);
        (, uint128 paid) = _mandates.draw(_book, given.depositId, _line(given, window, records, amount));
        MandateBook.Use memory use = _mandates.uses[key];
        assert(paid <= amount && paid <= given.use.remaining && paid <= given.spendable);
        assert(use.remaining == given.use.remaining - paid);
        assert(use.amount <= given.terms.windowAmount && use.records <= given.terms.windowRecords);
        assert(_mandates.rests[key].previousAmount <= given.terms.windowAmount);
        assert(use.previousRecords <= given.terms.windowRecords);
    }

    /// @dev What was drawn for the window before stays counted when a newer one begins.
    function check_mandate_countsTheDrawInItsOwnWindow(
        Given memory given,
        uint32 window,
        uint32 records,
        uint128 amount
    ) external {
        bytes32 key = _arbitrary(given);
        (, uint128 paid) = _mandates.draw(_book, given.depositId, _line(given, window, records, amount));
        vm.assume(paid != 0);
        MandateBook.Use memory use = _mandates.uses[key];
        uint32 newest = given.use.window;
        if (window == newest) {
            assert(use.amount == given.use.amount + paid && use.records == given.use.records + records);
        } else if (window > newest) {
            assert(use.window == window && use.amount == paid && use.records == records);
            bool follows = window == newest + 1;
            assert(_mandates.rests[key].previousAmount == (follows ? given.use.amount : 0));
        } else {
            assert(use.window == newest && use.amount == given.use.amount);
            assert(_mandates.rests[key].previousAmount == given.rest.previousAmount + paid);
        }
    }
}
