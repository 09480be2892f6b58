// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IMirrorBook} from "./interfaces/IMirrorBook.sol";
import {Assets} from "./libraries/Assets.sol";
import {Mirrors} from "./libraries/Mirrors.sol";
import {Slugs} from "./libraries/Slugs.sol";

/// @title Assets of other chains that are sold on this one
contract MirrorBook is IMirrorBook, AccessManaged {
    /// @notice How long a mirror sells after the last report at most: what a former owner has where no report comes.
    uint64 public constant MAX_VALIDITY = 30 days;

    /// @notice Parents of an asset, as at home: what one distribution walks through.
    uint256 public constant MAX_PARENTS = 8;
    /// @notice What parents earn together, in basis points, as at home.
    uint16 public constant MAX_ROYALTIES_BP = 5_000;

    /// @dev What the name of an asset was made of; kept for the event that ends its mirror.
    struct Home {
        uint256 chainId;
        address registry;
        string slug;
    }

    IDirectory private immutable _directory;

    mapping(bytes32 assetId => Mirror) private _mirrors;
    mapping(bytes32 assetId => Report) private _reports;
    mapping(bytes32 assetId => Home) private _homes;
    mapping(bytes32 assetId => IAssetRegistry.Parent[]) private _parents;
    // By owner, so that nobody who had the asset before uses up the nonces of whoever has it now.
    mapping(bytes32 assetId => mapping(address homeOwner => uint64)) private _nextNonces;

    constructor(address manager, IDirectory directory) AccessManaged(manager) {
        _directory = directory;
    }

    /// @inheritdoc IMirrorBook
    function bind(
        Mirrors.Statement calldata statement,
        IAssetRegistry.Parent[] calldata parents,
        bytes calldata signature
    ) external returns (bytes32 assetId) {
        _directory.requireActive(address(this));
        assetId = _assetIdOf(statement);
        _checkStatement(assetId, statement, signature);
        _nextNonces[assetId][statement.homeOwner] = statement.nonce + 1;
        _setParents(assetId, parents);
        Home storage home = _homes[assetId];
        (home.chainId, home.registry, home.slug) = (statement.homeChainId, statement.homeRegistry, statement.slug);
        _mirrors[assetId] = Mirror(statement.owner, statement.epoch, statement.homeOwner, statement.validUntil);
        _emitBound(assetId);
    }

    /// @inheritdoc IMirrorBook
    function cancel(bytes32 assetId, uint64 nonce) external {
        if (nonce > _nextNonces[assetId][msg.sender]) _nextNonces[assetId][msg.sender] = nonce;
        emit StatementsCancelled(assetId, msg.sender, _nextNonces[assetId][msg.sender]);
        if (_mirrors[assetId].homeOwner != msg.sender) return;
        _mirrors[assetId].validUntil = 0;
        _emitBound(assetId);
    }

    /// @inheritdoc IMirrorBook
    function report(bytes32 assetId, address owner, uint64 epoch, bytes32 lineage) external restricted {
        Report storage known = _reports[assetId];
        bool isSame = epoch == known.epoch && owner == known.owner && lineage == known.lineage;
        if (epoch == 0 || (epoch <= known.epoch && !isSame)) {
            revert MirrorBook_StaleReport(assetId, epoch, known.epoch);
        }
        _setReport(assetId, owner, epoch, lineage);
    }

    /// @inheritdoc IMirrorBook
    function correct(bytes32 assetId, address owner, uint64 epoch, bytes32 lineage) external restricted {
        _setReport(assetId, owner, epoch, lineage);
    }

    /// @inheritdoc IMirrorBook
    function isOpen(bytes32 assetId) public view returns (bool) {
        Mirror storage mirror = _mirrors[assetId];
        Report storage known = _reports[assetId];
        return block.timestamp < mirror.validUntil && mirror.epoch == known.epoch && mirror.homeOwner == known.owner;
    }

    /// @inheritdoc IMirrorBook
    function isAuthorized(bytes32 assetId, address account) external view returns (bool) {
        return _mirrors[assetId].owner == account && isOpen(assetId);
    }

    /// @inheritdoc IMirrorBook
    function ownerOf(bytes32 assetId) external view returns (address) {
        return _mirrors[assetId].owner;
    }

    /// @inheritdoc IMirrorBook
    function mirrorOf(bytes32 assetId) external view returns (Mirror memory) {
        return _mirrors[assetId];
    }

    /// @inheritdoc IMirrorBook
    function reportOf(bytes32 assetId) external view returns (Report memory) {
        return _reports[assetId];
    }

    /// @inheritdoc IMirrorBook
    function parentsOf(bytes32 assetId) external view returns (IAssetRegistry.Parent[] memory) {
        return _parents[assetId];
    }

    /// @inheritdoc IMirrorBook
    function nextNonceOf(bytes32 assetId, address homeOwner) external view returns (uint64) {
        return _nextNonces[assetId][homeOwner];
    }

    /// @inheritdoc IMirrorBook
    function statementDigest(Mirrors.Statement calldata statement) external view returns (bytes32) {
        return Mirrors.digest(address(this), statement);
    }

    function _assetIdOf(Mirrors.Statement calldata s) private view returns (bytes32 assetId) {
        if (Slugs.namespaceLength(bytes(s.slug)) == 0) revert MirrorBook_InvalidSlug(s.slug);
        assetId = Assets.idOf(s.homeChainId, s.homeRegistry, Assets.tokenIdOf(s.slug));
        if (s.homeChainId == block.chainid) revert MirrorBook_AtHome(assetId);
    }

    function _checkStatement(bytes32 assetId, Mirrors.Statement calldata s, bytes calldata signature) private view {
        Report storage known = _reports[assetId];
        if (known.epoch == 0 || known.epoch != s.epoch || known.owner != s.homeOwner) {
            revert MirrorBook_NotReported(assetId, s.homeOwner, s.epoch);
        }
        uint64 latest = known.reportedAt + MAX_VALIDITY;
        if (s.validUntil <= block.timestamp || s.validUntil > latest) {
            revert MirrorBook_InvalidTime(s.validUntil, latest);
        }
        if (s.owner == address(0)) revert MirrorBook_InvalidOwner();
        if (s.nonce < _nextNonces[assetId][s.homeOwner]) revert MirrorBook_NonceUsed(s.homeOwner, s.nonce);
        bytes32 digest = Mirrors.digest(address(this), s);
        // By key alone, never ERC-1271: what has the owner's address on this chain may obey somebody else.
        // slither-disable-next-line unused-return
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(digest, signature);
        if (failure != ECDSA.RecoverError.NoError || signer != s.homeOwner) {
            revert MirrorBook_InvalidSignature(digest, s.homeOwner);
        }
    }

    /// @dev Lineage never changes at home; it does here when a wrong report was corrected.
    function _setParents(bytes32 assetId, IAssetRegistry.Parent[] calldata parents) private {
        bytes32 lineage = keccak256(abi.encode(parents));
        if (lineage != _reports[assetId].lineage) revert MirrorBook_OtherLineage(assetId, lineage);
        delete _parents[assetId];
        uint256 sumBp = 0;
        for (uint256 i = 0; i < parents.length; ++i) {
            bytes32 parentId = parents[i].assetId;
            sumBp += parents[i].royaltyBp;
            if (i == MAX_PARENTS || sumBp > MAX_ROYALTIES_BP) revert MirrorBook_InvalidLineage(parents.length, sumBp);
            if (_mirrors[parentId].owner == address(0)) revert MirrorBook_UnknownParent(parentId);
            _parents[assetId].push(parents[i]);
        }
    }

    function _setReport(bytes32 assetId, address owner, uint64 epoch, bytes32 lineage) private {
        _reports[assetId] = Report(owner, epoch, uint64(block.timestamp), lineage);
        emit OwnerReported(assetId, owner, epoch, lineage);
    }

    function _emitBound(bytes32 assetId) private {
        Mirror storage mirror = _mirrors[assetId];
        Home storage home = _homes[assetId];
        emit MirrorBound(
            assetId,
            mirror.owner,
            mirror.homeOwner,
            mirror.epoch,
            mirror.validUntil,
            home.chainId,
            home.registry,
            home.slug
        );
    }
}
