// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IPlanBook} from "./interfaces/IPlanBook.sol";

/// @title Immutable sale terms
contract PlanBook is IPlanBook {
    /// @notice Longest term, ten years: a longer one is a mistake.
    uint64 public constant MAX_PERIOD = 3650 days;
    /// @notice Longest metering rule.
    uint256 public constant MAX_RULE_BYTES = 64;
    /// @notice Shortest notice of a revocation: time for its holder to answer.
    uint64 public constant MIN_NOTICE = 7 days;
    /// @notice Longest notice, a quarter: a longer one is a mistake.
    uint64 public constant MAX_NOTICE = 90 days;

    IDirectory private immutable _directory;
    IAssetRegistry private immutable _registry;

    uint256 private _planCount;
    mapping(uint256 planId => PlanTerms) private _terms;
    mapping(uint256 planId => bool) private _closed;

    constructor(IDirectory directory, IAssetRegistry registry) {
        _directory = directory;
        _registry = registry;
    }

    /// @inheritdoc IPlanBook
    function createPlan(PlanTerms calldata terms) external returns (uint256 planId) {
        _directory.requireActive(address(this));
        _requireAuthorized(terms.assetId);
        _checkMoney(terms);
        _checkUse(terms);
        planId = ++_planCount;
        _terms[planId] = terms;
        emit PlanCreated(planId, terms.assetId, msg.sender, terms);
    }

    /// @inheritdoc IPlanBook
    function closePlan(uint256 planId) external {
        _requireOpen(planId);
        bytes32 assetId = _terms[planId].assetId;
        _requireAuthorized(assetId);
        _closed[planId] = true;
        emit PlanClosed(planId, assetId);
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
        return Offer(terms.assetId, terms.currency, terms.price, terms.period, terms.transferable);
    }

    /// @inheritdoc IPlanBook
    function breachRuleOf(uint256 planId) external view returns (BreachRule memory) {
        _requireKnown(planId);
        PlanTerms storage terms = _terms[planId];
        return BreachRule(terms.assetId, terms.currency, terms.price, terms.period, terms.breachNotice);
    }

    /// @inheritdoc IPlanBook
    function isOpen(uint256 planId) external view returns (bool) {
        return planId != 0 && planId <= _planCount && !_closed[planId];
    }

    /// @inheritdoc IPlanBook
    function planCount() external view returns (uint256) {
        return _planCount;
    }

    function _requireKnown(uint256 planId) private view {
        // An asset's id is never 0, and a sale reads it anyway.
        if (_terms[planId].assetId == 0) revert PlanBook_UnknownPlan(planId);
    }

    function _requireOpen(uint256 planId) private view {
        _requireKnown(planId);
        if (_closed[planId]) revert PlanBook_Closed(planId);
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
