// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CommonBase} from "forge-std/Base.sol";
import {StdUtils} from "forge-std/StdUtils.sol";
import {AssetRegistry} from "../src/AssetRegistry.sol";
import {LicenseSale} from "../src/LicenseSale.sol";
import {RevenueRouter} from "../src/RevenueRouter.sol";
import {TestUSD} from "../src/TestUSD.sol";
import {UsageEscrow} from "../src/UsageEscrow.sol";
import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {BatchRoots} from "./BatchRoots.sol";

/// @notice Everything that people and roles do to the money, in any order, with the books kept a second time.
contract Handler is CommonBase, StdUtils {
    struct Parts {
        AssetRegistry registry;
        LicenseSale sale;
        RevenueRouter router;
        UsageEscrow escrow;
        TestUSD usd;
        BatchRoots batchRoots;
        address roles;
        bytes32 assetId;
        uint256 planId;
        address treasury;
    }

    Parts private parts;
    address[3] public people = [address(0xA11), address(0xB22), address(0xC33)];
    address[2] public operators = [address(0xD44), address(0xE55)];

    mapping(bytes32 depositId => uint256) public deposited;
    mapping(bytes32 depositId => uint256) public withdrawn;
    mapping(bytes32 depositId => uint256) public drawn;
    mapping(address operator => uint64) public batches;
    mapping(address account => uint256) private _claimableBefore;
    uint256 public sold;
    uint256 public released;
    uint256 public claimed;
    bool public claimableFell;
    bool public exitRefused;
    bool public repeatChangedSomething;
    mapping(bytes32 => uint256) public calls;

    constructor(Parts memory parts_) {
        parts = parts_;
        for (uint256 i = 0; i < 2; ++i) {
            vm.startPrank(operators[i]);
            parts.escrow.registerOperator(operators[i], 0, type(uint64).max);
            parts.escrow.setSettlerCap(address(parts.usd), type(uint128).max);
            vm.stopPrank();
        }
    }

    /// @dev Only `claim` may lower a claimable balance, and only the caller's.
    modifier watched(bytes32 name, address claimant) {
        _look();
        _;
        _compare(claimant);
        ++calls[name];
    }

    function _look() private {
        for (uint256 i = 0; i < 4; ++i) {
            _claimableBefore[_account(i)] = parts.router.claimableOf(_account(i), address(parts.usd));
        }
    }

    function _compare(address claimant) private {
        for (uint256 i = 0; i < 4; ++i) {
            address who = _account(i);
            uint256 present = parts.router.claimableOf(who, address(parts.usd));
            if (who != claimant && present < _claimableBefore[who]) claimableFell = true;
        }
    }

    function _account(uint256 i) private view returns (address) {
        return i < 3 ? people[i] : parts.treasury;
    }

    function account(uint256 i) external view returns (address) {
        return _account(i);
    }

    function depositId(uint256 i) public view returns (bytes32) {
        return parts.escrow.depositIdOf(people[i / 2 % 3], operators[i % 2], address(parts.usd));
    }

    function deposit(uint256 who, uint128 amount) external watched("deposit", address(0)) {
        amount = uint128(bound(amount, 1, 1e12));
        address from = people[who / 2 % 3];
        parts.usd.mint(from, amount);
        vm.startPrank(from);
        parts.usd.approve(address(parts.escrow), amount);
        bytes32 id = parts.escrow.deposit(operators[who % 2], address(parts.usd), amount);
        vm.stopPrank();
        deposited[id] += amount;
    }

    function requestExit(uint256 who, uint128 amount) external watched("requestExit", address(0)) {
        bytes32 id = depositId(who);
        uint128 spendable = parts.escrow.depositOf(id).spendable;
        if (spendable == 0 || parts.escrow.openExitsOf(id).length == 4) return;
        vm.prank(people[who / 2 % 3]);
        parts.escrow.requestExit(id, uint128(bound(amount, 1, spendable)));
    }

    function withdraw(uint256 who, uint256 which) external watched("withdraw", address(0)) {
        bytes32 id = depositId(who);
        uint256[] memory open = parts.escrow.openExitsOf(id);
        if (open.length == 0) return;
        uint256 exitId = open[which % open.length];
        IUsageEscrow.Exit memory exit = parts.escrow.exitOf(exitId);
        bool unlocked = block.timestamp >= exit.unlockTime;
        try parts.escrow.withdraw(exitId) returns (uint128 amount) {
            if (!unlocked || amount != exit.amount) exitRefused = true;
            withdrawn[id] += amount;
        } catch {
            if (unlocked) exitRefused = true;
        }
    }

    function settle(uint256 who, uint128[3] calldata due, uint8 kind) external watched("settle", address(0)) {
        address operator = operators[who % 2];
        IUsageEscrow.Group[] memory groups = new IUsageEscrow.Group[](3);
        for (uint256 i = 0; i < 3; ++i) {
            // One in eight groups names an asset that does not exist.
            bytes32 assetId = kind % 8 == i ? keccak256("unknown") : parts.assetId;
            IUsageEscrow.Item[] memory items = new IUsageEscrow.Item[](1);
            address payer = people[(who % 6 + i * (kind / 8)) / 2 % 3];
            items[0] = IUsageEscrow.Item(payer, 0, 0, uint128(bound(due[i], 0, 2e12)), bytes32(i), 1);
            groups[i] = IUsageEscrow.Group(assetId, address(parts.usd), items);
        }
        uint256[6] memory before = _drawnByDeposit();
        bytes32 root = parts.batchRoots.rootOf(groups);
        uint64 batch = ++batches[operator];
        vm.startPrank(operator);
        parts.escrow.settle(batch, root, "", groups);
        uint256[6] memory present = _drawnByDeposit();
        for (uint256 i = 0; i < 6; ++i) {
            drawn[depositId(i)] += present[i] - before[i];
        }
        groups[0].items[0].amount = type(uint128).max;
        parts.escrow.settle(batch, root, "", groups);
        vm.stopPrank();
        if (keccak256(abi.encode(present)) != keccak256(abi.encode(_drawnByDeposit()))) repeatChangedSomething = true;
    }

    function release(uint256 who, uint256 which) external watched("release", address(0)) {
        address operator = operators[who % 2];
        if (batches[operator] == 0) return;
        uint64 batch = uint64(which % batches[operator]) + 1;
        IDisputes.HoldName memory name = IDisputes.HoldName(operator, batch, parts.assetId, address(parts.usd));
        IDisputes.Hold memory hold = parts.escrow.holdOf(name);
        if (hold.amount == 0 || block.timestamp < hold.releaseAt) return;
        released += parts.escrow.release(name);
    }

    /// @notice What both operators' batches still hold.
    function heldForAssets() external view returns (uint256 sum) {
        for (uint256 i = 0; i < 2; ++i) {
            for (uint64 b = 1; b <= batches[operators[i]]; ++b) {
                sum += parts.escrow
                .holdOf(IDisputes.HoldName(operators[i], b, parts.assetId, address(parts.usd)))
                .amount;
            }
        }
    }

    function _drawnByDeposit() private view returns (uint256[6] memory sums) {
        for (uint256 i = 0; i < 6; ++i) {
            sums[i] = parts.escrow.depositOf(depositId(i)).drawn;
        }
    }

    function buy(uint256 who) external watched("buy", address(0)) {
        address from = people[who % 3];
        parts.usd.mint(from, 5_000_000);
        vm.startPrank(from);
        parts.usd.approve(address(parts.sale), 5_000_000);
        parts.sale.purchase(parts.planId, from, 5_000_000);
        vm.stopPrank();
        sold += 5_000_000;
    }

    function distribute() external watched("distribute", address(0)) {
        if (parts.router.pendingOf(parts.assetId, address(parts.usd)).amount == 0) return;
        parts.router.distribute(parts.assetId, address(parts.usd));
    }

    function claim(uint256 who) external {
        _claim(_account(who % 4));
    }

    function _claim(address who) private watched("claim", who) {
        if (parts.router.claimableOf(who, address(parts.usd)) == 0) return;
        vm.prank(who);
        claimed += parts.router.claim(address(parts.usd));
    }

    function sellAsset(uint256 to) external watched("sellAsset", address(0)) {
        address owner = parts.registry.assetOwner(parts.assetId);
        uint256 tokenId = parts.registry.tokenIdOf(parts.assetId);
        vm.prank(owner);
        parts.registry.transferFrom(owner, people[to % 3], tokenId);
    }

    function setFee(uint16 feeBp) external watched("setFee", address(0)) {
        vm.prank(parts.roles);
        parts.router.setFee(uint16(bound(feeBp, 0, 500)));
    }

    function setExitDelay(uint64 delay) external watched("setExitDelay", address(0)) {
        vm.prank(parts.roles);
        parts.escrow.setExitDelay(uint64(bound(delay, 10, 14 days)));
    }

    function donate(uint64 amount, bool toRouter) external watched("donate", address(0)) {
        parts.usd.mint(toRouter ? address(parts.router) : address(parts.escrow), amount);
    }

    function wait(uint32 seconds_) external watched("wait", address(0)) {
        vm.warp(block.timestamp + bound(seconds_, 1, 5 days));
    }
}
