// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {IAssetRegistry} from "./interfaces/IAssetRegistry.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {ITokenState} from "./interfaces/ITokenState.sol";
import {Slugs} from "./libraries/Slugs.sol";

/// @title Registry of AI assets and their versions
contract AssetRegistry is IAssetRegistry, ITokenState, ERC721 {
    /// @notice Longest URI of a version.
    uint256 public constant MAX_URI_BYTES = 512;

    struct Asset {
        uint256 tokenId;
        Kind kind;
        uint32 versions;
        bytes32 activeDigest;
        string slug;
    }

    IDirectory private immutable _directory;

    mapping(bytes32 assetId => Asset) private _assets;
    mapping(bytes32 assetId => mapping(bytes32 digest => Version)) private _versions;
    mapping(bytes32 namespaceHash => address) private _namespaceOwners;

    constructor(IDirectory directory) ERC721("Licet Asset", "LICET") {
        _directory = directory;
    }

    modifier onlyAuthorized(bytes32 assetId) {
        if (_assets[assetId].tokenId == 0) revert AssetRegistry_UnknownAsset(assetId);
        if (!isAuthorized(assetId, msg.sender)) revert AssetRegistry_Unauthorized(assetId, msg.sender);
        _;
    }

    /// @inheritdoc IAssetRegistry
    function register(string calldata slug, Kind kind, address owner) external returns (uint256 tokenId) {
        _directory.requireActive(address(this));
        if (kind == Kind.None) revert AssetRegistry_InvalidKind();
        _takeNamespace(slug);
        tokenId = uint256(keccak256(bytes(slug)));
        bytes32 assetId = assetIdOf(tokenId);
        if (_assets[assetId].tokenId != 0) revert AssetRegistry_SlugTaken(slug, assetId);
        _assets[assetId] = Asset({tokenId: tokenId, kind: kind, versions: 0, activeDigest: 0, slug: slug});
        // No receiver hook: the caller names the owner, and a hook could act before the event below.
        _mint(owner, tokenId);
        emit AssetRegistered(assetId, tokenId, owner, kind, slug);
    }

    /// @inheritdoc IAssetRegistry
    function publishVersion(bytes32 assetId, bytes32 digest, string calldata uri) external onlyAuthorized(assetId) {
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
    function activateVersion(bytes32 assetId, bytes32 digest) external onlyAuthorized(assetId) {
        if (_versions[assetId][digest].ordinal == 0) revert AssetRegistry_UnknownVersion(assetId, digest);
        if (_assets[assetId].activeDigest == digest) revert AssetRegistry_AlreadyActive(assetId, digest);
        _assets[assetId].activeDigest = digest;
        emit VersionActivated(assetId, digest);
    }

    /// @inheritdoc IAssetRegistry
    function assetIdOf(uint256 tokenId) public view returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                "eip155:",
                Strings.toString(block.chainid),
                "/erc721:",
                Strings.toHexString(address(this)),
                "/",
                Strings.toString(tokenId)
            )
        );
    }

    /// @inheritdoc IAssetRegistry
    function tokenIdOf(bytes32 assetId) external view returns (uint256) {
        return _assets[assetId].tokenId;
    }

    /// @inheritdoc IAssetRegistry
    function assetOwner(bytes32 assetId) external view returns (address) {
        return _ownerOf(_assets[assetId].tokenId);
    }

    /// @inheritdoc IAssetRegistry
    function isAuthorized(bytes32 assetId, address account) public view returns (bool) {
        uint256 tokenId = _assets[assetId].tokenId;
        address owner = _ownerOf(tokenId);
        return owner != address(0) && _isAuthorized(owner, account, tokenId);
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

    /// @inheritdoc ITokenState
    /// @notice Over the versions and which one is active.
    function tokenStateHash(uint256 tokenId) external view returns (bytes32) {
        bytes32 assetId = assetIdOf(tokenId);
        Asset storage asset = _assets[assetId];
        if (asset.tokenId == 0) revert AssetRegistry_UnknownAsset(assetId);
        return keccak256(abi.encode(assetId, asset.versions, asset.activeDigest));
    }

    /// @inheritdoc IAssetRegistry
    function namespaceOwner(string calldata namespace) external view returns (address) {
        return _namespaceOwners[keccak256(bytes(namespace))];
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
