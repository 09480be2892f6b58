// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Immutable sale terms
interface IPlanBook {
    /// @notice The terms of a plan; they never change.
    /// @param assetId Asset that the plan sells the use of.
    /// @param currency ERC-20 in which price, unit price and optimistic amount are counted, in its smallest unit.
    /// @param supply Licences that are ever sold, a trial when it is first renewed; 0: no limit.
    /// @param perRecipient Licences that are ever minted to one account, trials too; 0: no limit.
    /// @param price Paid at purchase and at each renewal.
    /// @param period Seconds of one term.
    /// @param includedUnits Units that each term includes.
    /// @param unitPrice Price of a unit beyond them, drawn from a deposit; 0: no units beyond them.
    /// @param trialPeriod Seconds of a free first term, once for each account; 0: no trial.
    /// @param trialUnits Units that it includes; 0 without a trial.
    /// @param meteringRule How units are counted: `request`, `rows:<INPUT NAME>`.
    /// @param requestsPerSecond Rate limit of one licence.
    /// @param transferable Whether a licence may move to another holder.
    /// @param commercial Whether what is called and answered may be used commercially.
    /// @param optimisticUnits Units usable before the purchase is final.
    /// @param optimisticAmount Amount of a deposit usable before it is final.
    /// @param server Operator that serves the plan.
    /// @param breachNotice Seconds between the announcement of a breach and the revocation; 0: never revoked. It is the
    /// plan's refund rule: who revokes pays the price of the time that is left, and nothing else is ever refunded.
    /// @param seats Calls of one licence that run at once; 0: no limit but its rate.
    /// @param termsDigest Digest of the machine-readable terms and their legal text.
    /// @param breachGrounds Digest of the grounds on which a licence is revoked; 0 with a notice of 0.
    struct PlanTerms {
        bytes32 assetId;
        address currency;
        uint64 supply;
        uint32 perRecipient;
        uint128 price;
        uint64 period;
        uint64 includedUnits;
        uint128 unitPrice;
        uint64 trialPeriod;
        uint64 trialUnits;
        string meteringRule;
        uint32 requestsPerSecond;
        bool transferable;
        bool commercial;
        uint64 optimisticUnits;
        uint128 optimisticAmount;
        address server;
        uint64 breachNotice;
        uint32 seats;
        bytes32 termsDigest;
        bytes32 breachGrounds;
    }

    /// @notice What a sale needs of a plan. `limited`: its sales have to be counted.
    struct Offer {
        bytes32 assetId;
        address currency;
        uint128 price;
        uint64 period;
        bool transferable;
        bool limited;
    }

    /// @notice What ending a licence for a breach needs of a plan.
    struct BreachRule {
        bytes32 assetId;
        address currency;
        uint128 price;
        uint64 period;
        uint64 notice;
        uint64 trialPeriod;
    }

    /// @notice A plan is on sale.
    event PlanCreated(uint256 indexed planId, bytes32 indexed assetId, address indexed creator, PlanTerms terms);
    /// @notice A plan takes no purchase and no renewal any more. Licences bought before keep their term.
    event PlanClosed(uint256 indexed planId, bytes32 indexed assetId);

