// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IBreachBook} from "./interfaces/IBreachBook.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {ILicense} from "./interfaces/ILicense.sol";
import {IPlanBook} from "./interfaces/IPlanBook.sol";

/// @title Licences that end for a breach
contract BreachBook is IBreachBook, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice How long after its notice a licence can be revoked: an announcement does not hang over it for ever.
    uint64 public constant REVOKE_WINDOW = 7 days;

    IDirectory private immutable _directory;
    IAssetRegistry private immutable _registry;
    IPlanBook private immutable _planBook;
    ILicense private immutable _license;

    mapping(uint256 tokenId => uint64) private _effectiveAt;
    mapping(address account => mapping(address token => uint256)) private _claimable;
    mapping(address token => uint256) private _owed;

    constructor(IDirectory directory, IAssetRegistry registry, IPlanBook planBook, ILicense license) {
        _directory = directory;
        _registry = registry;
        _planBook = planBook;
        _license = license;
    }

    /// @inheritdoc IBreachBook
    function announce(uint256 tokenId, bytes32 evidence) external returns (uint64 effectiveAt) {
        // Retiring, it answers for the licences of its generation: to stay behind is no way around a plan.
        bool isRetiring = _directory.statusOf(address(this)) == IDirectory.Status.Retiring;
        if (!isRetiring) _directory.requireActive(address(this));
        (ILicense.Terms memory license, IPlanBook.BreachRule memory rule) = _authorized(tokenId);
        if (rule.notice == 0) revert BreachBook_NotRevocable(tokenId, license.planId);
        if (license.endTime <= block.timestamp) revert BreachBook_Ended(tokenId, license.endTime);
        if (evidence == 0) revert BreachBook_NoEvidence(tokenId);
        effectiveAt = announcedFor(tokenId);
        if (effectiveAt != 0) revert BreachBook_Announced(tokenId, effectiveAt);
        effectiveAt = uint64(block.timestamp) + rule.notice;
        _effectiveAt[tokenId] = effectiveAt;
        _license.hold(tokenId, effectiveAt + REVOKE_WINDOW);
        emit BreachAnnounced(tokenId, license.planId, rule.assetId, evidence, effectiveAt, effectiveAt + REVOKE_WINDOW);
    }

    /// @inheritdoc IBreachBook
    function retract(uint256 tokenId) external {
        _authorized(tokenId);
        _takeAnnouncement(tokenId);
        _license.hold(tokenId, 0);
        emit BreachRetracted(tokenId);
    }

    /// @inheritdoc IBreachBook
    function revoke(uint256 tokenId, uint256 maxRefund) external nonReentrant returns (uint256 refund) {
        (ILicense.Terms memory license, IPlanBook.BreachRule memory rule) = _authorized(tokenId);
        uint64 effectiveAt = _takeAnnouncement(tokenId);
        if (block.timestamp < effectiveAt) revert BreachBook_NoticeRuns(tokenId, effectiveAt);
        if (license.endTime <= block.timestamp) revert BreachBook_Ended(tokenId, license.endTime);
        refund = _refund(license, rule);
        if (refund > maxRefund) revert BreachBook_RefundAboveMax(refund, maxRefund);
        address holder = IERC721(address(_license)).ownerOf(tokenId);
        _license.revoke(tokenId);
        _claimable[holder][rule.currency] += refund;
        _owed[rule.currency] += refund;
        emit BreachRefunded(tokenId, holder, rule.currency, refund);
        // Last: the token's code may call anyone, who then finds the licence ended and the refund owed.
        if (refund != 0) _collect(rule.currency, refund);
    }

    /// @inheritdoc IBreachBook
    function claim(address token) external nonReentrant returns (uint256 amount) {
        amount = _claimable[msg.sender][token];
        if (amount == 0) revert BreachBook_NothingToClaim(msg.sender, token);
        delete _claimable[msg.sender][token];
        _owed[token] -= amount;
        emit RefundClaimed(msg.sender, token, amount);
        IERC20(token).safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IBreachBook
    function announcedFor(uint256 tokenId) public view returns (uint64 effectiveAt) {
        effectiveAt = _effectiveAt[tokenId];
        if (block.timestamp > effectiveAt + REVOKE_WINDOW) return 0;
    }

    /// @inheritdoc IBreachBook
    function refundOf(uint256 tokenId) external view returns (uint256) {
        ILicense.Terms memory license = _license.licenseOf(tokenId);
        return _refund(license, _planBook.breachRuleOf(license.planId));
    }

    /// @inheritdoc IBreachBook
    function claimableOf(address account, address token) external view returns (uint256) {
        return _claimable[account][token];
    }

    /// @inheritdoc IBreachBook
    function owedOf(address token) external view returns (uint256) {
        return _owed[token];
    }

    function _authorized(uint256 tokenId)
        private
        view
        returns (ILicense.Terms memory license, IPlanBook.BreachRule memory rule)
    {
        license = _license.licenseOf(tokenId);
        rule = _planBook.breachRuleOf(license.planId);
        if (!_registry.isAuthorized(rule.assetId, msg.sender)) {
            revert BreachBook_Unauthorized(rule.assetId, msg.sender);
        }
    }

    /// @dev An announcement is used up by what it leads to.
    function _takeAnnouncement(uint256 tokenId) private returns (uint64 effectiveAt) {
        effectiveAt = announcedFor(tokenId);
        // 0 is no time but the word for none.
        // slither-disable-next-line incorrect-equality
        if (effectiveAt == 0) revert BreachBook_NotAnnounced(tokenId);
        delete _effectiveAt[tokenId];
    }

    function _collect(address currency, uint256 amount) private {
        uint256 before = IERC20(currency).balanceOf(address(this));
        IERC20(currency).safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = IERC20(currency).balanceOf(address(this)) - before;
        if (received != amount) revert BreachBook_AmountMismatch(currency, amount, received);
    }

    /// @dev Paid terms follow each other at one price, so what is left of all of them is one line. Rounded up, for the
    /// holder. A trial comes before them and cost nothing.
    function _refund(ILicense.Terms memory license, IPlanBook.BreachRule memory rule) private view returns (uint256) {
        uint256 from = license.trial ? license.startTime + rule.trialPeriod : 0;
        if (from < block.timestamp) from = block.timestamp;
        if (license.endTime <= from) return 0;
        uint256 left = license.endTime - from;
        return Math.mulDiv(rule.price, left, rule.period, Math.Rounding.Ceil);
    }
}
