// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IMandates} from "../../src/interfaces/IMandates.sol";
import {IUsageEscrow} from "../../src/interfaces/IUsageEscrow.sol";
import {MandateBook} from "../../src/libraries/MandateBook.sol";
import {Prover} from "./Prover.sol";

/// @notice A window of a mandate, for all its terms, all that it may have drawn, and every time. The window is the one
/// numbered 6 or 7, because a place in the storage cannot be unknown; every asset is covered.
contract MandatesProof is Prover {
    using MandateBook for MandateBook.Book;

    uint32 private constant EVEN = 6;
    uint32 private constant ODD = 7;

    MandateBook.Book private _book;

    struct Given {
        bytes32 id;
        IMandates.MandateState mandate;
        uint128 drawn;
        uint32 used;
        uint32 records;
        uint128 amount;
        uint64 present;
    }

    function remainder(IUsageEscrow.Item calldata item) external view returns (uint128) {
        return _book.remainder(item);
    }

    function count(IUsageEscrow.Item calldata item, uint128 amount) external {
        _book.count(item, address(0x0b), amount);
    }

    function check_mandate_evenWindowIsNeverAboveItsTerms(Given memory given) external {
        _drawn(given, EVEN);
    }

    function check_mandate_oddWindowIsNeverAboveItsTerms(Given memory given) external {
        _drawn(given, ODD);
    }

    function _drawn(Given memory given, uint32 window) private {
        given.mandate.anyAsset = true;
        vm.assume(given.drawn <= given.mandate.windowAmount && given.used <= given.mandate.windowRecords);
        _book.mandates[given.id] = given.mandate;
        _book.uses[given.id][window % 2] = IMandates.WindowUse(window, given.used, given.drawn);
        vm.warp(given.present);
        IUsageEscrow.Item memory item;
        (item.source, item.window, item.records) = (given.id, window, given.records);
        vm.assume(given.amount != 0 && given.amount <= this.remainder(item));
        this.count(item, given.amount);
        IMandates.WindowUse memory use = _book.uses[given.id][window % 2];
        assert(use.window == window && use.amount == given.drawn + given.amount);
        assert(use.amount <= given.mandate.windowAmount && use.records <= given.mandate.windowRecords);
    }
}
