// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {GovernorCountingSimple} from "@openzeppelin/contracts/governance/extensions/GovernorCountingSimple.sol";
import {GovernorTimelockAccess} from "@openzeppelin/contracts/governance/extensions/GovernorTimelockAccess.sol";
import {GovernorVotes} from "@openzeppelin/contracts/governance/extensions/GovernorVotes.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";
import {IProtocolGovernor} from "./interfaces/IProtocolGovernor.sol";

/// @title Votes of the holders of the network token
contract ProtocolGovernor is IProtocolGovernor, GovernorCountingSimple, GovernorVotes, GovernorTimelockAccess {
    /// @notice Time to gather votes before they are counted; what is borrowed when a vote is proposed counts for nothing.
    uint48 private constant VOTING_DELAY = 1 days;
    /// @notice Time to vote: longer than a usual exit takes.
    uint32 private constant VOTING_PERIOD = 5 days;
    /// @notice Votes of a proposer, a thousandth of the supply.
    uint256 private constant PROPOSAL_THRESHOLD = 1_000_000e18;
    /// @notice Percent of the supply that has to take part.
    uint256 private constant QUORUM_PERCENT = 4;
    /// @notice Least wait between a decision and what it does: an exit's usual delay.
    uint32 public constant MIN_DELAY = 72 hours;

    constructor(IVotes networkToken, address manager)
        Governor("Licet Protocol Governor")
        GovernorVotes(networkToken)
        GovernorTimelockAccess(manager, MIN_DELAY)
    {}

    /// @notice Seconds between a proposal and the moment whose votes count.
    function votingDelay() public pure override returns (uint256) {
        return VOTING_DELAY;
    }

    /// @notice Seconds in which votes are cast.
    function votingPeriod() public pure override returns (uint256) {
        return VOTING_PERIOD;
    }

    /// @notice Votes that a proposer needs.
    function proposalThreshold() public pure override returns (uint256) {
        return PROPOSAL_THRESHOLD;
    }

    /// @notice Votes for and abstained without which nothing is decided.
    function quorum(uint256 timepoint) public view override returns (uint256) {
        return token().getPastTotalSupply(timepoint) * QUORUM_PERCENT / 100;
    }

    /// @notice Creates a proposal, and plans by which way each of its calls goes.
    function propose(
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        string memory description
    ) public override(Governor, GovernorTimelockAccess) returns (uint256) {
        return super.propose(targets, values, calldatas, description);
    }

    /// @notice Whether a proposal waits before it is executed: always.
    function proposalNeedsQueuing(uint256 proposalId)
        public
        view
        override(Governor, GovernorTimelockAccess)
        returns (bool)
    {
        return super.proposalNeedsQueuing(proposalId);
    }

    /// @dev No vote shortens the wait of the next one.
    function _setBaseDelaySeconds(uint32 newBaseDelay) internal override {
        if (newBaseDelay < MIN_DELAY) revert ProtocolGovernor_DelayTooShort(newBaseDelay, MIN_DELAY);
        super._setBaseDelaySeconds(newBaseDelay);
    }

    function _queueOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockAccess) returns (uint48) {
        return super._queueOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _executeOperations(
        uint256 proposalId,
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockAccess) {
        super._executeOperations(proposalId, targets, values, calldatas, descriptionHash);
    }

    function _cancel(
        address[] memory targets,
        uint256[] memory values,
        bytes[] memory calldatas,
        bytes32 descriptionHash
    ) internal override(Governor, GovernorTimelockAccess) returns (uint256) {
        return super._cancel(targets, values, calldatas, descriptionHash);
    }
}
