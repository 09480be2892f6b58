// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {IAssetGovernor} from "./interfaces/IAssetGovernor.sol";
import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IAssetTimelock} from "./interfaces/IAssetTimelock.sol";
import {IComplianceGate} from "./interfaces/IComplianceGate.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IShares} from "./interfaces/IShares.sol";
import {ISharesFactory} from "./interfaces/ISharesFactory.sol";

/// @title Turns an asset into shares
contract SharesFactory is ISharesFactory {
    IDirectory private immutable _directory;
    IAssetRegistry private immutable _registry;
    address private immutable _shares;
    address private immutable _timelock;
    address private immutable _governor;
    IComplianceGate private immutable _gate;

    mapping(bytes32 assetId => uint256) private _counts;
    mapping(bytes32 assetId => Parts) private _parts;

    constructor(
        IDirectory directory,
        IAssetRegistry registry,
        address shares,
        address timelock,
        address governor,
        IComplianceGate gate
    ) {
        (_directory, _registry, _gate) = (directory, registry, gate);
        (_shares, _timelock, _governor) = (shares, timelock, governor);
    }

    /// @inheritdoc ISharesFactory
    function fractionalise(Order calldata order) external returns (Parts memory parts) {
        _directory.requireActive(address(this));
        bytes32 assetId = order.assetId;
        address owner = _registry.assetOwner(assetId);
        if (owner != msg.sender) revert SharesFactory_NotOwner(assetId, msg.sender);
        bool votes = order.shares.votes;
        if ((order.steward == address(0)) != votes) revert SharesFactory_InvalidSteward(order.steward, votes);
        parts = _clone(assetId, votes);
        _parts[assetId] = parts;
        // Before the supply exists: the gate is asked about every share of it.
        _gate.admit(assetId, order.shares.gate, parts.shares, parts.timelock);
        IShares(parts.shares).initialize(order.shares, assetId, parts.timelock);
        if (votes) IAssetGovernor(parts.governor).initialize(order.ballot, parts.shares, parts.timelock);
        address proposer = votes ? parts.governor : order.steward;
        IAssetTimelock(parts.timelock)
            .initialize(IAssetTimelock.Setup(assetId, parts.shares, proposer, order.operator, order.delay));
        // No receiver hook: the timelock was made for this.
        IERC721(address(_registry)).transferFrom(msg.sender, parts.timelock, _registry.tokenIdOf(assetId));
        uint256 supply = IERC20(parts.shares).totalSupply();
        emit Fractionalised(assetId, parts.shares, parts.timelock, parts.governor, supply);
    }

    /// @inheritdoc ISharesFactory
    function partsOf(bytes32 assetId) external view returns (Parts memory) {
        return _parts[assetId];
    }

    /// @inheritdoc ISharesFactory
    function nextPartsOf(bytes32 assetId) external view returns (Parts memory) {
        bytes32 salt = _salt(assetId, _counts[assetId] + 1);
        return Parts({
            shares: Clones.predictDeterministicAddress(_shares, salt),
            timelock: Clones.predictDeterministicAddress(_timelock, salt),
            governor: Clones.predictDeterministicAddress(_governor, salt)
        });
    }

    /// @inheritdoc ISharesFactory
    function countOf(bytes32 assetId) external view returns (uint256) {
        return _counts[assetId];
    }

    function _clone(bytes32 assetId, bool votes) private returns (Parts memory) {
        bytes32 salt = _salt(assetId, ++_counts[assetId]);
        return Parts({
            shares: Clones.cloneDeterministic(_shares, salt),
            timelock: Clones.cloneDeterministic(_timelock, salt),
            governor: votes ? Clones.cloneDeterministic(_governor, salt) : address(0)
        });
    }

    function _salt(bytes32 assetId, uint256 count) private pure returns (bytes32) {
        return keccak256(abi.encode(assetId, count));
    }
}
