// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {
    TimelockControllerUpgradeable
} from "@openzeppelin/contracts-upgradeable/governance/TimelockControllerUpgradeable.sol";
import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IAssetTimelock} from "./interfaces/IAssetTimelock.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IPlanBook} from "./interfaces/IPlanBook.sol";
import {IRevenueRouter} from "./interfaces/IRevenueRouter.sol";
import {IUsageEscrow} from "./interfaces/IUsageEscrow.sol";
import {Names} from "./libraries/Names.sol";

/// @title Owner of an asset that has shares
contract AssetTimelock is IAssetTimelock, TimelockControllerUpgradeable {
    /// @notice May activate versions and close plans.
    bytes32 public constant OPERATOR_ROLE = keccak256("OPERATOR_ROLE");
    /// @notice A longer delay is a mistake that could not be undone sooner.
    uint256 public constant MAX_DELAY = 30 days;

    IDirectory private immutable _directory;
    IAssetRegistry private immutable _registry;

    bytes32 private _assetId;
    address private _shares;

    constructor(IDirectory directory, IAssetRegistry registry) {
        (_directory, _registry) = (directory, registry);
        _disableInitializers();
    }

    /// @inheritdoc IAssetTimelock
    function initialize(Setup calldata setup) external initializer {
        _requireValid(setup.delay);
        address[] memory proposers = new address[](1);
        proposers[0] = setup.proposer;
        // Anyone executes what has waited. Nobody is admin but the timelock itself.
        __TimelockController_init(setup.delay, proposers, new address[](1), address(0));
        if (setup.operator != address(0)) _grantRole(OPERATOR_ROLE, setup.operator);
        (_assetId, _shares) = (setup.assetId, setup.shares);
        _bind();
    }

    /// @inheritdoc IAssetTimelock
    function activateVersion(bytes32 digest) external onlyRole(OPERATOR_ROLE) {
        _registry.activateVersion(_assetId, digest);
    }

    /// @inheritdoc IAssetTimelock
    function closePlan(address planBook, uint256 planId) external onlyRole(OPERATOR_ROLE) {
        if (_directory.nameOf(planBook) != Names.PLAN_BOOK) revert AssetTimelock_NotPlanBook(planBook);
        IPlanBook(planBook).closePlan(planId);
    }

    /// @inheritdoc IAssetTimelock
    function bind() external {
        _bind();
    }

    /// @inheritdoc IAssetTimelock
    function assetId() external view returns (bytes32) {
        return _assetId;
    }

    /// @inheritdoc IAssetTimelock
    function shares() external view returns (address) {
        return _shares;
    }

    /// @notice Changes the delay, by the timelock itself, within the same bounds as at creation.
    function updateDelay(uint256 newDelay) public override {
        _requireValid(newDelay);
        super.updateDelay(newDelay);
    }

    /// @dev A payee that was voted for stays.
    function _bind() private {
        address router = _active(Names.REVENUE_ROUTER);
        address payee = IRevenueRouter(router).namedPayeeOf(address(this));
        if (payee != address(0)) revert AssetTimelock_AlreadyBound(router, payee);
        IRevenueRouter(router).payTo(_shares);
    }

    function _requireValid(uint256 delay) private view {
        uint256 least = IUsageEscrow(_active(Names.USAGE_ESCROW)).exitDelay();
        if (delay < least || delay > MAX_DELAY) revert AssetTimelock_InvalidDelay(delay, least, MAX_DELAY);
    }

    function _active(bytes32 name) private view returns (address target) {
        target = _directory.activeOf(name);
        if (target == address(0)) revert AssetTimelock_Missing(name);
    }
}
