// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CommonBase} from "forge-std/Base.sol";
import {StdUtils} from "forge-std/StdUtils.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ComplianceGate} from "../src/ComplianceGate.sol";
import {Market} from "../src/Market.sol";
import {RevenueRouter} from "../src/RevenueRouter.sol";
import {Shares} from "../src/Shares.sol";
import {SharesFactory} from "../src/SharesFactory.sol";
import {TestUSD} from "../src/TestUSD.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {IShares} from "../src/interfaces/IShares.sol";
import {Wrapper} from "./mocks/Wrapper.sol";

/// @notice Everybody tries every way to shares, votes and revenue of a regulated asset, in any order, while
/// credentials come, end and are taken and accounts are frozen. Who may have some is kept a second time here.
contract GateHandler is CommonBase, StdUtils {
    struct Parts {
        ComplianceGate gate;
        Shares shares;
        SharesFactory factory;
        Market market;
        RevenueRouter router;
        TestUSD usd;
        address sale;
        address treasury;
        address issuer;
        address officer;
        bytes32 assetId;
        /// @dev Makes shares of another regulated asset, which ask nobody.
        bytes escape;
    }

    uint256 private constant PEOPLE = 6;
    uint256 private constant TREASURY = 4;
    uint256 private constant CONTRACT = 5;
    bytes32 private constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    Parts private parts;
    /// @notice Four people, the treasury, and a contract that nobody listed at first.
    address[PEOPLE] public people;
    mapping(address => uint256) private _keys;
    mapping(address => uint256) private _until;
    mapping(address => bool) private _isFrozen;
    bool private _isListed;
    uint256 private _nonces;

    /// @notice What the gate let through that it must not.
    bool public leaked;
    bool public claimableFell;
    bool public escaped;
    mapping(bytes32 what => uint256) public done;
    mapping(bytes32 what => uint256) public refused;
    uint256[PEOPLE] private _shares;
    uint256[PEOPLE] private _votes;
    uint256[PEOPLE] private _paid;
    uint256[PEOPLE] private _due;

    constructor(Parts memory parts_, uint256[4] memory keys, uint256 until) {
        parts = parts_;
        for (uint256 i = 0; i < 4; ++i) {
            people[i] = vm.addr(keys[i]);
            _keys[people[i]] = keys[i];
            if (i < 2) _until[people[i]] = until;
        }
        people[TREASURY] = parts_.treasury;
        people[CONTRACT] = address(new Wrapper(IERC20(address(parts_.shares)), address(0), 0));
    }

    /// @dev The rule in words: nobody's shares, votes or money from shares rise who may have none.
    modifier watched(bytes32 what, address claimant) {
        for (uint256 i = 0; i < PEOPLE; ++i) {
            (_shares[i], _votes[i], _paid[i], _due[i]) = _of(i);
        }
        _;
        for (uint256 i = 0; i < PEOPLE; ++i) {
            (uint256 shares, uint256 votes, uint256 paid, uint256 due) = _of(i);
            bool rose = shares > _shares[i] || votes > _votes[i] || paid > _paid[i];
            if (rose && !stands(i)) leaked = true;
            if (due < _due[i] && people[i] != claimant) claimableFell = true;
        }
        ++done[what];
    }

    function _of(uint256 i) private view returns (uint256, uint256, uint256, uint256) {
        address who = people[i];
        return (
            parts.shares.balanceOf(who),
            parts.shares.getVotes(who),
            parts.usd.balanceOf(who),
            parts.shares.claimableOf(who, address(parts.usd))
        );
    }

    function stands(uint256 i) public view returns (bool) {
        address who = people[i];
        if (_isFrozen[who]) return false;
        if (i == TREASURY) return true;
        return i == CONTRACT ? _isListed : block.timestamp < _until[who];
    }

    function transfer(uint256 from, uint256 to, uint256 value) external watched("transfer", address(0)) {
        (address a, address b, uint256 v) = _pick(from, to, value);
        vm.prank(a);
        try parts.shares.transfer(b, v) {}
        catch {
            ++refused["transfer"];
        }
    }

    function transferFrom(uint256 from, uint256 to, uint256 value) external watched("transferFrom", address(0)) {
        (address a, address b, uint256 v) = _pick(from, to, value);
        vm.prank(a);
        parts.shares.approve(address(this), v);
        try parts.shares.transferFrom(a, b, v) {}
        catch {
            ++refused["transferFrom"];
        }
    }

    function permit(uint256 from, uint256 to, uint256 value) external watched("permit", address(0)) {
        (address a, address b, uint256 v) = _pick(from % 4, to, value);
        bytes32 structHash =
            keccak256(abi.encode(PERMIT_TYPEHASH, a, address(this), v, parts.shares.nonces(a), block.timestamp));
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", parts.shares.DOMAIN_SEPARATOR(), structHash));
        (uint8 sv, bytes32 r, bytes32 s) = vm.sign(_keys[a], digest);
        parts.shares.permit(a, address(this), v, block.timestamp, sv, r, s);
        try parts.shares.transferFrom(a, b, v) {}
        catch {
            ++refused["permit"];
        }
    }

    function fill(uint256 from, uint256 to, uint256 value) external watched("fill", address(0)) {
        (address a, address b, uint256 v) = _pick(from % 4, to % 4, value);
        if (a == b || v == 0) return;
        IMarket.Order memory order;
        (order.maker, order.side, order.standard) = (a, IMarket.Side.Sell, IMarket.Standard.ERC20);
        // Money for shares is no revenue of shares: the currency is another.
        (order.token, order.amount, order.currency) = (address(parts.shares), uint128(v), address(new TestUSD()));
        (order.startTime, order.endTime) = (uint64(block.timestamp), uint64(block.timestamp) + 1 days);
        order.nonce = ++_nonces;
        (uint8 sv, bytes32 r, bytes32 s) = vm.sign(_keys[a], parts.market.hashOrder(order));
        vm.prank(a);
        parts.shares.approve(address(parts.market), v);
        vm.prank(b);
        try parts.market.fill(order, abi.encodePacked(r, s, sv), uint128(v), 0) {}
        catch {
            ++refused["fill"];
        }
    }

    function grant(uint256 to, uint128 value) external watched("grant", address(0)) {
        (address a, address b, uint256 v) = _pick(TREASURY, to, value);
        uint40 now_ = uint40(block.timestamp);
        vm.prank(a);
        try parts.shares.grant(IShares.Allocation(b, uint128(v), now_, now_, now_ + 1 days)) {}
        catch {
            ++refused["grant"];
        }
    }

    function force(uint256 from, uint256 to, uint256 value) external watched("force", address(0)) {
        (address a, address b, uint256 v) = _pick(from, to, value);
        vm.prank(parts.officer);
        try parts.gate.forceTransfer(address(parts.shares), a, b, v) {}
        catch {
            ++refused["force"];
        }
    }

    function delegate(uint256 from, uint256 to) external watched("delegate", address(0)) {
        vm.prank(people[from % PEOPLE]);
        try parts.shares.delegate(people[to % PEOPLE]) {}
        catch {
            ++refused["delegate"];
        }
    }

    function endDelegation(uint256 who) external watched("endDelegation", address(0)) {
        try parts.shares.endDelegation(people[who % PEOPLE]) {}
        catch {
            ++refused["endDelegation"];
        }
    }

    function claim(uint256 who, uint256 to) external {
        _claim(people[who % PEOPLE], people[to % PEOPLE]);
    }

    function _claim(address who, address to) private watched("claim", who) {
        vm.prank(who);
        try parts.shares.claimTo(address(parts.usd), to) {}
        catch {
            ++refused["claim"];
        }
    }

    function earn(uint128 amount) external watched("earn", address(0)) {
        amount = uint128(bound(amount, 1000, 1e15));
        parts.usd.mint(address(parts.router), amount);
        vm.prank(parts.sale);
        parts.router.receiveRevenue(parts.assetId, address(parts.usd), amount, 0);
        parts.router.distribute(parts.assetId, address(parts.usd));
        parts.shares.collect(address(parts.router), address(parts.usd));
        vm.warp(block.timestamp + 1);
    }

    function escape() external watched("escape", address(0)) {
        (bool ok,) = address(parts.factory).call(parts.escape);
        if (ok) escaped = true;
        else ++refused["escape"];
    }

    function enrol(uint256 who, uint64 length) external watched("enrol", address(0)) {
        address account = people[who % 4];
        length = uint64(bound(length, 1 hours, 20 days));
        vm.prank(parts.issuer);
        parts.gate.enrol(parts.assetId, account, 2, 276, uint64(block.timestamp) + length);
        _until[account] = block.timestamp + length;
    }

    function revoke(uint256 who) external watched("revoke", address(0)) {
        vm.prank(parts.issuer);
        parts.gate.revokeCredential(parts.assetId, people[who % 4]);
        _until[people[who % 4]] = 0;
    }

    function freeze(uint256 who, bool on) external watched("freeze", address(0)) {
        vm.prank(parts.officer);
        parts.gate.freezeAccount(parts.assetId, people[who % PEOPLE], on);
        _isFrozen[people[who % PEOPLE]] = on;
    }

    function freezeShares(uint256 who, uint256 amount) external watched("freezeShares", address(0)) {
        vm.prank(parts.officer);
        parts.gate.freezeShares(address(parts.shares), people[who % PEOPLE], bound(amount, 0, 1000e18));
    }

    function list(bool on) external watched("list", address(0)) {
        vm.prank(parts.treasury);
        parts.gate.listContract(parts.assetId, people[CONTRACT], on ? 7 : 0);
        _isListed = on;
    }

    function wait(uint32 length) external watched("wait", address(0)) {
        vm.warp(block.timestamp + bound(length, 1, 10 days));
    }

    function _pick(uint256 from, uint256 to, uint256 value) private view returns (address, address, uint256) {
        address a = people[from % PEOPLE];
        return (a, people[to % PEOPLE], bound(value, 0, parts.shares.balanceOf(a)));
    }
}
