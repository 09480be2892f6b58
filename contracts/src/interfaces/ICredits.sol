// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ILicenseSale} from "./ILicenseSale.sol";

/// @title Prepaid units of an asset
/// @notice A series is units of one plan at one price, with one end. They are paid in full when they are issued, and the
/// money stays here: behind every unit there is its price until it is redeemed or has expired.
///
/// A series is an ERC-1155 id, and an ERC-20 token whose address is that id, over the same balances. By the token units
/// are deposited in the escrow (`UsageEscrow.deposit`), where alone they can be used. What a settlement drew is redeemed
/// when it is released: the units end, and their money is the asset's revenue. Nothing else redeems them.
interface ICredits {
    /// @notice Units that are sold on the same terms; they never change.
    /// @param planId Plan whose server serves them, and which counts the units.
    /// @param assetId The plan's asset.
    /// @param currency The plan's currency.
    /// @param unitPrice Price of a unit, in the currency's smallest unit.
    /// @param supply Units that are ever issued.
    /// @param expiresAt When units that are not in an escrow end, Unix seconds.
    /// @param transferable Whether units may move between holders.
    struct Series {
        uint256 planId;
        bytes32 assetId;
        address currency;
        uint128 unitPrice;
        uint64 supply;
        uint64 expiresAt;
        bool transferable;
    }

    /// @notice A series is on sale; `token` is its id as an address.
    event SeriesOpened(address indexed token, uint256 indexed planId, bytes32 indexed assetId, Series series);
    /// @notice Units were paid for.
    event CreditsIssued(
        address indexed token,
        bytes32 indexed assetId,
        address indexed recipient,
        address payer,
        uint128 units,
        uint128 price
    );
    /// @notice Units that a settlement drew ended, and their money went to the RevenueRouter.
    event CreditsRedeemed(address indexed token, bytes32 indexed assetId, uint128 units, uint128 amount);
    /// @notice Units that nobody used ended, and their money went to the RevenueRouter.
    event CreditsExpired(
        address indexed token, bytes32 indexed assetId, address indexed holder, uint128 units, uint128 amount
    );

    /// @notice The caller is neither owner of the plan's asset nor approved for it.
    error Credits_Unauthorized(bytes32 assetId, address caller);
    /// @notice The plan takes no purchases.
    error Credits_PlanClosed(uint256 planId);
    /// @notice Price and supply are above 0, and what the whole supply costs fits into 128 bits.
    error Credits_InvalidSupply(uint128 unitPrice, uint64 supply);
    /// @notice A series ends after now, and within `MAX_TERM`.
    error Credits_InvalidExpiry(uint64 expiresAt);
    /// @notice No series has this id.
    error Credits_UnknownSeries(uint256 seriesId);
    /// @notice The series has ended.
    error Credits_Expired(uint256 seriesId, uint64 expiresAt);
    /// @notice The series has not ended.
    error Credits_NotExpired(uint256 seriesId, uint64 expiresAt);
    /// @notice Amounts are above 0.
    error Credits_ZeroUnits();
    /// @notice The series has only `left` units.
    error Credits_SoldOut(uint256 seriesId, uint64 left);
    /// @notice The units cost more than the caller pays at most.
    error Credits_PriceAboveMax(uint128 price, uint128 maxPrice);
    /// @notice The currency delivered another amount than asked for (a fee on transfer, for one).
    error Credits_AmountMismatch(address currency, uint256 expected, uint256 received);
    /// @notice The series does not move between holders.
    error Credits_NotTransferable(uint256 seriesId);
    /// @notice An escrow gets units by `deposit` alone, and a RevenueRouter by a release; otherwise they would be lost.
    error Credits_NotByDeposit(uint256 seriesId, address to);
    /// @notice Only a RevenueRouter redeems units, and only as revenue of their asset.
    error Credits_NotRedeemable(uint256 seriesId, address caller, bytes32 assetId);
    /// @notice What is in an escrow, or on its way from it, does not expire.
    error Credits_InEscrow(uint256 seriesId, address holder);
    /// @notice Only the series' token moves units in the name of others.
    error Credits_NotToken(address caller);
    /// @notice No RevenueRouter is active.
    error Credits_NoRouter();

    /// @notice Opens a series of a plan, by the owner of its asset or an approved account. Entry: needs this contract
    /// active in the Directory and the plan open.
    /// @return token ERC-20 over the series; the series' id is its address as a number.
    function openSeries(uint256 planId, uint128 unitPrice, uint64 supply, uint64 expiresAt, bool transferable)
        external
        returns (address token);

    /// @notice Issues units to `recipient`, paid by the caller from its allowance. Entry, as `openSeries`.
    function issue(address token, address recipient, uint64 units, uint128 maxPrice) external returns (uint128 price);

    /// @notice As `issue`, with an ERC-2612 permit for `maxPrice`; a permit that somebody else sent first has done its
    /// work all the same.
    function issueWithPermit(
        address token,
        address recipient,
        uint64 units,
        uint128 maxPrice,
        ILicenseSale.PermitSignature calldata permit
    ) external returns (uint128 price);

    /// @notice Ends units that the calling RevenueRouter got from an escrow, and pays it their money.
    /// @return currency What was paid.
    /// @return amount How much of it.
    function redeem(address token, bytes32 assetId, uint128 units) external returns (address currency, uint128 amount);

    /// @notice Ends the units of these holders after the end of their series; their money is the asset's revenue. Anyone
    /// may call. What is in an escrow stays usable for what was used before, and comes back to its payer by an exit.
    function expire(address token, address[] calldata holders) external;

    /// @notice Moves units for the series' token, whose rules of allowances are its own.
    function moveFor(address mover, address from, address to, uint256 units) external;

    /// @notice A series. Reverts when it is unknown.
    function seriesOf(address token) external view returns (Series memory);

    /// @notice Whether this is the token of a series.
    function isSeries(address token) external view returns (bool);

    /// @notice Units of a series that were ever issued.
    function issuedOf(address token) external view returns (uint64);

    /// @notice The money behind all units in a currency; never above the balance.
    function backingOf(address currency) external view returns (uint256);

    /// @notice Number of series.
    function seriesCount() external view returns (uint256);
}
