// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAssetGovernor} from "./IAssetGovernor.sol";
import {IShares} from "./IShares.sol";

/// @title Turns an asset into shares
/// @notice In one transaction the asset's token goes to a timelock of its own and the whole supply to those whom its
/// owner names. Clones have addresses that follow from the asset and from how often it was turned into shares; nobody
/// but the asset's owner can have them created.
interface ISharesFactory {
    /// @param steward Who schedules what the timelock does, where shares do not vote; the zero address where they do.
    /// @param operator Who may activate versions and close plans at once; the zero address: nobody.
    /// @param delay Seconds that everything waits in the timelock.
    /// @param ballot How votes go; not read where shares do not vote.
    struct Order {
        bytes32 assetId;
        address steward;
        address operator;
        uint256 delay;
        IAssetGovernor.Ballot ballot;
        IShares.Terms shares;
    }

    /// @notice The contracts of one fractionalisation. `governor` is the zero address where shares do not vote.
    struct Parts {
        address shares;
        address timelock;
        address governor;
    }

    /// @notice The asset belongs to its timelock, and `supply` shares of it exist.
    event Fractionalised(
        bytes32 indexed assetId, address indexed shares, address indexed timelock, address governor, uint256 supply
    );

    /// @notice Only the asset's owner turns it into shares.
    error SharesFactory_NotOwner(bytes32 assetId, address caller);
    /// @notice A steward decides where shares do not vote, and only there: beside votes it would go around them.
    error SharesFactory_InvalidSteward(address steward, bool votes);

    /// @notice Turns the caller's asset into shares. The factory must be approved for the asset's token. Entry: needs
    /// the factory active in the Directory, and where the ComplianceGate regulates the asset, shares that name it.
    function fractionalise(Order calldata order) external returns (Parts memory parts);

    /// @notice The latest contracts of an asset; zero addresses when there never were any.
    function partsOf(bytes32 assetId) external view returns (Parts memory);

    /// @notice Where the next contracts of an asset will stand, a governor where its shares will vote.
    function nextPartsOf(bytes32 assetId) external view returns (Parts memory);

    /// @notice How often an asset was turned into shares.
    function countOf(bytes32 assetId) external view returns (uint256);
}