    /// @notice The caller is neither owner of the asset nor approved for it, or the asset is unknown.
    error PlanBook_Unauthorized(bytes32 assetId, address caller);
    /// @notice The currency has no code.
    error PlanBook_InvalidCurrency(address currency);
    /// @notice The period is 0 or longer than `MAX_PERIOD`.
    error PlanBook_InvalidPeriod(uint64 period);
    /// @notice The plan sells no unit: neither included ones nor a price for more.
    error PlanBook_NothingSold();
    /// @notice The metering rule is empty or longer than `MAX_RULE_BYTES`.
    error PlanBook_InvalidMeteringRule(string meteringRule);
    /// @notice The rate limit is 0.
    error PlanBook_InvalidRate();
    /// @notice More units are usable before finality than the term includes.
    error PlanBook_OptimisticAboveIncluded(uint64 optimisticUnits, uint64 includedUnits);
    /// @notice An amount is usable before finality although the plan sells no unit beyond the included ones.
    error PlanBook_OptimisticWithoutPrice(uint128 optimisticAmount);
    /// @notice The server is the zero address.
    error PlanBook_InvalidServer();
    /// @notice The digest of the terms is zero.
    error PlanBook_InvalidTermsDigest();
    /// @notice A notice is 0 or from `MIN_NOTICE` to `MAX_NOTICE`, and grounds are given if and only if it is not 0.
    error PlanBook_InvalidBreachRule(uint64 breachNotice, bytes32 breachGrounds);
    /// @notice A trial has a length of at most the period and includes units, or there is none and both are 0.
    error PlanBook_InvalidTrial(uint64 trialPeriod, uint64 trialUnits);
    /// @notice Only an active LicenseSale counts sales.
    error PlanBook_NotSale(address caller);
    /// @notice All licences of the plan are sold.
    error PlanBook_SoldOut(uint256 planId, uint64 supply);
    /// @notice The account was given as many licences of the plan as one account gets.
    error PlanBook_RecipientLimit(uint256 planId, address recipient, uint32 perRecipient);
    /// @notice The plan has no trial.
    error PlanBook_NoTrial(uint256 planId);
    /// @notice The account has had its trial of the plan.
    error PlanBook_TrialTaken(uint256 planId, address account);
    /// @notice No plan has this id.
    error PlanBook_UnknownPlan(uint256 planId);
    /// @notice The plan is closed.
    error PlanBook_Closed(uint256 planId);
    /// @notice The asset is at home on another chain, and its mirror here does not sell now.
    error PlanBook_MirrorClosed(uint256 planId, bytes32 assetId);

    /// @notice Creates a plan, by the asset's owner or an approved account. Entry: needs the book active in the
    /// Directory.
    /// @return planId Counts from 1.
    function createPlan(PlanTerms calldata terms) external returns (uint256 planId);

    /// @notice Closes a plan for good, by the asset's present owner or an approved account.
    function closePlan(uint256 planId) external;

    /// @notice Counts a licence that is sold to `recipient`, against the plan's limits. LicenseSale only, which asks
    /// `offerOf` before whether there is anything to count.
    function countSale(uint256 planId, address recipient) external;

    /// @notice Counts the trial of `account`, its first and only one of this plan. LicenseSale only. Takes nothing from
    /// the supply: what costs nothing could be taken by anyone.
    /// @return period Seconds of the trial.
    function countTrial(uint256 planId, address account) external returns (uint64 period);

    /// @notice Counts the first term that is paid after a trial, against the plan's supply. LicenseSale only.
    function countConversion(uint256 planId) external;

    /// @notice Terms of a plan. Reverts when it is unknown.
    function termsOf(uint256 planId) external view returns (PlanTerms memory);

    /// @notice Terms of a plan that takes purchases. Reverts when it is unknown or closed.
    function openTermsOf(uint256 planId) external view returns (PlanTerms memory);

    /// @notice The part of `openTermsOf` that a sale needs, for a third of the gas.
    function offerOf(uint256 planId) external view returns (Offer memory);

    /// @notice What ending a licence for a breach needs of a plan, closed or not. Reverts when it is unknown.
    function breachRuleOf(uint256 planId) external view returns (BreachRule memory);

    /// @notice Whether a plan takes purchases; false when it is unknown.
    function isOpen(uint256 planId) external view returns (bool);

    /// @notice Licences sold so far, where the plan limits its supply; 0 otherwise.
    function soldOf(uint256 planId) external view returns (uint64);

    /// @notice What an account got of a plan: licences, where the plan limits them, and whether it had the trial.
    function takenOf(uint256 planId, address account) external view returns (uint32 licenses, bool trial);

    /// @notice Number of plans, the id of the newest one.
    function planCount() external view returns (uint256);
}
