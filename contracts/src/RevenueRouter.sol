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
import {Redemption} from "./libraries/Redemption.sol";
import {Waterfall} from "./libraries/Waterfall.sol";

/// @title Revenue of assets, and who may claim it
contract RevenueRouter is IRevenueRouter, AccessManaged, ReentrancyGuardTransient {
    using Delayed for Delayed.Number;
    using SafeERC20 for IERC20;

    /// @notice Greatest protocol fee, in basis points.
    uint16 public constant MAX_FEE_BP = 500;
    /// @notice Wait of a fee change: the longest exit delay that an escrow may have, so that everyone can leave first.
    uint64 public constant FEE_DELAY = 14 days;
    uint16 private constant INITIAL_FEE_BP = 100;
    /// @notice Tokens that one `claimBatch` pays.
    uint256 public constant MAX_CLAIMS = 16;

    /// @dev Buckets by number. New revenue goes into `last`, or into the next one where the terms have changed, so that
    /// a receipt costs the same whatever waits.
    struct Queue {
        uint64 first;
        uint64 last;
        mapping(uint64 number => Bucket) buckets;
    }

    IDirectory private immutable _directory;
    IAssetRegistry private immutable _registry;
    address private immutable _treasury;

    Delayed.Number private _fee;
    mapping(bytes32 assetId => mapping(address token => Queue)) private _queues;
    mapping(address account => mapping(address token => uint256)) private _claimable;
    mapping(address token => uint256) private _owed;
    mapping(address owner => address) private _payees;
    mapping(address token => uint256) private _dust;

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
        // What was never listed has no name.
        bytes32 name = _directory.nameOf(msg.sender);
        bool isOpen = name == Names.LICENSE_SALE && _directory.statusOf(msg.sender) != IDirectory.Status.Retired;
        if (!isOpen && name != Names.CREDITS) revert RevenueRouter_NotSource(msg.sender);
        Source source = isOpen ? Source.Sale : Source.Expiry;
        _receive(_bucketFor(assetId, token), source, assetId, token, amount, ref);
    }

    /// @inheritdoc IRevenueRouter
    function receiveSettled(bytes32 assetId, address token, uint128 amount, bytes32 ref, Terms calldata terms)
        external
        nonReentrant
    {
        if (_directory.nameOf(msg.sender) != Names.USAGE_ESCROW) revert RevenueRouter_NotSource(msg.sender);
        (address currency, uint128 money) = Redemption.redeem(_directory, assetId, token, amount);
        _receive(_bucketUnder(assetId, currency, terms), Source.Usage, assetId, currency, money, ref);
    }

    /// @inheritdoc IRevenueRouter
    function distribute(bytes32 assetId, address token) external nonReentrant {
        Queue storage queue = _queues[assetId][token];
        Bucket memory bucket = queue.buckets[queue.first];
        if (_isEmpty(bucket)) revert RevenueRouter_NothingPending(assetId, token);
        delete queue.buckets[queue.first];
        if (queue.first != queue.last) ++queue.first;
        _distribute(assetId, token, bucket);
    }

    /// @inheritdoc IRevenueRouter
    function claim(address token) external nonReentrant returns (uint256 amount) {
        amount = _claim(token);
        if (amount == 0) revert RevenueRouter_NothingToClaim(msg.sender, token);
    }

    /// @inheritdoc IRevenueRouter
    function claimBatch(address[] calldata tokens) external nonReentrant returns (uint256[] memory amounts) {
        if (tokens.length > MAX_CLAIMS) revert RevenueRouter_TooManyTokens(tokens.length);
        amounts = new uint256[](tokens.length);
        for (uint256 i = 0; i < tokens.length; ++i) {
            amounts[i] = _claim(tokens[i]);
        }
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
    function payeeOf(bytes32 assetId) external view returns (address) {
        return _payeeOf(_registry.assetOwner(assetId));
    }

    /// @inheritdoc IRevenueRouter
    function termsOf(bytes32 assetId) public view returns (Terms memory terms) {
        (address owner, uint32 splitId) = _registry.termsOf(assetId);
        if (owner != address(0)) terms = Terms(_payeeOf(owner), feeBp(), splitId);
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
    function pendingOf(bytes32 assetId, address token) external view returns (Pending memory pending) {
        Queue storage queue = _queues[assetId][token];
        (pending.payee, pending.feeBp) = (queue.buckets[queue.first].payee, queue.buckets[queue.first].feeBp);
        for (uint64 i = queue.first; i <= queue.last; ++i) {
            pending.amount += queue.buckets[i].amount + queue.buckets[i].royalties;
        }
    }

    /// @inheritdoc IRevenueRouter
    function bucketsOf(bytes32 assetId, address token) external view returns (Bucket[] memory buckets) {
        Queue storage queue = _queues[assetId][token];
        buckets = new Bucket[](queue.last - queue.first + 1);
        for (uint64 i = 0; i < buckets.length; ++i) {
            buckets[i] = queue.buckets[queue.first + i];
        }
    }

    /// @inheritdoc IRevenueRouter
    function dustOf(address token) external view returns (uint256) {
        return _dust[token];
    }

    /// @inheritdoc IRevenueRouter
    function claimableOf(address account, address token) external view returns (uint256) {
        return _claimable[account][token];
    }

    /// @inheritdoc IRevenueRouter
    function owedOf(address token) external view returns (uint256) {
        return _owed[token];
    }

    function _receive(Bucket storage bucket, Source source, bytes32 assetId, address token, uint128 amount, bytes32 ref)
        private
    {
        uint256 owed = _owed[token] + amount;
        uint256 balance = IERC20(token).balanceOf(address(this));
        if (balance < owed) revert RevenueRouter_Unbacked(token, balance, owed);
        _owed[token] = owed;
        bucket.amount += amount;
        emit RevenueReceived(assetId, token, bucket.payee, amount, source, ref);
    }

    function _bucketFor(bytes32 assetId, address token) private returns (Bucket storage) {
        Terms memory terms = termsOf(assetId);
        if (terms.payee == address(0)) revert RevenueRouter_UnknownAsset(assetId);
        return _bucketUnder(assetId, token, terms);
    }

    /// @dev What waits under other terms keeps them: revenue is split by the block in which it was earned.
    function _bucketUnder(bytes32 assetId, address token, Terms memory terms) private returns (Bucket storage bucket) {
        Queue storage queue = _queues[assetId][token];
        bucket = queue.buckets[queue.last];
        bool sameTerms = bucket.payee == terms.payee && bucket.feeBp == terms.feeBp && bucket.splitId == terms.splitId;
        if (sameTerms) return bucket;
        if (!_isEmpty(bucket)) bucket = queue.buckets[++queue.last];
        (bucket.payee, bucket.feeBp, bucket.splitId) = (terms.payee, terms.feeBp, terms.splitId);
    }

    /// @dev `bucket` has left its queue. One hop: what parents get waits with their own revenue.
    function _distribute(bytes32 assetId, address token, Bucket memory bucket) private {
        IAssetRegistry.Parent[] memory parents = _registry.parentsOf(assetId);
        IAssetRegistry.Split memory split = _registry.splitOf(assetId, bucket.splitId);
        Waterfall.Parts memory parts = Waterfall.divide(bucket, parents, split);
        for (uint256 i = 0; i < parents.length; ++i) {
            if (parts.parents[i] == 0) continue;
            Bucket storage to = _bucketFor(parents[i].assetId, token);
            to.royalties += parts.parents[i];
            emit RevenueReceived(parents[i].assetId, token, to.payee, parts.parents[i], Source.Royalty, assetId);
        }
        for (uint256 i = 0; i < parts.contributors.length; ++i) {
            (address account, uint128 amount) = (split.contributors[i].account, parts.contributors[i]);
            _claimable[account][token] += amount;
            emit Distributed(assetId, token, account, amount, 0, amount);
        }
        if (parts.dust != 0) {
            _dust[token] += parts.dust;
            emit DustKept(assetId, token, parts.dust);
        }
        uint128 fee = parts.fee + parts.dust;
        _claimable[_treasury][token] += fee;
        _claimable[bucket.payee][token] += parts.payee;
        emit Distributed(assetId, token, bucket.payee, fee + parts.payee, fee, parts.payee);
    }

    function _payeeOf(address owner) private view returns (address) {
        address payee = _payees[owner];
        return payee == address(0) ? owner : payee;
    }

    function _claim(address token) private returns (uint256 amount) {
        amount = _claimable[msg.sender][token];
        if (amount == 0) return 0;
        delete _claimable[msg.sender][token];
        _owed[token] -= amount;
        emit Claimed(msg.sender, token, amount);
        IERC20(token).safeTransfer(msg.sender, amount);
    }

    function _isEmpty(Bucket memory bucket) private pure returns (bool) {
        return bucket.amount == 0 && bucket.royalties == 0;
    }
}
