// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {PerShare} from "../../src/libraries/PerShare.sol";
import {Prover} from "./Prover.sol";

/// @notice The account of shares. A solver does not multiply or divide wide numbers in time, so that what came in per
/// share and shares have 8 bits where they are multiplied, and the earning supply is one of three powers of two; what
/// waits has 24 bits.
contract PerShareProof is Prover {
    using PerShare for PerShare.Holding;
    using PerShare for PerShare.Pool;

    uint128 private constant UNIT = 2 ** 96;

    PerShare.Holding private _holding;
    PerShare.Pool private _pool;
    PerShare.Supply private _supply;

    function check_shares_accruingNeverLowersWhatIsOwed(uint64 owed, uint8 from, uint8 grown, uint8 shares) external {
        uint128 start = 1 + (uint128(from) << 88);
        (_holding.perShare, _holding.owed) = (start, owed);
        _holding.accrue(start + (uint128(grown) << 88), shares);
        assert(_holding.owed >= owed);
    }

    function check_shares_accruingTwiceIsAccruingOnce(uint128 owed, uint8 from, uint8 grown, uint8 shares) external {
        uint128 start = 1 + (uint128(from) << 88);
        uint128 sum = start + (uint128(grown) << 88);
        (_holding.perShare, _holding.owed) = (start, owed);
        _holding.accrue(sum, shares);
        uint128 once = _holding.owed;
        _holding.accrue(sum, shares);
        assert(_holding.owed == once && _holding.perShare == sum);
    }

    function check_shares_splittingEarnsNoMore(uint8 grown, uint8 a, uint8 b) external pure {
        PerShare.Holding memory holding = PerShare.Holding(1, 0);
        uint128 sum = 1 + (uint128(grown) << 88);
        uint256 apart = uint256(PerShare.due(holding, sum, a)) + PerShare.due(holding, sum, b);
        assert(apart <= PerShare.due(holding, sum, uint256(a) + b));
    }

    function check_shares_foldingBooksExactlyWhatCameInOverOne(uint24 waiting, uint32 excess) external {
        _fold(waiting, excess, 1);
    }

    function check_shares_foldingBooksExactlyWhatCameInOverEight(uint24 waiting, uint32 excess) external {
        _fold(waiting, excess, 8);
    }

    function check_shares_foldingBooksExactlyWhatCameInOverAMillion(uint24 waiting, uint32 excess) external {
        _fold(waiting, excess, 2 ** 20);
    }

    /// @dev What all shares have earned together is what came in and the excess, which is below one unit of each share's
    /// 2^96 parts: nothing is lost, and nothing is owed twice.
    function _fold(uint24 waiting, uint32 excess, uint128 earning) private {
        vm.assume(excess < earning && waiting != 0);
        (_supply.earning, _supply.total) = (earning, earning);
        (_pool.perShare, _pool.waiting, _pool.excess, _pool.since) = (1, waiting, excess, 1);
        vm.warp(2);
        uint128 sum = _pool.fold(_supply);
        uint256 booked = uint256(sum - 1) * earning;
        assert(booked + excess == uint256(waiting) * UNIT + _pool.excess);
        assert(_pool.excess < earning && _pool.waiting == 0 && _pool.perShare == sum);
    }
}
