// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {ILicense} from "./interfaces/ILicense.sol";
import {ILicenseSale} from "./interfaces/ILicenseSale.sol";
import {IPlanBook} from "./interfaces/IPlanBook.sol";
import {IRevenueRouter} from "./interfaces/IRevenueRouter.sol";
import {Names} from "./libraries/Names.sol";

/// @title Purchase and renewal of licences
contract LicenseSale is ILicenseSale, ReentrancyGuardTransient {
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
        IPlanBook.PlanTerms memory terms = _offer(planId, maxPrice);
        uint64 startTime = uint64(block.timestamp);
        uint64 endTime = startTime + terms.period;
        tokenId = _license.mint(recipient, planId, startTime, endTime, terms.transferable);
        emit LicensePurchased(tokenId, planId, terms.assetId, msg.sender, recipient, terms.price, startTime, endTime);
        // Last: the token's code may call anyone, who then finds the sale complete.
        _collect(terms, tokenId);
    }

    /// @inheritdoc ILicenseSale
    function renew(uint256 tokenId, uint128 maxPrice) external nonReentrant returns (uint32 ordinal) {
        ILicense.Terms memory license = _license.licenseOf(tokenId);
        IPlanBook.PlanTerms memory terms = _offer(license.planId, maxPrice);
        uint64 begin = license.endTime > block.timestamp ? license.endTime : uint64(block.timestamp);
        uint64 endTime = begin + terms.period;
        ordinal = _license.renew(tokenId, endTime);
        emit LicenseRenewed(tokenId, license.planId, terms.assetId, msg.sender, terms.price, endTime, ordinal);
        _collect(terms, tokenId);
    }

    function _offer(uint256 planId, uint128 maxPrice) private view returns (IPlanBook.PlanTerms memory terms) {
        _directory.requireActive(address(this));
        terms = _planBook.openTermsOf(planId);
        if (terms.price > maxPrice) revert LicenseSale_PriceAboveMax(terms.price, maxPrice);
    }

    /// @dev Moves the price from the caller to the router and books it there.
    function _collect(IPlanBook.PlanTerms memory terms, uint256 tokenId) private {
        if (terms.price == 0) return;
        address router = _directory.activeOf(Names.REVENUE_ROUTER);
        if (router == address(0)) revert LicenseSale_NoRouter();
        IERC20 token = IERC20(terms.currency);
        uint256 before = token.balanceOf(router);
        token.safeTransferFrom(msg.sender, router, terms.price);
        uint256 received = token.balanceOf(router) - before;
        if (received != terms.price) revert LicenseSale_AmountMismatch(terms.currency, terms.price, received);
        IRevenueRouter(router).receiveRevenue(terms.assetId, terms.currency, terms.price, bytes32(tokenId));
    }
}
