// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC7943Fungible} from "./IERC7943.sol";

/// @title Fractional ownership of one asset (ERC-20, ERC-2612, ERC-7943, ERC-5805 where they vote)
/// @notice A fixed supply, a clone for each asset. What the asset earns is collected from the RevenueRouter and belongs
/// to those who hold shares at the first movement in a later second, each in proportion; a transfer afterwards takes
/// none of it along. Nothing is taken by holding shares within one transaction only.
interface IShares is IERC7943Fungible {
    /// @notice Shares for one account when the supply is created. `end` 0: free at once; otherwise they earn and vote
    /// at once and may be moved as they vest, nothing before `cliff`, all from `end` on.
    struct Allocation {
        address to;
        uint128 amount;
        uint40 start;
        uint40 cliff;
        uint40 end;
    }

    /// @notice What the shares of an asset are. Fixed, but for currencies, which the asset's timelock may add.
    /// @param gate Asked about every movement, and may freeze and force (ERC-7943); the zero address: open to all.
    /// @param votes Whether shares vote.
    /// @param currencies Tokens whose revenue is shared out.
    /// @param excluded Accounts whose shares earn nothing.
    struct Terms {
        string name;
        string symbol;
        address gate;
        bool votes;
        address[] currencies;
        address[] excluded;
        Allocation[] allocations;
    }

    /// @notice Shares of one account that vest in a line from `start` to `end`, none before `cliff`.
    struct Grant {
        uint128 amount;
        uint40 start;
        uint40 cliff;
        uint40 end;
    }

    /// @notice Revenue came in. `received` is all that ever did in this currency.
    event RevenueCollected(address indexed router, address indexed currency, uint128 amount, uint128 received);
    /// @notice A holder was paid.
    event RevenueClaimed(address indexed account, address indexed currency, uint128 amount);
    /// @notice What was claimed went to somebody whom the holder named.
    event PaidInstead(address indexed account, address indexed to);
    /// @notice Revenue in this token is shared out from now on.
    event CurrencyAdded(address indexed currency);
    /// @notice Shares of the account vest.
    event Granted(address indexed account, uint128 amount, uint40 start, uint40 cliff, uint40 end);
    /// @notice The shares of this account earn nothing.
    event Excluded(address indexed account);

    /// @notice The supply is below `MIN_SUPPLY` or above `MAX_SUPPLY`.
    error Shares_InvalidSupply(uint256 supply);
    /// @notice More allocations, exclusions or currencies than there may be.
    error Shares_TooMany(uint256 count, uint256 most);
    /// @notice The token has no code, or is shared out already.
    error Shares_InvalidCurrency(address currency);
    /// @notice Revenue in this token is not shared out.
    error Shares_UnknownCurrency(address currency);
    /// @notice A grant has an amount, is in order, ends later than now and within `MAX_VESTING`.
    error Shares_InvalidGrant(address account, uint40 start, uint40 cliff, uint40 end);
    /// @notice The account has a grant that is not over.
    error Shares_GrantOpen(address account, uint40 end);
    /// @notice Of the account's shares only `free` have vested or never had to.
    error Shares_Unvested(address account, uint256 amount, uint256 free);
    /// @notice Only the asset's timelock may.
    error Shares_NotTimelock(address caller);
    /// @notice Only the gate named at creation may.
    error Shares_NotGate(address caller);
    /// @notice The Directory never listed this as a RevenueRouter.
    error Shares_NotRouter(address router);
    /// @notice These shares do not vote.
    error Shares_WithoutVotes();
    /// @notice More than the accumulator could ever share out; it stays in the router.
    error Shares_TooMuch(address currency, uint256 amount);
    /// @notice The caller has nothing to claim.
    error Shares_NothingToClaim(address account, address currency);
    /// @notice The gate refuses to pay this account what the holder has earned; it stays the holder's.
    error Shares_CannotBePaid(address account, address to);
    /// @notice The account's votes are with somebody who may have them.
    error Shares_DelegateMayVote(address account, address delegatee);

    /// @notice Makes a clone what it is. Once, by the factory, in the transaction that creates it.
    function initialize(Terms calldata terms, bytes32 assetId, address timelock) external;

    /// @notice Collects what a router owes these shares in a currency. Anyone may call. Exit: open in every state.
    function collect(address router, address currency) external returns (uint128 amount);

    /// @notice Pays the caller what its shares have earned. Exit: open in every state, for frozen shares too, to whom
    /// the gate lets be paid.
    function claim(address currency) external returns (uint128 amount);

    /// @notice Pays it to somebody whom the caller names. Exit, as `claim`.
    function claimTo(address currency, address to) external returns (uint128 amount);

    /// @notice Ends the delegation of an account to one that the gate does not let vote any more. Anyone may call.
    function endDelegation(address account) external;

    /// @notice Gives shares of the timelock's to an account under a vesting schedule. By the timelock.
    function grant(Allocation calldata allocation) external;

    /// @notice Shares out revenue in one more token. By the timelock.
    function addCurrency(address currency) external;

    /// @notice What the account can claim in a currency, or could after the next movement.
    function claimableOf(address account, address currency) external view returns (uint256);

    /// @notice All that ever came in, and what of it waits for the next second or for enough shares that earn.
    function revenueOf(address currency) external view returns (uint128 received, uint128 waiting);

    /// @notice Tokens whose revenue is shared out.
    function currencies() external view returns (address[] memory);

    /// @notice Shares that earn: all but those of excluded accounts.
    function earningSupply() external view returns (uint256);

    /// @notice Whether the account's shares earn nothing.
    function isExcluded(address account) external view returns (bool);

    /// @notice The latest grant of an account.
    function grantOf(address account) external view returns (Grant memory);

    /// @notice Shares of the account that have not vested yet.
    function unvestedOf(address account) external view returns (uint256);

    /// @notice Asset whose shares these are.
    function assetId() external view returns (bytes32);

    /// @notice Timelock of the asset.
    function timelock() external view returns (address);

    /// @notice Gate that is asked about movements, the zero address when there is none.
    function gate() external view returns (address);

    /// @notice Whether shares vote.
    function hasVotes() external view returns (bool);
}
