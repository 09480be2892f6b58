// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ERC1155} from "@openzeppelin/contracts/token/ERC1155/ERC1155.sol";
import {ERC1155Supply} from "@openzeppelin/contracts/token/ERC1155/extensions/ERC1155Supply.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {CreditToken} from "./CreditToken.sol";
import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {ICreditToken} from "./interfaces/ICreditToken.sol";
import {ICredits} from "./interfaces/ICredits.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {ILicenseSale} from "./interfaces/ILicenseSale.sol";
import {IPlanBook} from "./interfaces/IPlanBook.sol";
import {IRevenueRouter} from "./interfaces/IRevenueRouter.sol";
import {Names} from "./libraries/Names.sol";

/// @title Prepaid units of an asset
contract Credits is ICredits, ERC1155Supply, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice Longest life of a series, ten years: a longer one is a mistake.
    uint64 public constant MAX_TERM = 3650 days;

    IDirectory private immutable _directory;
    IAssetRegistry private immutable _registry;
    IPlanBook private immutable _planBook;
    address private immutable _tokenCode;

    uint256 private _seriesCount;
    mapping(uint256 seriesId => Series) private _series;
    mapping(uint256 seriesId => uint64) private _issued;
    mapping(address currency => uint256) private _backing;

    constructor(IDirectory directory, IAssetRegistry registry, IPlanBook planBook) ERC1155("") {
        (_directory, _registry, _planBook) = (directory, registry, planBook);
        _tokenCode = address(new CreditToken());
    }

    /// @inheritdoc ICredits
    function openSeries(uint256 planId, uint128 unitPrice, uint64 supply, uint64 expiresAt, bool transferable)
        external
        returns (address token)
    {
        _directory.requireActive(address(this));
        IPlanBook.Offer memory offer = _planBook.offerOf(planId);
        if (!_registry.isAuthorized(offer.assetId, msg.sender)) {
            revert Credits_Unauthorized(offer.assetId, msg.sender);
        }
        if (unitPrice == 0 || supply == 0 || uint256(unitPrice) * supply > type(uint128).max) {
            revert Credits_InvalidSupply(unitPrice, supply);
        }
        if (expiresAt <= block.timestamp || expiresAt > block.timestamp + MAX_TERM) {
            revert Credits_InvalidExpiry(expiresAt);
        }
        token = Clones.cloneDeterministic(_tokenCode, bytes32(++_seriesCount));
        Series memory series = Series(planId, offer.assetId, offer.currency, unitPrice, supply, expiresAt, transferable);
        _series[_idOf(token)] = series;
        emit SeriesOpened(token, planId, offer.assetId, series);
    }

    /// @inheritdoc ICredits
    function issue(address token, address recipient, uint64 units, uint128 maxPrice)
        external
        nonReentrant
        returns (uint128 price)
    {
        return _issue(token, recipient, units, maxPrice);
    }

    /// @inheritdoc ICredits
    function issueWithPermit(
        address token,
        address recipient,
        uint64 units,
        uint128 maxPrice,
        ILicenseSale.PermitSignature calldata permit
    ) external nonReentrant returns (uint128 price) {
        // Whoever sends it first uses it up, and the allowance is there all the same; if not, the payment says so.
        try IERC20Permit(_requireSeries(token).currency)
            .permit(msg.sender, address(this), maxPrice, permit.deadline, permit.v, permit.r, permit.s) {}
            catch {}
        return _issue(token, recipient, units, maxPrice);
    }

    /// @inheritdoc ICredits
    function redeem(address token, bytes32 assetId, uint128 units)
        external
        nonReentrant
        returns (address currency, uint128 amount)
    {
        uint256 id = _idOf(token);
        Series storage series = _requireSeries(token);
        if (_directory.nameOf(msg.sender) != Names.REVENUE_ROUTER || series.assetId != assetId) {
            revert Credits_NotRedeemable(id, msg.sender, assetId);
        }
        currency = series.currency;
        amount = _end(id, series, msg.sender, units);
        emit CreditsRedeemed(token, assetId, units, amount);
        IERC20(currency).safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc ICredits
    function expire(address token, address[] calldata holders) external nonReentrant {
        uint256 id = _idOf(token);
        Series storage series = _requireSeries(token);
        if (block.timestamp < series.expiresAt) revert Credits_NotExpired(id, series.expiresAt);
        address router = _directory.activeOf(Names.REVENUE_ROUTER);
        if (router == address(0)) revert Credits_NoRouter();
        uint128 sum = 0;
        for (uint256 i = 0; i < holders.length; ++i) {
            bytes32 name = _directory.nameOf(holders[i]);
            if (name == Names.USAGE_ESCROW || name == Names.REVENUE_ROUTER) revert Credits_InEscrow(id, holders[i]);
            // casting to 'uint128' is safe because no series has more than 2^64 units
            // forge-lint: disable-next-line(unsafe-typecast)
            uint128 units = uint128(balanceOf(holders[i], id));
            if (units == 0) continue;
            uint128 amount = _end(id, series, holders[i], units);
            sum += amount;
            emit CreditsExpired(token, series.assetId, holders[i], units, amount);
        }
        if (sum == 0) revert Credits_ZeroUnits();
        IERC20(series.currency).safeTransfer(router, sum);
        IRevenueRouter(router).receiveRevenue(series.assetId, series.currency, sum, bytes32(id));
    }

    /// @inheritdoc ICredits
    function moveFor(address mover, address from, address to, uint256 units) external {
        uint256 id = _idOf(msg.sender);
        if (_series[id].supply == 0) revert Credits_NotToken(msg.sender);
        _move(mover, from, to, _asArray(id), _asArray(units));
    }

    /// @inheritdoc ICredits
    function seriesOf(address token) external view returns (Series memory) {
        return _requireSeries(token);
    }

    /// @inheritdoc ICredits
    function isSeries(address token) external view returns (bool) {
        return _series[_idOf(token)].supply != 0;
    }

    /// @inheritdoc ICredits
    function issuedOf(address token) external view returns (uint64) {
        return _issued[_idOf(token)];
    }

    /// @inheritdoc ICredits
    function backingOf(address currency) external view returns (uint256) {
        return _backing[currency];
    }

    /// @inheritdoc ICredits
    function seriesCount() external view returns (uint256) {
        return _seriesCount;
    }

    /// @dev Every movement by ERC-1155, by its sender.
    function _update(address from, address to, uint256[] memory ids, uint256[] memory values) internal override {
        _move(msg.sender, from, to, ids, values);
    }

    function _issue(address token, address recipient, uint64 units, uint128 maxPrice) private returns (uint128 price) {
        _directory.requireActive(address(this));
        uint256 id = _idOf(token);
        Series storage series = _requireSeries(token);
        if (units == 0) revert Credits_ZeroUnits();
        if (block.timestamp >= series.expiresAt) revert Credits_Expired(id, series.expiresAt);
        if (!_planBook.isOpen(series.planId)) revert Credits_PlanClosed(series.planId);
        uint64 left = series.supply - _issued[id];
        if (units > left) revert Credits_SoldOut(id, left);
        price = units * series.unitPrice;
        if (price > maxPrice) revert Credits_PriceAboveMax(price, maxPrice);
        _issued[id] += units;
        _backing[series.currency] += price;
        emit CreditsIssued(token, series.assetId, recipient, msg.sender, units, price);
        _pay(series.currency, price);
        // Last: a recipient with code is asked whether it takes them, and finds them paid.
        _mint(recipient, id, units, "");
    }

    function _pay(address currency, uint128 price) private {
        uint256 before = IERC20(currency).balanceOf(address(this));
        IERC20(currency).safeTransferFrom(msg.sender, address(this), price);
        uint256 received = IERC20(currency).balanceOf(address(this)) - before;
        if (received != price) revert Credits_AmountMismatch(currency, price, received);
    }

    /// @dev Ends units; the caller then pays `amount` of the currency.
    function _end(uint256 id, Series storage series, address holder, uint128 units) private returns (uint128 amount) {
        amount = units * series.unitPrice;
        _backing[series.currency] -= amount;
        _burn(holder, id, units);
    }

    function _move(address mover, address from, address to, uint256[] memory ids, uint256[] memory values) private {
        for (uint256 i = 0; i < ids.length; ++i) {
            _requireMayMove(ids[i], mover, from, to);
        }
        ERC1155Supply._update(from, to, ids, values);
        for (uint256 i = 0; i < ids.length; ++i) {
            ICreditToken(address(uint160(ids[i]))).tell(from, to, values[i]);
        }
    }

    /// @dev What leaves an escrow always moves: exits, refunds and releases cannot be closed.
    function _requireMayMove(uint256 id, address mover, address from, address to) private view {
        if (from == address(0) || to == address(0) || _directory.nameOf(from) == Names.USAGE_ESCROW) return;
        Series storage series = _series[id];
        if (block.timestamp >= series.expiresAt) revert Credits_Expired(id, series.expiresAt);
        bytes32 name = _directory.nameOf(to);
        if (name == Names.USAGE_ESCROW && mover == to) return;
        if (name == Names.USAGE_ESCROW || name == Names.REVENUE_ROUTER) revert Credits_NotByDeposit(id, to);
        if (!series.transferable) revert Credits_NotTransferable(id);
    }

    function _requireSeries(address token) private view returns (Series storage series) {
        series = _series[_idOf(token)];
        if (series.supply == 0) revert Credits_UnknownSeries(_idOf(token));
    }

    function _idOf(address token) private pure returns (uint256) {
        return uint160(token);
    }

    function _asArray(uint256 value) private pure returns (uint256[] memory values) {
        values = new uint256[](1);
        values[0] = value;
    }
}
