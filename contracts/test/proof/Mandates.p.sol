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

    /// @dev As `open`, draws and `revoke` leave it. The newest window that was drawn for is number 7, which has begun: a
    /// product of two unknowns is beyond the prover.
    function _arbitrary(Given memory given) private returns (MandateBook.Entry storage entry) {
        vm.assume(given.terms.windowAmount != 0 && given.terms.windowLength >= MandateBook.MIN_WINDOW);
        vm.assume(given.terms.windowAmount <= MandateBook.WINDOW_MOST && given.terms.validUntil <= MandateBook.MAX_END);
        vm.assume(given.use.totalLeft <= type(uint88).max && given.use.windowLeft <= given.terms.windowAmount);
        vm.assume(given.use.recordsLeft <= given.terms.windowRecords);
        vm.assume(given.rest.previousAmount <= given.terms.windowAmount);
        vm.assume(given.rest.previousRecords <= given.terms.windowRecords);
        vm.assume(given.spendable < DepositBook.MAX_DEPOSIT);
        vm.assume(given.present >= uint256(given.terms.validFrom) + NEWEST * uint256(given.terms.windowLength));
        (given.use.anyAsset, given.use.window) = (true, NEWEST);
        given.use.settleUntil = MandateBook.settleUntil(given.terms, NEWEST);
        entry = _entry(given);
        (entry.use, entry.terms, entry.rest) = (MandateBook.pack(given.use), given.terms, given.rest);
        _book.parties[given.depositId] = DepositBook.Party(PAYER, OPERATOR, address(0));
        _book.balances[given.depositId] = DepositBook.Balance(given.spendable, 0, 0);
        vm.warp(given.present);
    }

    function _entry(Given memory given) private view returns (MandateBook.Entry storage) {
        return _mandates.entries[keccak256(abi.encode(given.id, given.depositId))];
    }

    /// @dev Draws, and shows that nothing is drawn beyond the terms.
    function _draw(Given memory given, uint32 window) private returns (uint128 paid, MandateBook.Use memory use) {
        MandateBook.Entry storage entry = _arbitrary(given);
        IUsageEscrow.Line memory line;
        (line.authority, line.window, line.records, line.amount) = (given.id, window, given.records, given.amount);
        (, paid) = _mandates.draw(_book, given.depositId, line);
        use = MandateBook.unpack(entry.use);
        assert(paid <= given.amount && paid <= given.use.totalLeft && paid <= given.spendable);
        assert(use.totalLeft == given.use.totalLeft - paid && use.anyAsset);
        assert(use.windowLeft <= given.terms.windowAmount && use.recordsLeft <= given.terms.windowRecords);
        assert(entry.rest.previousRecords <= given.terms.windowRecords);
    }

    function check_mandate_newestWindowIsNeverAboveItsTerms(Given memory given) external {
        (uint128 paid, MandateBook.Use memory use) = _draw(given, NEWEST);
        assert(use.window == NEWEST && use.windowLeft == given.use.windowLeft - paid);
        assert(use.recordsLeft == given.use.recordsLeft - (paid == 0 ? 0 : given.records));
        assert(_entry(given).rest.previousAmount == given.rest.previousAmount);
        assert(_entry(given).rest.previousRecords == given.rest.previousRecords);
    }

    /// @dev The end that is kept with the newest window is the one that its terms say.
    function check_mandate_nothingIsDrawnAfterTheGrace(Given memory given) external {
        (uint128 paid,) = _draw(given, NEWEST);
        uint256 start = uint256(given.terms.validFrom) + NEWEST * uint256(given.terms.windowLength);
        uint256 end = start + given.terms.windowLength;
        if (end > given.terms.validUntil) end = given.terms.validUntil;
        assert(paid == 0 || (start < end && given.present < end + given.terms.grace));
    }

    /// @dev What was drawn for the window before stays counted when a newer one begins.
    function check_mandate_nextWindowBeginsAtNothing(Given memory given) external {
        (uint128 paid, MandateBook.Use memory use) = _draw(given, NEWEST + 1);
        if (paid == 0) return;
        MandateBook.Rest memory rest = _entry(given).rest;
        assert(use.window == NEWEST + 1 && use.windowLeft == given.terms.windowAmount - paid);
        assert(use.recordsLeft == given.terms.windowRecords - given.records);
        assert(rest.previousAmount == given.terms.windowAmount - given.use.windowLeft);
        assert(rest.previousRecords == given.terms.windowRecords - given.use.recordsLeft);
    }

    /// @dev With a deposit that has enough.
    function check_mandate_previousWindowIsNeverAboveItsTerms(Given memory given) external {
        given.spendable = uint112(DepositBook.MAX_DEPOSIT - 1);
        MandateBook.Entry storage entry = _arbitrary(given);
        IUsageEscrow.Line memory line;
        (line.authority, line.window, line.records) = (given.id, NEWEST - 1, given.records);
        line.amount = given.amount;
        (, uint128 paid) = _mandates.draw(_book, given.depositId, line);
        assert(entry.rest.previousAmount == given.rest.previousAmount + paid);
        assert(entry.rest.previousAmount <= given.terms.windowAmount);
        assert(entry.rest.previousRecords <= given.terms.windowRecords);
    }
}
