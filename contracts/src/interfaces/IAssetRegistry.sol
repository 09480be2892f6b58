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

    /// @notice An asset that this one was derived from, and its part of what this one earns.
    struct Parent {
        bytes32 assetId;
        uint16 royaltyBp;
    }

    /// @notice Somebody who earns in proportion to `weight`.
    struct Contributor {
        address account;
        uint32 weight;
    }

    /// @notice Contributors of an asset, and their part, in basis points, of what its parents leave.
    struct Split {
        uint16 shareBp;
        Contributor[] contributors;
    }

    /// @notice An asset came into being.
    event AssetRegistered(
        bytes32 indexed assetId, uint256 indexed tokenId, address indexed owner, Kind kind, string slug
    );
    /// @notice A version was published; it does not serve before it is activated.
    event VersionPublished(bytes32 indexed assetId, bytes32 indexed digest, string uri, uint32 ordinal);
    /// @notice The version is now the asset's active one; the version before is not.
    event VersionActivated(bytes32 indexed assetId, bytes32 indexed digest);

    /// @notice The asset was derived from `parentId`, which earns `royaltyBp` of what it earns. Never changes.
    event ParentDeclared(bytes32 indexed assetId, bytes32 indexed parentId, uint16 royaltyBp);
    /// @notice Revenue that comes in from now on is split like this; its contributors follow as events.
    event SplitChanged(bytes32 indexed assetId, uint32 indexed splitId, uint16 shareBp);
    /// @notice A contributor of the split.
    event ContributorNamed(bytes32 indexed assetId, uint32 indexed splitId, address indexed account, uint32 weight);
    /// @notice Whether the delegate may publish and activate versions while `owner` owns the asset.
    event DelegateSet(bytes32 indexed assetId, address indexed owner, address indexed delegate, bool allowed);
    /// @notice A sale of the asset's token pays `royaltyBp` to `receiver` (ERC-2981).
    event RoyaltySet(bytes32 indexed assetId, address indexed receiver, uint16 royaltyBp);

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

    /// @notice No parent, or more than `MAX_PAYEES`.
    error AssetRegistry_InvalidParents(uint256 count);
    /// @notice The asset has a parent twice.
    error AssetRegistry_RepeatedParent(bytes32 parentId);
    /// @notice A parent earns nothing, or the parents together more than `MAX_ROYALTIES_BP`.
    error AssetRegistry_InvalidRoyalty(uint256 royaltyBp);
    /// @notice The parent has `MAX_DEPTH` generations before it.
    error AssetRegistry_TooDeep(bytes32 parentId);
    /// @notice Parents and contributors are more than `MAX_PAYEES`.
    error AssetRegistry_TooManyPayees(uint256 count);
    /// @notice A share without contributors, contributors without a share, or a share above the whole.
    error AssetRegistry_InvalidShare(uint256 shareBp, uint256 contributors);
    /// @notice A contributor is the zero address or weighs nothing.
    error AssetRegistry_InvalidContributor(address account, uint32 weight);
    /// @notice The royalty of a token sale is above `MAX_SALE_ROYALTY_BP`, or more than its receiver has now.
    error AssetRegistry_RoyaltyAboveCeiling(uint16 royaltyBp, uint16 ceilingBp);

    /// @notice Registers an asset and mints its token to `owner`. The first caller that uses the part before the
    /// slash keeps that namespace. Entry: needs the registry active in the Directory.
    /// @return tokenId `uint256(keccak256(bytes(slug)))`.
    function register(string calldata slug, Kind kind, address owner) external returns (uint256 tokenId);

    /// @notice As `register`, for an asset that was derived from others. Its lineage holds for good: parents exist
    /// before their children and never get parents later, so there are no cycles. Entry.
    /// @param parents Different assets of this registry, `MAX_PAYEES` at most, that earn `MAX_ROYALTIES_BP` together.
    function registerDerived(string calldata slug, Kind kind, address owner, Parent[] calldata parents)
        external
        returns (uint256 tokenId);

    /// @notice Splits revenue that comes in from now on, by the asset's owner or an approved account. What came in
    /// before keeps its split.
    /// @param shareBp What contributors get of what parents leave; 0 without contributors.
    /// @return splitId Counts from 1; 0 is the split that has no contributors.
    function setContributors(bytes32 assetId, uint16 shareBp, Contributor[] calldata contributors)
        external
        returns (uint32 splitId);

    /// @notice Lets an account publish and activate versions, and nothing else, until the asset changes hands.
    /// By the asset's owner or an approved account.
    function setDelegate(bytes32 assetId, address delegate, bool allowed) external;

    /// @notice Sets what a sale of the asset's token pays (ERC-2981): by the asset's owner while nothing is set,
    /// afterwards by the receiver alone, who can pass it on and lower it.
    function setRoyalty(bytes32 assetId, address receiver, uint16 royaltyBp) external;

    /// @notice Publishes an immutable version, by the asset's owner, an approved account or a delegate.
    /// @param digest Manifest digest, unique within the asset.
    function publishVersion(bytes32 assetId, bytes32 digest, string calldata uri) external;

    /// @notice Makes a published version the active one, by the asset's owner, an approved account or a delegate.
    function activateVersion(bytes32 assetId, bytes32 digest) external;

    /// @notice Asset id of a token id, whether or not it is registered.
    function assetIdOf(uint256 tokenId) external view returns (bytes32);

    /// @notice Token id of an asset, 0 when it is unknown.
    function tokenIdOf(bytes32 assetId) external view returns (uint256);

    /// @notice Owner of an asset, the zero address when it is unknown. Of an asset of another chain: who earns what
    /// comes in for its mirror here.
    function assetOwner(bytes32 assetId) external view returns (address);

    /// @notice Whether `account` owns the asset or is approved for it; false for an unknown asset. Of an asset of
    /// another chain: whether it owns a mirror that sells now.
    function isAuthorized(bytes32 assetId, address account) external view returns (bool);

    /// @notice Whether `account` may publish and activate versions of the asset.
    function mayPublish(bytes32 assetId, address account) external view returns (bool);

    /// @notice Owner of an asset and the split that holds now; zeros when it is unknown.
    function termsOf(bytes32 assetId) external view returns (address owner, uint32 splitId);

    /// @notice How often the asset has got an owner; 0 when it is not at home here.
    function epochOf(bytes32 assetId) external view returns (uint64);

    /// @notice Whether rights to the asset are sold here: it is at home here, or its mirror is open.
    function isOnSale(bytes32 assetId) external view returns (bool);

    /// @notice Parents of an asset, as declared.
    function parentsOf(bytes32 assetId) external view returns (Parent[] memory);

    /// @notice Longest way from an asset up to one without parents.
    function depthOf(bytes32 assetId) external view returns (uint8);

    /// @notice A split of an asset, present or past; empty when there is none of this id.
    function splitOf(bytes32 assetId, uint32 splitId) external view returns (Split memory);

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
