// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CommonBase} from "forge-std/Base.sol";
import {StdCheats} from "forge-std/StdCheats.sol";
import {CreditToken} from "../src/CreditToken.sol";
import {Credits} from "../src/Credits.sol";
import {TestUSD} from "../src/TestUSD.sol";
import {UsageEscrow} from "../src/UsageEscrow.sol";
import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {BatchRoots} from "./BatchRoots.sol";

/// @notice Three people buy, move, lock, use, take out and lose units of two series, in any order.
contract CreditsHandler is CommonBase, StdCheats {
    struct Parts {
        Credits credits;
        UsageEscrow escrow;
        TestUSD usd;
        BatchRoots roots;
        address operator;
        bytes32 assetId;
        uint128 unitPrice;
        CreditToken[2] series;
    }

    Parts private _p;
    address[3] public people;
    uint256[] private _exits;
    IDisputes.HoldName[] private _holds;
    uint64 private _batch;
    uint256[2] public issued;
    uint256[2] public redeemed;
    uint256[2] public expired;
    /// @dev Units that moved although their series had ended, or between holders of one that may not move.
    bool public movedAgainstTheRule;

    constructor(Parts memory parts) {
        _p = parts;
        for (uint256 i = 0; i < 3; ++i) {
            people[i] = makeAddr(string.concat("person ", vm.toString(i)));
        }
    }

    function _ended(uint256 s) private view returns (bool) {
        return block.timestamp >= _p.credits.seriesOf(address(_p.series[s])).expiresAt;
    }

    function issue(uint256 who, uint256 s, uint64 units) external {
        (who, s) = (who % 3, s % 2);
        CreditToken token = _p.series[s];
        uint64 left = _p.credits.seriesOf(address(token)).supply - _p.credits.issuedOf(address(token));
        if (_ended(s) || left == 0) return;
        units = units % left + 1;
        _p.usd.mint(people[who], units * _p.unitPrice);
        vm.startPrank(people[who]);
        _p.usd.approve(address(_p.credits), units * _p.unitPrice);
        _p.credits.issue(address(token), people[who], units, type(uint128).max);
        vm.stopPrank();
        issued[s] += units;
    }

    function move(uint256 from, uint256 to, uint256 s, uint256 units, bool by1155) external {
        (from, to, s) = (from % 3, to % 3, s % 2);
        CreditToken token = _p.series[s];
        units = units % (token.balanceOf(people[from]) + 1);
        bool allowed = !_ended(s) && s == 0;
        vm.prank(people[from]);
        (bool ok,) = by1155
            ? address(_p.credits)
                .call(
                    abi.encodeCall(
                        _p.credits.safeTransferFrom, (people[from], people[to], uint160(address(token)), units, "")
                    )
                )
            : address(token).call(abi.encodeCall(token.transfer, (people[to], units)));
        if (ok != allowed) movedAgainstTheRule = true;
    }

    function lock(uint256 who, uint256 s, uint256 units) external {
        (who, s) = (who % 3, s % 2);
        CreditToken token = _p.series[s];
        uint256 balance = token.balanceOf(people[who]);
        if (balance == 0) return;
        units = units % balance + 1;
        vm.startPrank(people[who]);
        token.approve(address(_p.escrow), units);
        try _p.escrow.deposit(_p.operator, address(token), uint128(units)) {
            if (_ended(s)) movedAgainstTheRule = true;
        } catch {
            if (!_ended(s)) movedAgainstTheRule = true;
        }
        vm.stopPrank();
    }

    function settle(uint256 who, uint256 s, uint128 units) external {
        (who, s) = (who % 3, s % 2);
        IUsageEscrow.Group[] memory groups = new IUsageEscrow.Group[](1);
        groups[0].assetId = _p.assetId;
        groups[0].token = address(_p.series[s]);
        groups[0].items = new IUsageEscrow.Item[](1);
        groups[0].items[0] = IUsageEscrow.Item(people[who], 0, 0, units % 100, keccak256("root"), 1);
        bytes32 root = _p.roots.rootOf(groups);
        vm.prank(_p.operator);
        _p.escrow.settle(++_batch, root, "", groups);
        _holds.push(IDisputes.HoldName(_p.operator, _batch, _p.assetId, address(_p.series[s])));
    }

    function release(uint256 seed) external {
        if (_holds.length == 0) return;
        IDisputes.HoldName memory name = _holds[seed % _holds.length];
        if (_p.escrow.holdOf(name).amount == 0) return;
        if (block.timestamp < _p.escrow.holdOf(name).releaseAt) vm.warp(_p.escrow.holdOf(name).releaseAt);
        redeemed[name.token == address(_p.series[0]) ? 0 : 1] += _p.escrow.release(name);
    }

    function leave(uint256 who, uint256 s, uint128 units) external {
        (who, s) = (who % 3, s % 2);
        bytes32 id = _p.escrow.depositIdOf(people[who], _p.operator, address(_p.series[s]));
        uint128 spendable = _p.escrow.depositOf(id).spendable;
        if (spendable == 0 || _p.escrow.openExitsOf(id).length == 4) return;
        vm.prank(people[who]);
        _exits.push(_p.escrow.requestExit(id, units % spendable + 1));
    }

    function withdraw(uint256 seed) external {
        if (_exits.length == 0) return;
        uint256 exitId = _exits[seed % _exits.length];
        uint64 unlock = _p.escrow.exitOf(exitId).unlockTime;
        if (unlock == 0) return;
        if (block.timestamp < unlock) vm.warp(unlock);
        _p.escrow.withdraw(exitId);
    }

    function expire(uint256 s) external {
        s = s % 2;
        CreditToken token = _p.series[s];
        address[] memory holders = new address[](3);
        uint256 units;
        for (uint256 i = 0; i < 3; ++i) {
            holders[i] = people[i];
            units += token.balanceOf(people[i]);
        }
        try _p.credits.expire(address(token), holders) {
            expired[s] += units;
            if (!_ended(s)) movedAgainstTheRule = true;
        } catch {
            if (_ended(s) && units != 0) movedAgainstTheRule = true;
        }
    }

    function wait(uint32 time) external {
        skip(time % 5 days);
    }
}
