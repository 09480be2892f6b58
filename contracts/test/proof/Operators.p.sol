// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IUsageEscrow} from "../../src/interfaces/IUsageEscrow.sol";
import {OperatorBook} from "../../src/libraries/OperatorBook.sol";
import {Prover} from "./Prover.sol";

/// @notice What an operator may draw, and what a thief of its keys cannot change.
contract OperatorsProof is Prover {
    using OperatorBook for OperatorBook.Operator;
    using OperatorBook for OperatorBook.Cap;

    OperatorBook.Operator private _operator;

    function _cap(address token, OperatorBook.Cap memory cap, uint64 present) private {
        vm.assume(present < type(uint48).max);
        _operator.caps[token] = cap;
        vm.warp(present);
    }

    function check_operator_neverDrawsMoreThanItsCapInAWindow(
        address token,
        OperatorBook.Cap memory cap,
        uint64 present,
        uint128 first,
        uint32 passed,
        uint128 second
    ) external {
        _cap(token, cap, present);
        _operator.countDraw(token, first);
        uint64 window = _operator.caps[token].window;
        vm.warp(uint256(present) + passed);
        uint128 before = _operator.caps[token].drawnInWindow();
        _operator.countDraw(token, second);
        uint128 limit = cap.limit.at <= present + passed ? cap.limit.next : cap.limit.current;
        assert(_operator.caps[token].drawn <= limit);
        bool same = _operator.caps[token].window == window;
        assert(before == (same ? _drawnBefore(cap, window) + first : 0));
        assert(_operator.caps[token].drawn == before + second);
    }

    function _drawnBefore(OperatorBook.Cap memory cap, uint64 window) private pure returns (uint128) {
        return cap.window == window ? cap.drawn : 0;
    }

    function check_operator_raisedCapWaits(
        address token,
        OperatorBook.Cap memory cap,
        uint64 present,
        uint128 raised,
        uint32 delay,
        uint32 passed
    ) external {
        _cap(token, cap, present);
        uint128 old = cap.limit.at <= present ? cap.limit.next : cap.limit.current;
        vm.assume(cap.limit.at != 0 && raised > old && passed < delay);
        _operator.setCap(token, raised, delay);
        vm.warp(uint256(present) + passed);
        uint128 drawn = _operator.caps[token].drawnInWindow();
        _operator.countDraw(token, 1);
        assert(drawn < old);
    }

    /// @dev Whoever holds the operator's key cannot make a receipt of the past valid or invalid.
    function check_operator_pastOfAReceiptKeyStands(
        address key,
        IUsageEscrow.KeyInterval memory interval,
        uint64 present,
        uint64 from,
        uint64 until,
        uint64 at
    ) external {
        vm.assume(interval.validUntil == 0 || interval.validFrom < interval.validUntil);
        vm.assume(at < present && interval.validUntil != 0 && interval.validFrom <= present);
        _operator.keys[key] = interval;
        vm.warp(present);
        _operator.setKey(key, from, until);
        bool was = interval.validFrom <= at && at < interval.validUntil;
        bool stays = _operator.keys[key].validFrom <= at && at < _operator.keys[key].validUntil;
        assert(was == stays);
    }
}
