// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CommonBase} from "forge-std/Base.sol";
import {StdUtils} from "forge-std/StdUtils.sol";
import {RevenueRouter} from "../src/RevenueRouter.sol";
import {Shares} from "../src/Shares.sol";
import {TestUSD} from "../src/TestUSD.sol";
import {IShares} from "../src/interfaces/IShares.sol";
import {Gate} from "./mocks/Gate.sol";

/// @notice Everything that happens to shares that vote, in any order, with the books kept a second time.
contract SharesHandler is CommonBase, StdUtils {
    struct Parts {
        RevenueRouter router;
        Shares shares;
        TestUSD usd;
        Gate gate;
        address sale;
        bytes32 assetId;
        address treasury;
    }

    Parts private parts;
    address[4] public people;
    uint256 public came;
    uint256 public claimed;
    /// @notice How many accruals there may have been: each leaves less than one unit behind.
    uint256 public accruals;
    bool public claimableFell;
    bool public transferMovedRevenue;
    bool public refusedAClaim;
    uint256[4] private _before;

    constructor(Parts memory parts_, address[3] memory people_) {
        parts = parts_;
        for (uint256 i = 0; i < 3; ++i) {
            people[i] = people_[i];
        }
        people[3] = parts_.treasury;
    }

    /// @dev Only `claim` may lower what an account can claim, and only the caller's.
    modifier watched(address claimant) {
        for (uint256 i = 0; i < 4; ++i) {
            _before[i] = claimable(i);
        }
        _;
        for (uint256 i = 0; i < 4; ++i) {
            if (people[i] != claimant && claimable(i) < _before[i]) claimableFell = true;
        }
    }

    function claimable(uint256 i) public view returns (uint256) {
        return parts.shares.claimableOf(people[i], address(parts.usd));
    }

    function earn(uint128 amount) external watched(address(0)) {
        amount = uint128(bound(amount, 1, 1e15));
        parts.usd.mint(address(parts.router), amount);
        vm.prank(parts.sale);
        parts.router.receiveRevenue(parts.assetId, address(parts.usd), amount, 0);
        parts.router.distribute(parts.assetId, address(parts.usd));
    }

    function collect() external watched(address(0)) {
        if (parts.router.claimableOf(address(parts.shares), address(parts.usd)) == 0) return;
        came += parts.shares.collect(address(parts.router), address(parts.usd));
    }

    function transfer(uint256 from, uint256 to, uint256 value) external watched(address(0)) {
        uint256 free = _free(people[from % 4]);
        (from, to, value) = (from % 4, to % 4, bound(value, 0, free));
        vm.prank(people[from]);
        parts.shares.transfer(people[to], value);
        accruals += 2;
        // Within the second nothing is shared out, so that a movement changes nobody's account.
        for (uint256 i = 0; i < 4; ++i) {
            if (claimable(i) != _before[i]) transferMovedRevenue = true;
        }
    }

    function force(uint256 from, uint256 to, uint256 value) external watched(address(0)) {
        value = bound(value, 0, parts.shares.balanceOf(people[from % 4]));
        parts.gate.force(parts.shares, people[from % 4], people[to % 4], value);
        accruals += 2;
    }

    function freeze(uint256 who, uint256 amount) external watched(address(0)) {
        parts.gate.freeze(parts.shares, people[who % 4], bound(amount, 0, 1000e18));
    }

    function grant(uint256 to, uint128 amount, uint40 length) external watched(address(0)) {
        address who = people[to % 3];
        uint40 now_ = uint40(block.timestamp);
        uint256 free = _free(parts.treasury);
        if (free == 0 || parts.shares.grantOf(who).end > now_) return;
        amount = uint128(bound(amount, 1, free));
        length = uint40(bound(length, 1, 10 days));
        vm.prank(parts.treasury);
        parts.shares.grant(IShares.Allocation(who, amount, now_, now_, now_ + length));
        accruals += 2;
    }

    function _free(address who) private view returns (uint256) {
        uint256 balance = parts.shares.balanceOf(who);
        uint256 frozen = parts.shares.getFrozenTokens(who);
        uint256 unvested = parts.shares.unvestedOf(who);
        uint256 held = frozen > unvested ? frozen : unvested;
        return balance > held ? balance - held : 0;
    }

    function delegate(uint256 from, uint256 to) external watched(address(0)) {
        vm.prank(people[from % 4]);
        parts.shares.delegate(to % 5 == 4 ? address(0) : people[to % 4]);
    }

    function claim(uint256 who) external {
        _claim(who % 4, people[who % 4]);
    }

    function _claim(uint256 who, address account) private watched(account) {
        uint256 due = claimable(who);
        if (due == 0) return;
        vm.prank(account);
        try parts.shares.claim(address(parts.usd)) returns (uint128 amount) {
            if (amount != due) refusedAClaim = true;
            claimed += amount;
            ++accruals;
        } catch {
            refusedAClaim = true;
        }
    }

    function donate(uint64 amount) external watched(address(0)) {
        parts.usd.mint(address(parts.shares), amount);
    }

    function wait(uint32 seconds_) external watched(address(0)) {
        vm.warp(block.timestamp + bound(seconds_, 1, 5 days));
    }
}
