// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CommonBase} from "forge-std/Base.sol";
import {StdUtils} from "forge-std/StdUtils.sol";
import {Vm} from "forge-std/Vm.sol";
import {TestUSD} from "../src/TestUSD.sol";
import {UsageEscrow} from "../src/UsageEscrow.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {Mandates} from "../src/libraries/Mandates.sol";
import {BatchRoots} from "./BatchRoots.sol";

/// @notice Everything that touches mandates, in any order, beside a model that keeps the whole history of each: all
/// its windows forever, what was drawn in all, what was drawn since it was revoked.
contract MandateHandler is CommonBase, StdUtils {
    struct Model {
        Mandates.Mandate terms;
        bytes32 id;
        uint256 drawn;
        uint256 drawnSinceRevoked;
        uint256 revokedAt;
    }

    uint256 public constant MANDATES = 8;

    UsageEscrow private _escrow;
    TestUSD private _usd;
    BatchRoots private _roots;
    bytes32 private _assetId;
    address[2] private _payers = [address(0xA11), address(0xB22)];
    address[2] private _operators = [address(0xD44), address(0xE55)];

    Model[] private _models;
    mapping(bytes32 mandateId => mapping(uint32 window => uint256)) public amountOf;
    mapping(bytes32 mandateId => mapping(uint32 window => uint256)) public recordsOf;
    mapping(bytes32 depositId => uint256) public drawnOf;
    /// @notice Whether a settlement ever paid another amount than the model.
    bool public differed;
    uint256 public paidItems;
    uint256 public cutItems;
    uint256 public drawsSinceRevoked;

    constructor(UsageEscrow escrow, TestUSD usd, BatchRoots roots, bytes32 assetId) {
        (_escrow, _usd, _roots, _assetId) = (escrow, usd, roots, assetId);
        for (uint256 i = 0; i < 2; ++i) {
            vm.startPrank(_operators[i]);
            escrow.registerOperator(_operators[i], 0, type(uint64).max);
            escrow.setSettlerCap(address(usd), type(uint128).max);
            vm.stopPrank();
        }
        for (uint256 i = 0; i < 4; ++i) {
            deposit(i, 1_000_000);
        }
    }

    function depositId(uint256 i) public view returns (bytes32) {
        return _escrow.depositIdOf(_payers[i / 2 % 2], _operators[i % 2], address(_usd));
    }

    function count() external view returns (uint256) {
        return _models.length;
    }

    function model(uint256 i) external view returns (Model memory) {
        return _models[i];
    }

    function deposit(uint256 who, uint128 amount) public {
        amount = uint128(bound(amount, 1, 1_000_000));
        address from = _payers[who / 2 % 2];
        _usd.mint(from, amount);
        vm.startPrank(from);
        _usd.approve(address(_escrow), amount);
        _escrow.deposit(_operators[who % 2], address(_usd), amount);
        vm.stopPrank();
    }

    function open(uint256 who, uint128 amount, uint32 length, uint32 grace, uint32 life, bool listed) external {
        if (_models.length == MANDATES) return;
        Mandates.Mandate memory m;
        m.payer = _payers[who / 2 % 2];
        m.operator = _operators[who % 2];
        m.token = address(_usd);
        m.windowAmount = uint128(bound(amount, 1, 200_000));
        m.totalAmount = uint128(bound(amount, 1, 4 * uint256(m.windowAmount)));
        m.inFlightCap = uint128(bound(amount, 0, m.windowAmount));
        m.windowLength = uint32(bound(length, 60, 600));
        m.windowRecords = uint32(bound(length, 1, 20));
        m.grace = uint32(bound(grace, 0, m.windowLength));
        m.validFrom = uint64(block.timestamp + grace % 400) - 200;
        m.validUntil = uint64(block.timestamp) + uint64(bound(life, 201, 5000));
        m.nonce = _models.length;
        if (listed) {
            m.assets = new bytes32[](1);
            m.assets[0] = _assetId;
        }
        vm.prank(m.payer);
        bytes32 id = _escrow.openMandate(m, "");
        _models.push(Model(m, id, 0, 0, 0));
    }

    function revoke(uint256 which) external {
        if (_models.length == 0) return;
        Model storage one = _models[which % _models.length];
        if (one.revokedAt != 0) return;
        vm.prank(one.terms.payer);
        _escrow.revokeMandate(one.id);
        one.revokedAt = block.timestamp;
    }

    /// @dev Three items of one batch, each for a window around the present one; the model pays each first.
    function settle(uint256 who, uint256[3] calldata which, uint128[3] calldata due, uint32[3] calldata more) external {
        if (_models.length == 0) return;
        address operator = _operators[who % 2];
        IUsageEscrow.Group[] memory groups = new IUsageEscrow.Group[](3);
        uint256[3] memory expected;
        uint256[4] memory left;
        for (uint256 i = 0; i < 4; ++i) {
            left[i] = _escrow.drawableOf(depositId(i));
        }
        for (uint256 i = 0; i < 3; ++i) {
            Model storage one = _models[which[i] % _models.length];
            groups[i] = _group(one, uint128(bound(due[i], 0, 300_000)), more[i]);
            expected[i] = groups[i].assetId == _assetId ? _pay(one, operator, groups[i].items[0], left) : 0;
        }
        uint64 batch = _escrow.lastBatchOf(operator) + 1;
        bytes32 root = _roots.rootOf(groups);
        vm.recordLogs();
        vm.prank(operator);
        _escrow.settle(batch, root, "", groups);
        _compare(expected);
    }

    function _group(Model storage one, uint128 due, uint32 more)
        private
        view
        returns (IUsageEscrow.Group memory group)
    {
        uint256 present = block.timestamp < one.terms.validFrom
            ? 0
            : (block.timestamp - one.terms.validFrom) / one.terms.windowLength;
        // From two windows ago to the next one.
        uint256 window = present + more % 4;
        window = window < 2 ? 0 : window - 2;
        bytes32 asset = more % 16 == 15 ? keccak256("unknown") : _assetId;
        group = IUsageEscrow.Group(asset, address(_usd), new IUsageEscrow.Item[](1));
        group.items[0] = IUsageEscrow.Item(one.terms.payer, one.id, uint32(window), due, bytes32(0), (more >> 8) % 8);
    }

    function _pay(Model storage one, address operator, IUsageEscrow.Item memory item, uint256[4] memory left)
        private
        returns (uint256 paid)
    {
        if (one.terms.operator != operator || item.records == 0) return 0;
        if (!_isOpen(one, item.window)) return 0;
        if (recordsOf[one.id][item.window] + item.records > one.terms.windowRecords) return 0;
        uint256 place = (one.terms.payer == _payers[1] ? 2 : 0) + (operator == _operators[1] ? 1 : 0);
        paid = _min(item.amount, left[place]);
        paid = _min(paid, one.terms.windowAmount - amountOf[one.id][item.window]);
        paid = _min(paid, one.terms.totalAmount - one.drawn);
        if (one.revokedAt != 0) paid = _min(paid, one.terms.inFlightCap - one.drawnSinceRevoked);
        if (paid == 0) return 0;
        left[place] -= paid;
        _book(one, item, paid);
    }

    function _book(Model storage one, IUsageEscrow.Item memory item, uint256 paid) private {
        ++paidItems;
        if (paid < item.amount) ++cutItems;
        if (one.revokedAt != 0) {
            ++drawsSinceRevoked;
            one.drawnSinceRevoked += paid;
        }
        one.drawn += paid;
        amountOf[one.id][item.window] += paid;
        recordsOf[one.id][item.window] += item.records;
        drawnOf[_escrow.depositIdOf(one.terms.payer, one.terms.operator, address(_usd))] += paid;
    }

    function _isOpen(Model storage one, uint32 window) private view returns (bool) {
        uint256 stop = one.terms.validUntil;
        if (one.revokedAt != 0) stop = _min(stop, one.revokedAt);
        uint256 begin = one.terms.validFrom + uint256(window) * one.terms.windowLength;
        uint256 end = _min(begin + one.terms.windowLength, stop);
        return begin < stop && block.timestamp >= begin && block.timestamp < end + one.terms.grace;
    }

    function _compare(uint256[3] memory expected) private {
        Vm.Log[] memory logs = vm.getRecordedLogs();
        uint256 i;
        for (uint256 n = 0; n < logs.length; ++n) {
            if (logs[n].topics[0] != IUsageEscrow.GroupSettled.selector) continue;
            (,,, uint128 paid) = abi.decode(logs[n].data, (address, uint32, uint256, uint128));
            if (paid != expected[i++]) differed = true;
        }
        if (i != 3) differed = true;
    }

    function requestExit(uint256 who, uint128 amount) external {
        bytes32 id = depositId(who);
        uint128 spendable = _escrow.depositOf(id).spendable;
        if (spendable == 0 || _escrow.openExitsOf(id).length == 4) return;
        vm.prank(_payers[who / 2 % 2]);
        _escrow.requestExit(id, uint128(bound(amount, 1, spendable)));
    }

    function withdraw(uint256 who) external {
        uint256[] memory open_ = _escrow.openExitsOf(depositId(who));
        if (open_.length == 0 || block.timestamp < _escrow.exitOf(open_[0]).unlockTime) return;
        _escrow.withdraw(open_[0]);
    }

    function wait(uint32 seconds_) external {
        vm.warp(block.timestamp + bound(seconds_, 1, 300));
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
