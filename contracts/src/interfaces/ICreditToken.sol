// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title What a series of credits adds to ERC-20
interface ICreditToken {
    /// @notice Only `credits` says what moved.
    error CreditToken_NotCredits(address caller);

    /// @notice The contract that holds the balances.
    function credits() external view returns (address);

    /// @notice Tells a movement that `credits` made, as ERC-20 wants it.
    function tell(address from, address to, uint256 units) external;
}
