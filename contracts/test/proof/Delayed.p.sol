// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Delayed} from "../../src/libraries/Delayed.sol";
import {Prover} from "./Prover.sol";

/// @notice A number that changes at a time: fee, exit delay and settler caps are such numbers.
contract DelayedProof is Prover {
    using Delayed for Delayed.Number;

    Delayed.Number private _number;

    function _arbitrary(Delayed.Number memory number, uint64 present) private {
        _number = number;
        vm.warp(present);
    }

    function check_delayed_holdsTheOldUntilItsTimeAndTheNewFromThen(
        Delayed.Number memory number,
        uint64 present,
        uint128 next,
        uint32 delay,
        uint64 later
    ) external {
        vm.assume(present < type(uint48).max && later >= present);
        _arbitrary(number, present);
        uint128 old = _number.value();
        uint64 at = _number.set(next, delay);
        assert(at == present + delay && _number.isSet() == (at != 0));
        vm.warp(later);
        assert(_number.value() == (later >= at ? next : old));
    }

    function check_delayed_aReplacedChangeNeverHolds(
        Delayed.Number memory number,
        uint64 present,
        uint128 first,
        uint128 second,
        uint32 delay,
        uint64 between,
        uint64 later
    ) external {
        vm.assume(present < type(uint48).max && between >= present && between < present + delay);
        vm.assume(later >= between);
        _arbitrary(number, present);
        uint128 old = _number.value();
        _number.set(first, delay);
        vm.warp(between);
        _number.set(second, delay);
        vm.warp(later);
        assert(_number.value() == (later >= between + delay ? second : old));
    }
}
