// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Votes on the protocol (ERC-20 with ERC-2612 and votes by time)
/// @notice Its supply is made once, at the deployment, which states who gets what. Nobody can make or destroy more. Votes
/// count for those who delegated them, to themselves for instance.
interface INetworkToken {
    /// @notice Accounts and amounts are in pairs, none is empty, and together they are the whole supply.
    error NetworkToken_InvalidDistribution(uint256 accounts, uint256 amounts, uint256 total);
}
