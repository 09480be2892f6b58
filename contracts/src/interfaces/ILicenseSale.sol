// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Purchase and renewal of licences
/// @notice Takes the price from the caller straight into the RevenueRouter; holds no money.
interface ILicenseSale {
    /// @notice A licence was bought. `startTime` and `endTime` are Unix seconds.
    event LicensePurchased(
        uint256 indexed tokenId,
        uint256 indexed planId,
        bytes32 indexed assetId,
        address payer,
        address recipient,
        uint128 price,
        uint64 startTime,
        uint64 endTime
    );
    /// @notice A licence was renewed. `ordinal` counts renewals from 1 and names the new grant window.
    event LicenseRenewed(
        uint256 indexed tokenId,
        uint256 indexed planId,
        bytes32 indexed assetId,
        address payer,
        uint128 price,
        uint64 endTime,
        uint32 ordinal
    );

    /// @notice The plan costs more than the caller allows.
    error LicenseSale_PriceAboveMax(uint128 price, uint128 maxPrice);
    /// @notice The token delivered another amount than the price (a fee on transfer, for one).
    error LicenseSale_AmountMismatch(address token, uint256 expected, uint256 received);
    /// @notice No RevenueRouter is active.
    error LicenseSale_NoRouter();

    /// @notice Buys a licence of a plan for `recipient` with the caller's money. Entry: needs the sale active in the
    /// Directory and the plan open.
    /// @param maxPrice The most the caller pays, in the plan's currency.
    function purchase(uint256 planId, address recipient, uint128 maxPrice) external returns (uint256 tokenId);

    /// @notice Adds one period to a licence, from its end or from now, whichever is later. Anyone may pay. Entry: as
    /// `purchase`.
    function renew(uint256 tokenId, uint128 maxPrice) external returns (uint32 ordinal);
}
