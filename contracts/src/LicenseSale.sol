// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {ILicense} from "./interfaces/ILicense.sol";
import {ILicenseSale} from "./interfaces/ILicenseSale.sol";
import {IPlanBook} from "./interfaces/IPlanBook.sol";
import {IRevenueRouter} from "./interfaces/IRevenueRouter.sol";
import {Names} from "./libraries/Names.sol";
import {Payments} from "./libraries/Payments.sol";
import {Purchases} from "./libraries/Purchases.sol";

/// @title Purchase and renewal of licences
contract LicenseSale is ILicenseSale, ReentrancyGuardTransient {
    using Purchases for Purchases.PurchaseIntent;
    using SafeERC20 for IERC20;

    IDirectory private immutable _directory;
    IPlanBook private immutable _planBook;
    ILicense private immutable _license;

    constructor(IDirectory directory, IPlanBook planBook, ILicense license) {
        _directory = directory;
        _planBook = planBook;
        _license = license;
    }

    /// @inheritdoc ILicenseSale
    function purchase(uint256 planId, address recipient, uint128 maxPrice)
        external
        nonReentrant
        returns (uint256 tokenId)
    {
        IPlanBook.Offer memory offer = _offer(planId, maxPrice);
        tokenId = _mint(planId, offer, msg.sender, recipient);
        // Last: the token's code may call anyone, who then finds the sale complete.
        _collect(offer, tokenId);
    }

    /// @inheritdoc ILicenseSale
    function purchaseWithPermit(uint256 planId, address recipient, uint128 maxPrice, PermitSignature calldata permit)
        external
        nonReentrant
        returns (uint256 tokenId)
    {
        IPlanBook.Offer memory offer = _offer(planId, maxPrice);
        tokenId = _mint(planId, offer, msg.sender, recipient);
        _permit(offer.currency, maxPrice, permit);
        _collect(offer, tokenId);
    }

    /// @inheritdoc ILicenseSale
    function purchaseWithAuthorization(
        address payer,
        Purchases.PurchaseIntent calldata intent,
        bytes calldata signature
    ) external nonReentrant returns (uint256 tokenId) {
        IPlanBook.Offer memory offer = _intended(intent);
        tokenId = _mint(intent.planId, offer, payer, intent.recipient);
        (address router, uint256 before) = _till(offer.currency);
        bytes32 digest = Purchases.digest(address(this), intent);
        Payments.receiveWithAuthorization(offer.currency, payer, offer.price, intent.deadline, digest, signature);
        // EIP-3009 pays its caller alone, so the price comes through here.
        IERC20(offer.currency).safeTransfer(router, offer.price);
        _book(offer, tokenId, router, before);
    }

    /// @inheritdoc ILicenseSale
    function purchaseWithPermit2(address payer, Purchases.PurchaseIntent calldata intent, bytes calldata signature)
        external
        nonReentrant
        returns (uint256 tokenId)
    {
        IPlanBook.Offer memory offer = _intended(intent);
        tokenId = _mint(intent.planId, offer, payer, intent.recipient);
        (address router, uint256 before) = _till(offer.currency);
        Payments.transferWithPermit2(offer.currency, payer, router, offer.price, intent, signature);
        _book(offer, tokenId, router, before);
    }

    /// @inheritdoc ILicenseSale
    function startTrial(uint256 planId) external nonReentrant returns (uint256 tokenId) {
        IPlanBook.Offer memory offer = _offer(planId, type(uint128).max);
        (offer.price, offer.period) = (0, _planBook.countTrial(planId, msg.sender));
        tokenId = _mintFor(planId, offer, msg.sender, msg.sender, true);
    }

    /// @inheritdoc ILicenseSale
    function renew(uint256 tokenId, uint128 maxPrice) external nonReentrant returns (uint32 ordinal) {
        IPlanBook.Offer memory offer;
        (offer, ordinal) = _renew(tokenId, maxPrice);
        _collect(offer, tokenId);
    }

    /// @inheritdoc ILicenseSale
    function renewWithPermit(uint256 tokenId, uint128 maxPrice, PermitSignature calldata permit)
        external
        nonReentrant
        returns (uint32 ordinal)
    {
        IPlanBook.Offer memory offer;
        (offer, ordinal) = _renew(tokenId, maxPrice);
        _permit(offer.currency, maxPrice, permit);
        _collect(offer, tokenId);
    }

    /// @inheritdoc ILicenseSale
    function intentDigest(Purchases.PurchaseIntent calldata intent) external view returns (bytes32) {
        return Purchases.digest(address(this), intent);
    }

    function _mint(uint256 planId, IPlanBook.Offer memory offer, address payer, address recipient)
        private
        returns (uint256 tokenId)
    {
        if (offer.limited) _planBook.countSale(planId, recipient);
        return _mintFor(planId, offer, payer, recipient, false);
    }

    function _mintFor(uint256 planId, IPlanBook.Offer memory offer, address payer, address recipient, bool trial)
        private
        returns (uint256 tokenId)
    {
        uint64 startTime = uint64(block.timestamp);
        uint64 endTime = startTime + offer.period;
        tokenId = _license.mint(recipient, planId, startTime, endTime, offer.transferable, trial);
        emit LicensePurchased(tokenId, planId, offer.assetId, payer, recipient, offer.price, startTime, endTime, trial);
    }

    function _renew(uint256 tokenId, uint128 maxPrice) private returns (IPlanBook.Offer memory offer, uint32 ordinal) {
        ILicense.Terms memory license = _license.licenseOf(tokenId);
        offer = _offer(license.planId, maxPrice);
        if (offer.limited && license.trial && license.ordinal == 0) _planBook.countConversion(license.planId);
        uint64 begin = license.endTime > block.timestamp ? license.endTime : uint64(block.timestamp);
        uint64 endTime = begin + offer.period;
        ordinal = _license.renew(tokenId, endTime);
        emit LicenseRenewed(tokenId, license.planId, offer.assetId, msg.sender, offer.price, endTime, ordinal);
    }

    function _offer(uint256 planId, uint128 maxPrice) private view returns (IPlanBook.Offer memory offer) {
        _directory.requireActive(address(this));
        offer = _planBook.offerOf(planId);
        if (offer.price > maxPrice) revert LicenseSale_PriceAboveMax(offer.price, maxPrice);
    }

    /// @dev A token's own clock may be kinder than the intent; so the deadline is held here.
    function _intended(Purchases.PurchaseIntent calldata intent) private view returns (IPlanBook.Offer memory) {
        if (block.timestamp >= intent.deadline) revert LicenseSale_IntentExpired(intent.deadline);
        return _offer(intent.planId, intent.maxPrice);
    }

    /// @dev A permit is public before it is mined, and whoever sends it first uses it up. The allowance is there all
    /// the same; if it is not, the payment says so.
    function _permit(address currency, uint128 amount, PermitSignature calldata permit) private {
        try IERC20Permit(currency)
            .permit(msg.sender, address(this), amount, permit.deadline, permit.v, permit.r, permit.s) {}
            catch {}
    }

    /// @dev Moves the price from the caller to the router and books it there.
    function _collect(IPlanBook.Offer memory offer, uint256 tokenId) private {
        if (offer.price != 0) _pay(offer, tokenId);
    }

    function _pay(IPlanBook.Offer memory offer, uint256 tokenId) private {
        (address router, uint256 before) = _till(offer.currency);
        IERC20(offer.currency).safeTransferFrom(msg.sender, router, offer.price);
        _book(offer, tokenId, router, before);
    }

    /// @dev Where the money goes, and how much of the token is there before it comes.
    function _till(address currency) private view returns (address router, uint256 before) {
        router = _directory.activeOf(Names.REVENUE_ROUTER);
        if (router == address(0)) revert LicenseSale_NoRouter();
        before = IERC20(currency).balanceOf(router);
    }

    function _book(IPlanBook.Offer memory offer, uint256 tokenId, address router, uint256 before) private {
        uint256 received = IERC20(offer.currency).balanceOf(router) - before;
        if (received != offer.price) revert LicenseSale_AmountMismatch(offer.currency, offer.price, received);
        // A signature is checked for a free plan too, but there is nothing to book.
        if (offer.price != 0) {
            IRevenueRouter(router).receiveRevenue(offer.assetId, offer.currency, offer.price, bytes32(tokenId));
        }
    }
}
