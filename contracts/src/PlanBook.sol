// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IPlanBook} from "./interfaces/IPlanBook.sol";
import {Names} from "./libraries/Names.sol";

/// @title Immutable sale terms
contract PlanBook is IPlanBook {
    struct Taken {
        uint32 licenses;
        bool trial;
    }

    /// @notice Longest term, ten years: a longer one is a mistake.
    uint64 public constant MAX_PERIOD = 3650 days;
    /// @notice Longest metering rule.
    uint256 public constant MAX_RULE_BYTES = 64;
    /// @notice Shortest notice of a revocation: time for its holder to answer.
    uint64 public constant MIN_NOTICE = 7 days;
    /// @notice Longest notice, a quarter: a longer one is a mistake.
    uint64 public constant MAX_NOTICE = 90 days;

    /// @dev Whether the asset is at home here never changes, so a plan of one that is asks nobody when it sells.
    struct State {
        bool closed;
        bool mirrored;
    }

    IDirectory private immutable _directory;
    IAssetRegistry private immutable _registry;

    uint256 private _planCount;
    mapping(uint256 planId => PlanTerms) private _terms;
    mapping(uint256 planId => State) private _states;
    mapping(uint256 planId => uint64) private _sold;
    mapping(uint256 planId => mapping(address account => Taken)) private _taken;

    constructor(IDirectory directory, IAssetRegistry registry) {
        _directory = directory;
        _registry = registry;
    }

    modifier onlySale() {
        if (
            _directory.nameOf(msg.sender) != Names.LICENSE_SALE
                || _directory.statusOf(msg.sender) != IDirectory.Status.Active
        ) revert PlanBook_NotSale(msg.sender);
        _;
    }

    /// @inheritdoc IPlanBook
    function createPlan(PlanTerms calldata terms) external returns (uint256 planId) {
        _directory.requireActive(address(this));
        _requireAuthorized(terms.assetId);
        _checkMoney(terms);
        _checkTrial(terms);
        _checkUse(terms);
        planId = ++_planCount;
        _terms[planId] = terms;
        if (_registry.tokenIdOf(terms.assetId) == 0) _states[planId].mirrored = true;
        emit PlanCreated(planId, terms.assetId, msg.sender, terms);
    }

    /// @inheritdoc IPlanBook
    function closePlan(uint256 planId) external {
        _requireKnown(planId);
        if (_states[planId].closed) revert PlanBook_Closed(planId);
        bytes32 assetId = _terms[planId].assetId;
        _requireAuthorized(assetId);
        _states[planId].closed = true;
        emit PlanClosed(planId, assetId);
    }

    /// @inheritdoc IPlanBook
    function countSale(uint256 planId, address recipient) external onlySale {
        _requireOpen(planId);
        _countSold(planId);
        _countRecipient(planId, recipient);
    }

    /// @inheritdoc IPlanBook
    function countTrial(uint256 planId, address account) external onlySale returns (uint64 period) {
        _requireOpen(planId);
        period = _terms[planId].trialPeriod;
        if (period == 0) revert PlanBook_NoTrial(planId);
        if (_taken[planId][account].trial) revert PlanBook_TrialTaken(planId, account);
        _taken[planId][account].trial = true;
        _countRecipient(planId, account);
    }

    /// @inheritdoc IPlanBook
    function countConversion(uint256 planId) external onlySale {
        _requireOpen(planId);
        _countSold(planId);
    }

    /// @inheritdoc IPlanBook
    function termsOf(uint256 planId) external view returns (PlanTerms memory) {
        _requireKnown(planId);
        return _terms[planId];
    }

    /// @inheritdoc IPlanBook
    function openTermsOf(uint256 planId) external view returns (PlanTerms memory) {
        _requireOpen(planId);
        return _terms[planId];
    }

    /// @inheritdoc IPlanBook
    function offerOf(uint256 planId) external view returns (Offer memory) {
        _requireOpen(planId);
        PlanTerms storage terms = _terms[planId];
        bool limited = terms.supply != 0 || terms.perRecipient != 0;
        return Offer(terms.assetId, terms.currency, terms.price, terms.period, terms.transferable, limited);
    }

    /// @inheritdoc IPlanBook
    function breachRuleOf(uint256 planId) external view returns (BreachRule memory) {
        _requireKnown(planId);
        PlanTerms storage terms = _terms[planId];
        return
            BreachRule(terms.assetId, terms.currency, terms.price, terms.period, terms.breachNotice, terms.trialPeriod);
    }

    /// @inheritdoc IPlanBook
    function isOpen(uint256 planId) external view returns (bool) {
        State memory state = _states[planId];
        if (planId == 0 || planId > _planCount || state.closed) return false;
        return !state.mirrored || _registry.isOnSale(_terms[planId].assetId);
    }

    /// @inheritdoc IPlanBook
    function soldOf(uint256 planId) external view returns (uint64) {
        return _sold[planId];
    }

    /// @inheritdoc IPlanBook
    function takenOf(uint256 planId, address account) external view returns (uint32 licenses, bool trial) {
        Taken storage taken = _taken[planId][account];
        return (taken.licenses, taken.trial);
    }

    /// @inheritdoc IPlanBook
    function planCount() external view returns (uint256) {
        return _planCount;
    }

    function _countSold(uint256 planId) private {
        uint64 supply = _terms[planId].supply;
        if (supply == 0) return;
        if (_sold[planId] == supply) revert PlanBook_SoldOut(planId, supply);
        ++_sold[planId];
    }

    function _countRecipient(uint256 planId, address recipient) private {
        uint32 most = _terms[planId].perRecipient;
        if (most == 0) return;
        Taken storage taken = _taken[planId][recipient];
        if (taken.licenses == most) revert PlanBook_RecipientLimit(planId, recipient, most);
        ++taken.licenses;
    }

    function _requireKnown(uint256 planId) private view {
        // An asset's id is never 0, and a sale reads it anyway.
        if (_terms[planId].assetId == 0) revert PlanBook_UnknownPlan(planId);
    }

    function _requireOpen(uint256 planId) private view {
        _requireKnown(planId);
        State memory state = _states[planId];
        if (state.closed) revert PlanBook_Closed(planId);
        if (!state.mirrored) return;
        bytes32 assetId = _terms[planId].assetId;
        if (!_registry.isOnSale(assetId)) revert PlanBook_MirrorClosed(planId, assetId);
    }

    function _requireAuthorized(bytes32 assetId) private view {
        if (!_registry.isAuthorized(assetId, msg.sender)) revert PlanBook_Unauthorized(assetId, msg.sender);
    }

    function _checkMoney(PlanTerms calldata terms) private view {
        if (terms.currency.code.length == 0) revert PlanBook_InvalidCurrency(terms.currency);
        if (terms.includedUnits == 0 && terms.unitPrice == 0) revert PlanBook_NothingSold();
        if (terms.optimisticUnits > terms.includedUnits) {
            revert PlanBook_OptimisticAboveIncluded(terms.optimisticUnits, terms.includedUnits);
        }
        if (terms.optimisticAmount != 0 && terms.unitPrice == 0) {
            revert PlanBook_OptimisticWithoutPrice(terms.optimisticAmount);
        }
    }

    function _checkTrial(PlanTerms calldata terms) private pure {
        if ((terms.trialPeriod == 0) != (terms.trialUnits == 0) || terms.trialPeriod > terms.period) {
            revert PlanBook_InvalidTrial(terms.trialPeriod, terms.trialUnits);
        }
    }

    function _checkUse(PlanTerms calldata terms) private pure {
        if (terms.period == 0 || terms.period > MAX_PERIOD) revert PlanBook_InvalidPeriod(terms.period);
        uint256 ruleBytes = bytes(terms.meteringRule).length;
        if (ruleBytes == 0 || ruleBytes > MAX_RULE_BYTES) revert PlanBook_InvalidMeteringRule(terms.meteringRule);
        if (terms.requestsPerSecond == 0) revert PlanBook_InvalidRate();
        if (terms.server == address(0)) revert PlanBook_InvalidServer();
        if (terms.termsDigest == 0) revert PlanBook_InvalidTermsDigest();
        bool isRevocable = terms.breachNotice != 0;
        bool isBounded = terms.breachNotice >= MIN_NOTICE && terms.breachNotice <= MAX_NOTICE;
        if (isRevocable != (terms.breachGrounds != 0) || (isRevocable && !isBounded)) {
            revert PlanBook_InvalidBreachRule(terms.breachNotice, terms.breachGrounds);
        }
    }
}
