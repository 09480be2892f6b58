// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IUsageEscrow} from "../../src/interfaces/IUsageEscrow.sol";
import {DepositBook} from "../../src/libraries/DepositBook.sol";
import {MandateBook} from "../../src/libraries/MandateBook.sol";
import {Prover} from "./Prover.sol";

/// @notice A draw through a mandate, for all terms that can be opened, all that it may have drawn, every time, amount and
/// number of records. Every asset is covered, and the deposit has as much as a deposit can have.
contract MandatesProof is Prover {
    using MandateBook for MandateBook.Book;
    using DepositBook for DepositBook.Book;

    uint32 private constant NEWEST = 7;
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
        uint32 records;
        uint128 amount;
    }

    /// @dev As `open`, draws and `revoke` leave it. The newest window that was drawn for is number 7: a product of two
    /// unknowns is beyond the prover.
    function _arbitrary(Given memory given) private returns (bytes32 key) {
        vm.assume(given.terms.windowAmount != 0 && given.terms.windowLength >= MandateBook.MIN_WINDOW);
        vm.assume(given.use.amount <= given.terms.windowAmount && given.use.records <= given.terms.windowRecords);
        vm.assume(given.rest.previousAmount <= given.terms.windowAmount);
        vm.assume(given.use.previousRecords <= given.terms.windowRecords);
        vm.assume(given.spendable < DepositBook.MAX_DEPOSIT);
        (given.terms.anyAsset, given.use.window) = (true, NEWEST);
        key = keccak256(abi.encode(given.id, given.depositId));
        (_mandates.terms[key], _mandates.uses[key], _mandates.rests[key]) = (given.terms, given.use, given.rest);
        _book.parties[given.depositId] = DepositBook.Party(PAYER, OPERATOR, address(0));
        _book.balances[given.depositId] = DepositBook.Balance(given.spendable, 0, 0);
        vm.warp(given.present);
    }

    /// @dev Draws, and shows that nothing is drawn beyond the terms.
    function _draw(Given memory given, uint32 window) private returns (uint128 paid, MandateBook.Use memory use) {
        bytes32 key = _arbitrary(given);
        IUsageEscrow.Line memory line;
        (line.authority, line.window, line.records, line.amount) = (given.id, window, given.records, given.amount);
        (, paid) = _mandates.draw(_book, given.depositId, line);
        use = _mandates.uses[key];
        assert(paid <= given.amount && paid <= given.use.remaining && paid <= given.spendable);
        assert(use.remaining == given.use.remaining - paid);
        assert(use.amount <= given.terms.windowAmount && use.records <= given.terms.windowRecords);
        assert(use.previousRecords <= given.terms.windowRecords);
    }

    function _previous(Given memory given) private view returns (uint88) {
        return _mandates.rests[keccak256(abi.encode(given.id, given.depositId))].previousAmount;
    }

    function check_mandate_newestWindowIsNeverAboveItsTerms(Given memory given) external {
        (uint128 paid, MandateBook.Use memory use) = _draw(given, NEWEST);
        assert(use.window == NEWEST && use.amount == given.use.amount + paid);
        assert(use.records == given.use.records + (paid == 0 ? 0 : given.records));
        assert(_previous(given) == given.rest.previousAmount);
    }

    /// @dev What was drawn for the window before stays counted when a newer one begins.
    function check_mandate_nextWindowBeginsAtNothing(Given memory given) external {
        (uint128 paid, MandateBook.Use memory use) = _draw(given, NEWEST + 1);
        if (paid == 0) return;
        assert(use.window == NEWEST + 1 && use.amount == paid && use.records == given.records);
        assert(_previous(given) == given.use.amount && use.previousRecords == given.use.records);
    }

    /// @dev With a deposit that has enough.
    function check_mandate_previousWindowIsNeverAboveItsTerms(Given memory given) external {
        given.spendable = uint112(DepositBook.MAX_DEPOSIT - 1);
        bytes32 key = _arbitrary(given);
        IUsageEscrow.Line memory line;
        (line.authority, line.window, line.records) = (given.id, NEWEST - 1, given.records);
        line.amount = given.amount;
        (, uint128 paid) = _mandates.draw(_book, given.depositId, line);
        assert(_mandates.rests[key].previousAmount == given.rest.previousAmount + paid);
        assert(_mandates.rests[key].previousAmount <= given.terms.windowAmount);
    }
}
