// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Purchases} from "../libraries/Purchases.sol";

/// @title Purchase and renewal of licences
/// @notice Takes the price from the payer into the RevenueRouter; holds no money between transactions. The payer is
/// the caller, or whoever signed a purchase intent that any caller may bring.
interface ILicenseSale {
    /// @notice A caller's ERC-2612 permit for this contract over the call's `maxPrice`.
    struct PermitSignature {
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @notice A licence was bought, or its trial began. `startTime` and `endTime` are Unix seconds.
    event LicensePurchased(
        uint256 indexed tokenId,
        uint256 indexed planId,
        bytes32 indexed assetId,
        address payer,
        address recipient,
        uint128 price,
        uint64 startTime,
        uint64 endTime,
        bool trial
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

    /// @notice The plan costs more than the payer allows.
    error LicenseSale_PriceAboveMax(uint128 price, uint128 maxPrice);
    /// @notice The intent's deadline is reached.
    error LicenseSale_IntentExpired(uint64 deadline);
    /// @notice The token delivered another amount than the price (a fee on transfer, for one).
    error LicenseSale_AmountMismatch(address token, uint256 expected, uint256 received);
    /// @notice No RevenueRouter is active.
    error LicenseSale_NoRouter();

    /// @notice Buys a licence of a plan for `recipient` with the caller's money. Entry: needs the sale active in the
    /// Directory and the plan open.
    /// @param maxPrice The most the caller pays, in the plan's currency.
    function purchase(uint256 planId, address recipient, uint128 maxPrice) external returns (uint256 tokenId);

    /// @notice As `purchase`, with an ERC-2612 permit of the caller over `maxPrice` in place of an approval. A permit
    /// that somebody sent first has done its work all the same.
    function purchaseWithPermit(uint256 planId, address recipient, uint128 maxPrice, PermitSignature calldata permit)
        external
        returns (uint256 tokenId);

    /// @notice As `purchase`, for a signer whom anyone may bring. `signature` is EIP-3009's `ReceiveWithAuthorization`
    /// over the price to this contract, valid after 0 and before the intent's deadline, with `intentDigest` as nonce.
    /// So it pays for this plan and recipient, once, here. An account with code (ERC-1271) needs a token that takes
    /// its signature as bytes.
    /// @param payer Signer, whose money it is.
    function purchaseWithAuthorization(
        address payer,
        Purchases.PurchaseIntent calldata intent,
        bytes calldata signature
    ) external returns (uint256 tokenId);

    /// @notice As `purchaseWithAuthorization`, for any token that the payer has approved for Permit2. `signature` is
    /// Permit2's `PermitWitnessTransferFrom` over at most `maxPrice`, with this contract as spender, the intent as
    /// witness, and the intent's nonce and deadline.
    function purchaseWithPermit2(address payer, Purchases.PurchaseIntent calldata intent, bytes calldata signature)
        external
        returns (uint256 tokenId);

    /// @notice Begins the caller's trial of a plan: a licence that costs nothing, ends with the trial and can be renewed
    /// into full terms. Once for each account and plan. Entry: as `purchase`.
    function startTrial(uint256 planId) external returns (uint256 tokenId);

    /// @notice Adds one period to a licence, from its end or from now, whichever is later. Anyone may pay. Entry: as
    /// `purchase`.
    function renew(uint256 tokenId, uint128 maxPrice) external returns (uint32 ordinal);

    /// @notice As `renew`, with a permit as in `purchaseWithPermit`.
    function renewWithPermit(uint256 tokenId, uint128 maxPrice, PermitSignature calldata permit)
        external
        returns (uint32 ordinal);

    /// @notice EIP-712 digest of an intent for this chain and contract (domain `Licet Purchase`, version `1`).
    function intentDigest(Purchases.PurchaseIntent calldata intent) external view returns (bytes32);
}
