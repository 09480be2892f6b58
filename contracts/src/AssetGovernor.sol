// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {GovernorUpgradeable} from "@openzeppelin/contracts-upgradeable/governance/GovernorUpgradeable.sol";
import {
    TimelockControllerUpgradeable
} from "@openzeppelin/contracts-upgradeable/governance/TimelockControllerUpgradeable.sol";
import {
    GovernorCountingSimpleUpgradeable
} from "@openzeppelin/contracts-upgradeable/governance/extensions/GovernorCountingSimpleUpgradeable.sol";
import {
    GovernorSettingsUpgradeable
} from "@openzeppelin/contracts-upgradeable/governance/extensions/GovernorSettingsUpgradeable.sol";
import {
    GovernorTimelockControlUpgradeable
} from "@openzeppelin/contracts-upgradeable/governance/extensions/GovernorTimelockControlUpgradeable.sol";
import {
    GovernorVotesQuorumFractionUpgradeable
} from "@openzeppelin/contracts-upgradeable/governance/extensions/GovernorVotesQuorumFractionUpgradeable.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IAssetGovernor} from "./interfaces/IAssetGovernor.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IUsageEscrow} from "./interfaces/IUsageEscrow.sol";
import {Names} from "./libraries/Names.sol";

/// @title Votes of the share holders of one asset
contract AssetGovernor is
    IAssetGovernor,
    GovernorSettingsUpgradeable,
    GovernorCountingSimpleUpgradeable,
    GovernorVotesQuorumFractionUpgradeable,
    GovernorTimelockControlUpgradeable
{
    /// @notice Longest wait before and during a vote: a longer one is a mistake.
    uint256 public constant MAX_DURATION = 30 days;
    /// @notice Least part of the supply that makes a decision valid.
    uint256 public constant MIN_QUORUM_PERCENT = 1;
    /// @notice The threshold is at most the supply divided by this.
    uint256 public constant THRESHOLD_PART = 10;

    IDirectory private immutable _directory;

    constructor(IDirectory directory) {
        _directory = directory;
        _disableInitializers();
    }

    /// @inheritdoc IAssetGovernor
    function initialize(Ballot calldata ballot, address shares, address timelock_) external initializer {
        __Governor_init("Licet Asset Governor");
        // Before the settings, whose bounds depend on the supply.
        __GovernorVotes_init(IVotes(shares));
        __GovernorSettings_init(ballot.votingDelay, ballot.votingPeriod, ballot.proposalThreshold);
        __GovernorVotesQuorumFraction_init(ballot.quorumPercent);
        __GovernorTimelockControl_init(TimelockControllerUpgradeable(payable(timelock_)));
    }

    /// @notice State of a proposal, with what the timelock says about it.
    function state(uint256 proposalId)
        public
        view
        override(GovernorUpgradeable, GovernorTimelockControlUpgradeable)
        returns (ProposalState)
    {
        return super.state(proposalId);
    }

    /// @notice Whether a proposal waits in the timelock before it is executed: always.
    function proposalNeedsQueuing(uint256 proposalId)
        public
        view
        override(GovernorUpgradeable, GovernorTimelockControlUpgradeable)
        returns (bool)
    {
        return super.proposalNeedsQueuing(proposalId);
    }

    /// @notice Votes that a proposer needs.
    function proposalThreshold()
        public
        view
        override(GovernorUpgradeable, GovernorSettingsUpgradeable)
        returns (uint256)
    {
        return super.proposalThreshold();
    }

    function _setVotingDelay(uint48 newVotingDelay) internal override {
        // Not 0: votes that are borrowed in the transaction of the proposal must not count.
        if (newVotingDelay == 0 || newVotingDelay > MAX_DURATION) {
            revert AssetGovernor_InvalidVotingDelay(newVotingDelay, 1, MAX_DURATION);
        }
        super._setVotingDelay(newVotingDelay);
    }

    function _setVotingPeriod(uint32 newVotingPeriod) internal override {
        address escrow = _directory.activeOf(Names.USAGE_ESCROW);
        if (escrow == address(0)) revert AssetGovernor_NoEscrow();
        uint256 least = IUsageEscrow(escrow).exitDelay();
        if (newVotingPeriod < least || newVotingPeriod > MAX_DURATION) {
            revert AssetGovernor_InvalidVotingPeriod(newVotingPeriod, least, MAX_DURATION);
        }
        super._setVotingPeriod(newVotingPeriod);
    }

    function _setProposalThreshold(uint256 newThreshold) internal override {
        uint256 most = IERC20(address(token())).totalSupply() / THRESHOLD_PART;
        if (newThreshold == 0 || newThreshold > most) revert AssetGovernor_InvalidThreshold(newThreshold, most);
        super._setProposalThreshold(newThreshold);
    }

    function _updateQuorumNumerator(uint256 newQuorum) internal override {
        if (newQuorum < MIN_QUORUM_PERCENT) revert AssetGovernor_InvalidQuorum(newQuorum, MIN_QUORUM_PERCENT);
        super._updateQuorumNumerator(newQuorum);
    }

    function _queueOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(GovernorUpgradeable, GovernorTimelockControlUpgradeable) returns (uint48) {
        return super._queueOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _executeOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(GovernorUpgradeable, GovernorTimelockControlUpgradeable) {
        super._executeOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _cancel(
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(GovernorUpgradeable, GovernorTimelockControlUpgradeable) returns (uint256) {
        return super._cancel(targets, values, calldatas, descriptionHash);
    }

    function _executor()
        internal
        view
        override(GovernorUpgradeable, GovernorTimelockControlUpgradeable)
        returns (address)
    {
        return super._executor();
    }
}
