// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CommonBase} from "forge-std/Base.sol";
import {StdCheats} from "forge-std/StdCheats.sol";
import {AssetRegistry} from "../src/AssetRegistry.sol";
import {LicenseSale} from "../src/LicenseSale.sol";
import {MirrorBook} from "../src/MirrorBook.sol";
import {PlanBook} from "../src/PlanBook.sol";
import {TestUSD} from "../src/TestUSD.sol";
import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {Mirrors} from "../src/libraries/Mirrors.sol";

/// @notice An asset that changes hands at home, a reporter that is late, owners present and former who sign whatever
/// they can, and a buyer. Keeps a model of its own: what was signed and what was reported.
contract MirrorHandler is CommonBase, StdCheats {
    struct World {
        AssetRegistry home;
        MirrorBook book;
        PlanBook plans;
        LicenseSale sale;
        TestUSD usd;
        address reporter;
        bytes32 assetId;
        string slug;
    }

    /// @dev The statement that stands, as its signer meant it.
    struct Standing {
        uint256 who;
        uint64 epoch;
        uint64 validUntil;
    }

    uint256 private constant HOME = 1;
    uint256 private constant HERE = 31337;
    uint128 private constant PRICE = 5_000_000;

    World private _world;
    address[3] public people;
    uint256[3] private _keys;
    // By person, where the money of its mirror goes.
    address[3] public tills;

    uint256 public holder;
    uint64 public epoch = 1;
    uint64 public reportedEpoch;
    uint256 private _reportedHolder;
    uint64 private _reportedAt;
    Standing private _standing;
    uint256[] private _plans;
    uint256[3] public soldFor;
    uint256 public refused;
    uint256 public boundCount;
    bool public soldWhileClosed;
    bool public refusedWhileOpen;
    bool public boundByOther;

    constructor(World memory world, uint256[3] memory keys, address[3] memory tills_) {
        _world = world;
        (_keys, tills) = (keys, tills_);
        for (uint256 i = 0; i < 3; ++i) {
            people[i] = vm.addr(keys[i]);
        }
    }

    function _isOpen() private view returns (bool) {
        return _standing.epoch != 0 && _standing.epoch == reportedEpoch && block.timestamp < _standing.validUntil;
    }

    function transferAtHome(uint256 to) external {
        vm.chainId(HOME);
        uint256 token = _world.home.tokenIdOf(_world.assetId);
        vm.prank(people[holder]);
        _world.home.transferFrom(people[holder], people[to % 3], token);
        vm.chainId(HERE);
        (holder, epoch) = (to % 3, epoch + 1);
    }

    function report() external {
        vm.prank(_world.reporter);
        _world.book.report(_world.assetId, people[holder], epoch, keccak256(abi.encode(new IAssetRegistry.Parent[](0))));
        (reportedEpoch, _reportedHolder, _reportedAt) = (epoch, holder, uint64(block.timestamp));
    }

    function bind(uint256 who, uint64 claimedEpoch, uint32 validity) external {
        who = who % 3;
        // Near what is true, so that about half of the statements are.
        claimedEpoch = uint64(_clamp(claimedEpoch, reportedEpoch == 0 ? 0 : reportedEpoch - 1, epoch + 1));
        Mirrors.Statement memory s = Mirrors.Statement({
            slug: _world.slug,
            homeChainId: HOME,
            homeRegistry: address(_world.home),
            homeOwner: people[who],
            epoch: claimedEpoch,
            owner: tills[who],
            validUntil: uint64(block.timestamp) + 1 + validity % 40 days,
            nonce: _world.book.nextNonceOf(_world.assetId, people[who])
        });
        (uint8 v, bytes32 r, bytes32 sig) = vm.sign(_keys[who], _world.book.statementDigest(s));
        bool isTrue = reportedEpoch != 0 && claimedEpoch == reportedEpoch && who == _reportedHolder;
        try _world.book.bind(s, new IAssetRegistry.Parent[](0), abi.encodePacked(r, sig, v)) {
            if (!isTrue || s.validUntil > _reportedAt + 30 days) boundByOther = true;
            _standing = Standing(who, claimedEpoch, s.validUntil);
            ++boundCount;
        } catch {}
    }

    function cancel(uint256 who) external {
        vm.prank(people[who % 3]);
        _world.book.cancel(_world.assetId, 0);
        if (_standing.epoch != 0 && _standing.who == who % 3) _standing.validUntil = 0;
    }

    function createPlan() external {
        vm.prank(tills[_standing.who]);
        try _world.plans.createPlan(_terms()) returns (uint256 planId) {
            if (!_isOpen()) soldWhileClosed = true;
            _plans.push(planId);
        } catch {
            if (_isOpen()) refusedWhileOpen = true;
        }
    }

    function _terms() private view returns (IPlanBook.PlanTerms memory terms) {
        (terms.assetId, terms.currency, terms.price, terms.period) =
        (_world.assetId, address(_world.usd), PRICE, 30 days);
        (terms.includedUnits, terms.meteringRule, terms.requestsPerSecond) = (1000, "request", 50);
        (terms.server, terms.termsDigest) = (address(this), "terms");
    }

    function buy(uint256 which) external {
        if (_plans.length == 0) return;
        _world.usd.mint(address(this), PRICE);
        _world.usd.approve(address(_world.sale), PRICE);
        try _world.sale.purchase(_plans[which % _plans.length], address(this), PRICE) {
            if (!_isOpen()) soldWhileClosed = true;
            ++soldFor[_standing.who];
        } catch {
            if (_isOpen()) refusedWhileOpen = true;
            ++refused;
        }
    }

    function pass(uint32 time) external {
        skip(time % 10 days);
    }

    function _clamp(uint256 value, uint256 from, uint256 to) private pure returns (uint256) {
        return from + value % (to - from + 1);
    }
}
