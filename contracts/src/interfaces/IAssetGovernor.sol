// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Votes of the share holders of one asset
/// @notice What a majority decides waits in the asset's timelock and is executed by anyone: versions and plans of the
/// asset, who is paid, what the treasury holds. Votes are those that an account had before the vote began.
interface IAssetGovernor {
    /// @notice How votes go. Later changes are voted on, within the same bounds.
    /// @param votingDelay Seconds from a proposal to the moment that counts for its votes.
    /// @param votingPeriod Seconds that votes are cast; at least the escrow's exit delay.
    /// @param proposalThreshold Votes that a proposer needs.
    /// @param quorumPercent Part of the supply whose votes, for or abstaining, make a decision valid.
    struct Ballot {
        uint48 votingDelay;
        uint32 votingPeriod;
        uint256 proposalThreshold;
        uint256 quorumPercent;
    }

    /// @notice Outside its bounds.
    error AssetGovernor_InvalidVotingDelay(uint256 votingDelay, uint256 least, uint256 most);
    /// @notice Outside its bounds.
    error AssetGovernor_InvalidVotingPeriod(uint256 votingPeriod, uint256 least, uint256 most);
    /// @notice A threshold is not 0 and at most a tenth of the supply, or nobody could propose.
    error AssetGovernor_InvalidThreshold(uint256 proposalThreshold, uint256 most);
    /// @notice A quorum is at least `MIN_QUORUM_PERCENT`.
    error AssetGovernor_InvalidQuorum(uint256 quorumPercent, uint256 least);
    /// @notice The Directory lists no active escrow, whose exit delay is the least voting period.
    error AssetGovernor_NoEscrow();

    /// @notice Makes a clone what it is. Once, by the factory, in the transaction that creates it.
    function initialize(Ballot calldata ballot, address shares, address timelock) external;
}
