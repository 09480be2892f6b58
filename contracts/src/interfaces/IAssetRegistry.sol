// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Registry of AI assets and their versions (ERC-721)
/// @notice A token is an asset. Its token id is `uint256(keccak256(bytes(slug)))`; its asset id is the hash of its
/// CAIP-19 name, `keccak256("eip155:<chain id>/erc721:<registry, lower case>/<token id, decimal>")`, and is the same
/// on every chain that speaks of it.
interface IAssetRegistry {
    /// @notice What an asset is. None is refused.
    enum Kind {
        None,
        Model,
        Dataset,
        Pipeline,
        Agent
    }

    /// @notice One immutable artefact of an asset. `ordinal` counts from 1; 0 means that the version is unknown.
    struct Version {
        uint32 ordinal;
        uint64 publishedAt;
        string uri;
    }

    /// @notice An asset came into being.
    event AssetRegistered(
        bytes32 indexed assetId, uint256 indexed tokenId, address indexed owner, Kind kind, string slug
    );
    /// @notice A version was published; it does not serve before it is activated.
    event VersionPublished(bytes32 indexed assetId, bytes32 indexed digest, string uri, uint32 ordinal);
    /// @notice The version is now the asset's active one; the version before is not.
    event VersionActivated(bytes32 indexed assetId, bytes32 indexed digest);

    /// @notice The slug is not `owner/model` with parts of `[a-z0-9-]{1,39}`.
    error AssetRegistry_InvalidSlug(string slug);
    /// @notice The kind is None.
    error AssetRegistry_InvalidKind();
    /// @notice The slug is registered.
    error AssetRegistry_SlugTaken(string slug, bytes32 assetId);
    /// @notice The part of the slug before the slash belongs to the account that used it first.
    error AssetRegistry_NamespaceTaken(string slug, address namespaceOwner);
    /// @notice No asset has this id.
    error AssetRegistry_UnknownAsset(bytes32 assetId);
    /// @notice The caller is neither owner of the asset nor approved for it.
    error AssetRegistry_Unauthorized(bytes32 assetId, address caller);
    /// @notice The digest is zero, or the URI is empty or longer than `MAX_URI_BYTES`.
    error AssetRegistry_InvalidVersion(bytes32 digest, uint256 uriBytes);
    /// @notice The asset has a version of this digest.
    error AssetRegistry_VersionExists(bytes32 assetId, bytes32 digest);
    /// @notice The asset has no version of this digest.
    error AssetRegistry_UnknownVersion(bytes32 assetId, bytes32 digest);
    /// @notice The version is active already.
    error AssetRegistry_AlreadyActive(bytes32 assetId, bytes32 digest);

    /// @notice Registers an asset and mints its token to `owner`. The first caller that uses the part before the
    /// slash keeps that namespace. Entry: needs the registry active in the Directory.
    /// @return tokenId `uint256(keccak256(bytes(slug)))`.
    function register(string calldata slug, Kind kind, address owner) external returns (uint256 tokenId);

    /// @notice Publishes an immutable version, by the asset's owner or an approved account.
    /// @param digest Manifest digest, unique within the asset.
    function publishVersion(bytes32 assetId, bytes32 digest, string calldata uri) external;

    /// @notice Makes a published version the active one, by the asset's owner or an approved account.
    function activateVersion(bytes32 assetId, bytes32 digest) external;

    /// @notice Asset id of a token id, whether or not it is registered.
    function assetIdOf(uint256 tokenId) external view returns (bytes32);

    /// @notice Token id of an asset, 0 when it is unknown.
    function tokenIdOf(bytes32 assetId) external view returns (uint256);

    /// @notice Owner of an asset, the zero address when it is unknown.
    function assetOwner(bytes32 assetId) external view returns (address);

    /// @notice Whether `account` owns the asset or is approved for it; false for an unknown asset.
    function isAuthorized(bytes32 assetId, address account) external view returns (bool);

    /// @notice Kind of an asset, None when it is unknown.
    function kindOf(bytes32 assetId) external view returns (Kind);

    /// @notice Slug of an asset, empty when it is unknown.
    function slugOf(bytes32 assetId) external view returns (string memory);

    /// @notice A version of an asset; `ordinal` 0 when it is unknown.
    function versionOf(bytes32 assetId, bytes32 digest) external view returns (Version memory);

    /// @notice Digest of the active version, zero when there is none.
    function activeVersion(bytes32 assetId) external view returns (bytes32);

    /// @notice Account that keeps a namespace (the slug's part before the slash), zero when it is free.
    function namespaceOwner(string calldata namespace) external view returns (address);
}
