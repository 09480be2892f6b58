// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC165} from "@openzeppelin/contracts/interfaces/IERC165.sol";
import {IERC4906} from "@openzeppelin/contracts/interfaces/IERC4906.sol";
import {ERC2981} from "@openzeppelin/contracts/token/common/ERC2981.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IMirrorBook} from "./interfaces/IMirrorBook.sol";
import {ITokenState} from "./interfaces/ITokenState.sol";
import {Assets} from "./libraries/Assets.sol";
import {Slugs} from "./libraries/Slugs.sol";

/// @title Registry of AI assets and their versions
contract AssetRegistry is IAssetRegistry, ITokenState, IERC4906, ERC721, ERC2981 {
    /// @notice Longest URI of a version.
    uint256 public constant MAX_URI_BYTES = 512;
    /// @notice Parents and contributors of one asset: what one distribution walks through.
    uint256 public constant MAX_PAYEES = 8;
    /// @notice Generations before an asset: how many distributions bring money from its use to its first ancestor.
    uint8 public constant MAX_DEPTH = 4;
    /// @notice What parents earn together, in basis points, so that half is left for whoever runs the asset.
    uint16 public constant MAX_ROYALTIES_BP = 5_000;
    /// @notice Royalty of a token sale, in basis points; the market pays no more.
    uint16 public constant MAX_SALE_ROYALTY_BP = 1_000;
    uint16 private constant BASIS_POINTS = 10_000;

    struct Asset {
        uint256 tokenId;
        Kind kind;
        uint32 versions;
        uint32 splits;
        uint8 depth;
        bytes32 activeDigest;
        string slug;
    }

    IDirectory private immutable _directory;
    IMirrorBook private immutable _mirrors;

    mapping(bytes32 assetId => Asset) private _assets;
    mapping(bytes32 assetId => mapping(bytes32 digest => Version)) private _versions;
    mapping(bytes32 namespaceHash => address) private _namespaceOwners;
    mapping(bytes32 assetId => Parent[]) private _parents;
    mapping(bytes32 assetId => mapping(uint32 splitId => Split)) private _splits;
    // By token, because an asset's id takes longer to compute than all the rest of a transfer.
    mapping(uint256 tokenId => uint64) private _transfers;
    // By owner, so that a delegate loses the asset with the account that named it.
    mapping(bytes32 assetId => mapping(address owner => mapping(address delegate => bool))) private _delegates;

    constructor(IDirectory directory, IMirrorBook mirrors) ERC721("Licet Asset", "LICET") {
        (_directory, _mirrors) = (directory, mirrors);
    }

    modifier onlyAuthorized(bytes32 assetId) {
        if (_assets[assetId].tokenId == 0) revert AssetRegistry_UnknownAsset(assetId);
        if (!isAuthorized(assetId, msg.sender)) revert AssetRegistry_Unauthorized(assetId, msg.sender);
        _;
    }

    modifier onlyPublisher(bytes32 assetId) {
        if (_assets[assetId].tokenId == 0) revert AssetRegistry_UnknownAsset(assetId);
        if (!mayPublish(assetId, msg.sender)) revert AssetRegistry_Unauthorized(assetId, msg.sender);
        _;
    }

    /// @inheritdoc IAssetRegistry
    function register(string calldata slug, Kind kind, address owner) public returns (uint256 tokenId) {
        _directory.requireActive(address(this));
        if (kind == Kind.None) revert AssetRegistry_InvalidKind();
        _takeNamespace(slug);
        tokenId = Assets.tokenIdOf(slug);
        bytes32 assetId = assetIdOf(tokenId);
        if (_assets[assetId].tokenId != 0) revert AssetRegistry_SlugTaken(slug, assetId);
        Asset storage asset = _assets[assetId];
        (asset.tokenId, asset.kind, asset.slug) = (tokenId, kind, slug);
        // No receiver hook: the caller names the owner, and a hook could act before the event below.
        _mint(owner, tokenId);
        emit AssetRegistered(assetId, tokenId, owner, kind, slug);
    }

    /// @inheritdoc IAssetRegistry
    function registerDerived(string calldata slug, Kind kind, address owner, Parent[] calldata parents)
        external
        returns (uint256 tokenId)
    {
        bytes32 assetId = assetIdOf(Assets.tokenIdOf(slug));
        uint8 depth = _checkParents(parents);
        tokenId = register(slug, kind, owner);
        _assets[assetId].depth = depth;
        for (uint256 i = 0; i < parents.length; ++i) {
            _parents[assetId].push(parents[i]);
            emit ParentDeclared(assetId, parents[i].assetId, parents[i].royaltyBp);
        }
    }

    /// @inheritdoc IAssetRegistry
    function setContributors(bytes32 assetId, uint16 shareBp, Contributor[] calldata contributors)
        external
        onlyAuthorized(assetId)
        returns (uint32 splitId)
    {
        uint256 payees = _parents[assetId].length + contributors.length;
        if (payees > MAX_PAYEES) revert AssetRegistry_TooManyPayees(payees);
        if (shareBp > BASIS_POINTS || (shareBp == 0) != (contributors.length == 0)) {
            revert AssetRegistry_InvalidShare(shareBp, contributors.length);
        }
        splitId = ++_assets[assetId].splits;
        Split storage split = _splits[assetId][splitId];
        split.shareBp = shareBp;
        emit SplitChanged(assetId, splitId, shareBp);
        for (uint256 i = 0; i < contributors.length; ++i) {
            (address account, uint32 weight) = (contributors[i].account, contributors[i].weight);
            if (account == address(0) || weight == 0) revert AssetRegistry_InvalidContributor(account, weight);
            split.contributors.push(contributors[i]);
            emit ContributorNamed(assetId, splitId, account, weight);
        }
    }

    /// @inheritdoc IAssetRegistry
    function setDelegate(bytes32 assetId, address delegate, bool allowed) external onlyAuthorized(assetId) {
        address owner = _ownerOf(_assets[assetId].tokenId);
        _delegates[assetId][owner][delegate] = allowed;
        emit DelegateSet(assetId, owner, delegate, allowed);
    }

    /// @inheritdoc IAssetRegistry
    function setRoyalty(bytes32 assetId, address receiver, uint16 royaltyBp) external {
        uint256 tokenId = _assets[assetId].tokenId;
        if (tokenId == 0) revert AssetRegistry_UnknownAsset(assetId);
        // Of a price of 10,000 the royalty is its basis points.
        (address holder, uint256 heldBp) = royaltyInfo(tokenId, BASIS_POINTS);
        bool allowed = holder == address(0) ? isAuthorized(assetId, msg.sender) : holder == msg.sender;
        if (!allowed) revert AssetRegistry_Unauthorized(assetId, msg.sender);
        // casting to 'uint16' is safe because what is held was set below
        // forge-lint: disable-next-line(unsafe-typecast)
        uint16 ceiling = holder == address(0) ? MAX_SALE_ROYALTY_BP : uint16(heldBp);
        if (royaltyBp > ceiling) revert AssetRegistry_RoyaltyAboveCeiling(royaltyBp, ceiling);
        _setTokenRoyalty(tokenId, receiver, royaltyBp);
        emit RoyaltySet(assetId, receiver, royaltyBp);
    }

    /// @inheritdoc IAssetRegistry
    function publishVersion(bytes32 assetId, bytes32 digest, string calldata uri) external onlyPublisher(assetId) {
        uint256 uriBytes = bytes(uri).length;
        if (digest == 0 || uriBytes == 0 || uriBytes > MAX_URI_BYTES) {
            revert AssetRegistry_InvalidVersion(digest, uriBytes);
        }
        if (_versions[assetId][digest].ordinal != 0) revert AssetRegistry_VersionExists(assetId, digest);
        uint32 ordinal = ++_assets[assetId].versions;
        _versions[assetId][digest] = Version({ordinal: ordinal, publishedAt: uint64(block.timestamp), uri: uri});
        emit VersionPublished(assetId, digest, uri, ordinal);
    }

    /// @inheritdoc IAssetRegistry
    function activateVersion(bytes32 assetId, bytes32 digest) external onlyPublisher(assetId) {
        if (_versions[assetId][digest].ordinal == 0) revert AssetRegistry_UnknownVersion(assetId, digest);
        if (_assets[assetId].activeDigest == digest) revert AssetRegistry_AlreadyActive(assetId, digest);
        _assets[assetId].activeDigest = digest;
        emit VersionActivated(assetId, digest);
        emit MetadataUpdate(_assets[assetId].tokenId);
    }

    /// @inheritdoc IAssetRegistry
    function assetIdOf(uint256 tokenId) public view returns (bytes32) {
        return Assets.idOf(block.chainid, address(this), tokenId);
    }

    /// @inheritdoc IAssetRegistry
    function tokenIdOf(bytes32 assetId) external view returns (uint256) {
        return _assets[assetId].tokenId;
    }

    /// @inheritdoc IAssetRegistry
    function assetOwner(bytes32 assetId) public view returns (address) {
        uint256 tokenId = _assets[assetId].tokenId;
        return tokenId == 0 ? _mirrors.ownerOf(assetId) : _ownerOf(tokenId);
    }

    /// @inheritdoc IAssetRegistry
    function isAuthorized(bytes32 assetId, address account) public view returns (bool) {
        uint256 tokenId = _assets[assetId].tokenId;
        if (tokenId == 0) return _mirrors.isAuthorized(assetId, account);
        return _isAuthorized(_ownerOf(tokenId), account, tokenId);
    }

    /// @inheritdoc IAssetRegistry
    function mayPublish(bytes32 assetId, address account) public view returns (bool) {
        uint256 tokenId = _assets[assetId].tokenId;
        // Versions belong to the asset's home.
        if (tokenId == 0) return false;
        return isAuthorized(assetId, account) || _delegates[assetId][_ownerOf(tokenId)][account];
    }

    /// @inheritdoc IAssetRegistry
    function termsOf(bytes32 assetId) external view returns (address owner, uint32 splitId) {
        return (assetOwner(assetId), _assets[assetId].splits);
    }

    /// @inheritdoc IAssetRegistry
    function parentsOf(bytes32 assetId) external view returns (Parent[] memory) {
        return _assets[assetId].tokenId == 0 ? _mirrors.parentsOf(assetId) : _parents[assetId];
    }

    /// @inheritdoc IAssetRegistry
    function epochOf(bytes32 assetId) external view returns (uint64) {
        uint256 tokenId = _assets[assetId].tokenId;
        return tokenId == 0 ? 0 : 1 + _transfers[tokenId];
    }

    /// @inheritdoc IAssetRegistry
    function isOnSale(bytes32 assetId) external view returns (bool) {
        return _assets[assetId].tokenId != 0 || _mirrors.isOpen(assetId);
    }

    /// @inheritdoc IAssetRegistry
    function depthOf(bytes32 assetId) external view returns (uint8) {
        return _assets[assetId].depth;
    }

    /// @inheritdoc IAssetRegistry
    function splitOf(bytes32 assetId, uint32 splitId) external view returns (Split memory) {
        return _splits[assetId][splitId];
    }

    /// @inheritdoc IAssetRegistry
    function kindOf(bytes32 assetId) external view returns (Kind) {
        return _assets[assetId].kind;
    }

    /// @inheritdoc IAssetRegistry
    function slugOf(bytes32 assetId) external view returns (string memory) {
        return _assets[assetId].slug;
    }

    /// @inheritdoc IAssetRegistry
    function versionOf(bytes32 assetId, bytes32 digest) external view returns (Version memory) {
        return _versions[assetId][digest];
    }

    /// @inheritdoc IAssetRegistry
    function activeVersion(bytes32 assetId) external view returns (bytes32) {
        return _assets[assetId].activeDigest;
    }

    /// @notice URI of the active version's manifest, empty when there is none.
    function tokenURI(uint256 tokenId) public view override returns (string memory) {
        _requireOwned(tokenId);
        bytes32 assetId = assetIdOf(tokenId);
        return _versions[assetId][_assets[assetId].activeDigest].uri;
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) public view override(IERC165, ERC721, ERC2981) returns (bool) {
        // ERC-4906's id is that of its text; it has no functions.
        return interfaceId == bytes4(0x49064906) || super.supportsInterface(interfaceId);
    }

    /// @inheritdoc ITokenState
    /// @notice Over the versions, which one is active, and who shares the revenue.
    function tokenStateHash(uint256 tokenId) external view returns (bytes32) {
        bytes32 assetId = assetIdOf(tokenId);
        Asset storage asset = _assets[assetId];
        if (asset.tokenId == 0) revert AssetRegistry_UnknownAsset(assetId);
        return keccak256(abi.encode(assetId, asset.versions, asset.activeDigest, asset.splits));
    }

    /// @inheritdoc IAssetRegistry
    function namespaceOwner(string calldata namespace) external view returns (address) {
        return _namespaceOwners[keccak256(bytes(namespace))];
    }

    /// @dev Counts owners, so that what one of them signed elsewhere ends with the next.
    function _update(address to, uint256 tokenId, address auth) internal override returns (address from) {
        from = super._update(to, tokenId, auth);
        if (from != address(0)) ++_transfers[tokenId];
    }

    /// @dev A parent that is not registered yet is refused, so nothing can be its own ancestor.
    function _checkParents(Parent[] calldata parents) private view returns (uint8 depth) {
        if (parents.length == 0 || parents.length > MAX_PAYEES) revert AssetRegistry_InvalidParents(parents.length);
        uint256 sumBp = 0;
        for (uint256 i = 0; i < parents.length; ++i) {
            bytes32 parentId = parents[i].assetId;
            Asset storage parent = _assets[parentId];
            if (parent.tokenId == 0) revert AssetRegistry_UnknownAsset(parentId);
            if (parent.depth == MAX_DEPTH) revert AssetRegistry_TooDeep(parentId);
            if (parent.depth >= depth) depth = parent.depth + 1;
            sumBp += parents[i].royaltyBp;
            if (parents[i].royaltyBp == 0 || sumBp > MAX_ROYALTIES_BP) revert AssetRegistry_InvalidRoyalty(sumBp);
            for (uint256 j = 0; j < i; ++j) {
                if (parents[j].assetId == parentId) revert AssetRegistry_RepeatedParent(parentId);
            }
        }
    }

    /// @dev The first caller that uses a namespace keeps it.
    function _takeNamespace(string calldata slug) private {
        uint256 length = Slugs.namespaceLength(bytes(slug));
        if (length == 0) revert AssetRegistry_InvalidSlug(slug);
        bytes32 namespaceHash = keccak256(bytes(slug)[:length]);
        address holder = _namespaceOwners[namespaceHash];
        if (holder == address(0)) _namespaceOwners[namespaceHash] = msg.sender;
        else if (holder != msg.sender) revert AssetRegistry_NamespaceTaken(slug, holder);
    }
}
