// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IRevenueRouter} from "./interfaces/IRevenueRouter.sol";
import {Delayed} from "./libraries/Delayed.sol";
import {Names} from "./libraries/Names.sol";

/// @title Revenue of assets, and who may claim it
contract RevenueRouter is IRevenueRouter, AccessManaged, ReentrancyGuardTransient {
    using Delayed for Delayed.Number;
    using SafeERC20 for IERC20;

    /// @notice Greatest protocol fee, in basis points.
    uint16 public constant MAX_FEE_BP = 500;
    /// @notice Wait of a fee change: the longest exit delay that an escrow may have, so that everyone can leave first.
    uint64 public constant FEE_DELAY = 14 days;
    uint16 private constant INITIAL_FEE_BP = 100;
    uint256 private constant BASIS_POINTS = 10_000;

    IDirectory private immutable _directory;
    IAssetRegistry private immutable _registry;
    address private immutable _treasury;

    Delayed.Number private _fee;
    mapping(bytes32 assetId => mapping(address token => Pending)) private _pending;
    mapping(address account => mapping(address token => uint256)) private _claimable;
    mapping(address token => uint256) private _owed;
    mapping(address owner => address) private _payees;

    constructor(address manager, IDirectory directory, IAssetRegistry registry, address treasury_)
        AccessManaged(manager)
    {
        _directory = directory;
        _registry = registry;
        _treasury = treasury_;
        // It holds from now: when that is needs no return value.
        // slither-disable-next-line unused-return
        _fee.set(INITIAL_FEE_BP, 0);
    }

    /// @inheritdoc IRevenueRouter
    function receiveRevenue(bytes32 assetId, address token, uint128 amount, bytes32 ref) external nonReentrant {
        Source source = _sourceOf(msg.sender);
        address payee = payeeOf(assetId);
        if (payee == address(0)) revert RevenueRouter_UnknownAsset(assetId);
        uint256 owed = _owed[token] + amount;
        uint256 balance = IERC20(token).balanceOf(address(this));
        if (balance < owed) revert RevenueRouter_Unbacked(token, balance, owed);
        _owed[token] = owed;
        _accrue(assetId, token, payee, amount);
        emit RevenueReceived(assetId, token, payee, amount, source, ref);
    }

    /// @inheritdoc IRevenueRouter
    function distribute(bytes32 assetId, address token) external nonReentrant {
        if (_pending[assetId][token].amount == 0) revert RevenueRouter_NothingPending(assetId, token);
        _distribute(assetId, token);
    }

    /// @inheritdoc IRevenueRouter
    function claim(address token) external nonReentrant returns (uint256 amount) {
        amount = _claimable[msg.sender][token];
        if (amount == 0) revert RevenueRouter_NothingToClaim(msg.sender, token);
        delete _claimable[msg.sender][token];
        _owed[token] -= amount;
        emit Claimed(msg.sender, token, amount);
        IERC20(token).safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IRevenueRouter
    function payTo(address payee) external {
        _payees[msg.sender] = payee;
        emit PayeeNamed(msg.sender, payee);
    }

    /// @inheritdoc IRevenueRouter
    function setFee(uint16 newFeeBp) external restricted {
        if (newFeeBp > MAX_FEE_BP) revert RevenueRouter_FeeAboveCeiling(newFeeBp, MAX_FEE_BP);
        emit FeeScheduled(newFeeBp, _fee.set(newFeeBp, FEE_DELAY));
    }

    /// @inheritdoc IRevenueRouter
    function feeBp() public view returns (uint16) {
        return uint16(_fee.value());
    }

    /// @inheritdoc IRevenueRouter
    function payeeOf(bytes32 assetId) public view returns (address) {
        address owner = _registry.assetOwner(assetId);
        address payee = _payees[owner];
        return payee == address(0) ? owner : payee;
    }

    /// @inheritdoc IRevenueRouter
    function namedPayeeOf(address owner) external view returns (address) {
        return _payees[owner];
    }

    /// @inheritdoc IRevenueRouter
    function treasury() external view returns (address) {
        return _treasury;
    }

    /// @inheritdoc IRevenueRouter
    function pendingOf(bytes32 assetId, address token) external view returns (Pending memory) {
        return _pending[assetId][token];
    }

    /// @inheritdoc IRevenueRouter
    function claimableOf(address account, address token) external view returns (uint256) {
        return _claimable[account][token];
    }

    /// @inheritdoc IRevenueRouter
    function owedOf(address token) external view returns (uint256) {
        return _owed[token];
    }

    /// @dev Retiring contracts still bring what was earned before.
    function _sourceOf(address caller) private view returns (Source) {
        IDirectory.Status status = _directory.statusOf(caller);
        if (status == IDirectory.Status.Active || status == IDirectory.Status.Retiring) {
            bytes32 name = _directory.nameOf(caller);
            if (name == Names.LICENSE_SALE) return Source.Sale;
            if (name == Names.USAGE_ESCROW) return Source.Usage;
        }
        revert RevenueRouter_NotSource(caller);
    }

    /// @dev What waits belongs to one payee under one fee; when either changes, it is distributed first.
    function _accrue(bytes32 assetId, address token, address payee, uint128 amount) private {
        uint16 fee = feeBp();
        Pending storage pending = _pending[assetId][token];
        if (pending.amount != 0 && (pending.payee != payee || pending.feeBp != fee)) _distribute(assetId, token);
        if (pending.amount == 0) (pending.payee, pending.feeBp) = (payee, fee);
        pending.amount += amount;
    }

    function _distribute(bytes32 assetId, address token) private {
        Pending memory pending = _pending[assetId][token];
        delete _pending[assetId][token];
        // Rounded down, against the protocol; the payee gets the whole rest, so there is no dust.
        // casting to 'uint128' is safe because a fee of at most 500 basis points is below the amount
        // forge-lint: disable-next-line(unsafe-typecast)
        uint128 fee = uint128(uint256(pending.amount) * pending.feeBp / BASIS_POINTS);
        uint128 payeeAmount = pending.amount - fee;
        _claimable[_treasury][token] += fee;
        _claimable[pending.payee][token] += payeeAmount;
        emit Distributed(assetId, token, pending.payee, pending.amount, fee, payeeAmount);
    }
}
