// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAssetRegistry} from "./IAssetRegistry.sol";
import {Mirrors} from "../libraries/Mirrors.sol";

/// @title Assets of other chains that are sold on this one
/// @notice This chain cannot read an asset's home. So a mirror needs two who do not stand in for each other: the owner
/// at home signs what is sold here and for whom, and a reporter says who that owner is. A mirror sells while both
/// agree on owner and epoch and its statement runs; a report of a newer epoch ends that at once.
interface IMirrorBook {
    /// @notice What reporters say of an asset's home. `epoch` 0: nothing yet.
    /// @param lineage `keccak256(abi.encode(parents))` of what the asset was derived from, in the order at home.
    struct Report {
        address owner;
        uint64 epoch;
        uint64 reportedAt;
        bytes32 lineage;
    }

    /// @notice What an asset's owner at home let happen here. `owner` is zero when there is no mirror.
    struct Mirror {
        address owner;
        uint64 epoch;
        address homeOwner;
        uint64 validUntil;
    }

    /// @notice The mirror of an asset is this now; `validUntil` 0: its owner at home has ended it.
    event MirrorBound(
        bytes32 indexed assetId,
        address indexed owner,
        address indexed homeOwner,
        uint64 epoch,
        uint64 validUntil,
        uint256 homeChainId,
        address homeRegistry,
        string slug
    );
    /// @notice An asset's owner at home is `owner`, in this epoch. A mirror of another owner or epoch sells nothing.
    event OwnerReported(bytes32 indexed assetId, address indexed owner, uint64 epoch, bytes32 lineage);
    /// @notice Statements of this owner for the asset with lower nonces are void here.
    event StatementsCancelled(bytes32 indexed assetId, address indexed homeOwner, uint64 nonce);

    /// @notice An asset of this chain has its owner here.
    error MirrorBook_AtHome(bytes32 assetId);
    /// @notice The slug is not `owner/model` with parts of `[a-z0-9-]{1,39}`.
    error MirrorBook_InvalidSlug(string slug);
    /// @notice The mirror has no owner here.
    error MirrorBook_InvalidOwner();
    /// @notice The signature is not that of the owner whom the statement names.
    error MirrorBook_InvalidSignature(bytes32 digest, address homeOwner);
    /// @notice Reporters say that another account owns the asset at home, or in another epoch, or they say nothing.
    error MirrorBook_NotReported(bytes32 assetId, address homeOwner, uint64 epoch);
    /// @notice The statement is over, or would hold longer than `MAX_VALIDITY` after the last report.
    error MirrorBook_InvalidTime(uint64 validUntil, uint64 latest);
    /// @notice A statement with this nonce or a higher one was used or cancelled.
    error MirrorBook_NonceUsed(address homeOwner, uint64 nonce);
    /// @notice These are not the parents that were reported.
    error MirrorBook_OtherLineage(bytes32 assetId, bytes32 lineage);
    /// @notice More than `MAX_PARENTS` parents, or they earn more than `MAX_ROYALTIES_BP` together.
    error MirrorBook_InvalidLineage(uint256 parents, uint256 royaltyBp);
    /// @notice The parent has no mirror here, so nobody could be paid for it.
    error MirrorBook_UnknownParent(bytes32 parentId);
    /// @notice The epoch is 0, older than the reported one, or the same with another owner or lineage.
    error MirrorBook_StaleReport(bytes32 assetId, uint64 epoch, uint64 reported);

    /// @notice Lets an asset of another chain be sold here, by anyone who brings its owner's signature. Replaces the
    /// mirror before; revenue from now on is the new owner's. Entry: needs the book active in the Directory.
    /// @param parents What the asset was derived from, as reported; each has a mirror here.
    function bind(
        Mirrors.Statement calldata statement,
        IAssetRegistry.Parent[] calldata parents,
        bytes calldata signature
    ) external returns (bytes32 assetId);

    /// @notice Ends the caller's mirror of the asset, and voids its statements with nonces below `nonce`.
    function cancel(bytes32 assetId, uint64 nonce) external;

    /// @notice Says who owns an asset at home. A newer epoch closes the mirror at once; the same one again, with the
    /// same owner and lineage, lets statements run longer. Restricted.
    function report(bytes32 assetId, address owner, uint64 epoch, bytes32 lineage) external;

    /// @notice Puts a wrong report right, also to an older epoch. Restricted to who waits as long as an exit.
    function correct(bytes32 assetId, address owner, uint64 epoch, bytes32 lineage) external;

    /// @notice Whether the asset has a mirror that sells now.
    function isOpen(bytes32 assetId) external view returns (bool);

    /// @notice Whether `account` owns a mirror of the asset that sells now.
    function isAuthorized(bytes32 assetId, address account) external view returns (bool);

    /// @notice Who earns what comes in for the asset here, also while its mirror is closed; zero without a mirror.
    function ownerOf(bytes32 assetId) external view returns (address);

    /// @notice The mirror of an asset, open or not.
    function mirrorOf(bytes32 assetId) external view returns (Mirror memory);

    /// @notice What was reported of an asset.
    function reportOf(bytes32 assetId) external view returns (Report memory);

    /// @notice Parents of a mirrored asset.
    function parentsOf(bytes32 assetId) external view returns (IAssetRegistry.Parent[] memory);

    /// @notice Lowest nonce that a statement of this owner for the asset may have.
    function nextNonceOf(bytes32 assetId, address homeOwner) external view returns (uint64);

    /// @notice The digest that an owner signs.
    function statementDigest(Mirrors.Statement calldata statement) external view returns (bytes32);
}
