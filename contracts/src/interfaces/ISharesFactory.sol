// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IShares} from "./IShares.sol";

/// @title Turns an asset into shares
/// @notice In one transaction the asset's token goes to a timelock of its own and the whole supply to those whom its
/// owner names. Clones have addresses that follow from the asset and from how often it was turned into shares; nobody
/// but the asset's owner can have them created.
interface ISharesFactory {
    /// @param steward Who schedules what the timelock does.
    /// @param operator Who may activate versions and close plans at once; the zero address: nobody.
    /// @param delay Seconds that everything waits in the timelock.
    struct Order {
        bytes32 assetId;
        address steward;
        address operator;
        uint256 delay;
        IShares.Terms shares;
    }

    /// @notice The contracts of one fractionalisation.
    struct Parts {
        address shares;
        address timelock;
    }

    /// @notice The asset belongs to its timelock, and `supply` shares of it exist.
    event Fractionalised(
        bytes32 indexed assetId, address indexed shares, address indexed timelock, uint256 supply, bool votes
    );

    /// @notice Only the asset's owner turns it into shares.
    error SharesFactory_NotOwner(bytes32 assetId, address caller);
    /// @notice Somebody has to be able to propose.
    error SharesFactory_NoProposer();

    /// @notice Turns the caller's asset into shares. The factory must be approved for the asset's token. Entry: needs
    /// the factory active in the Directory.
    function fractionalise(Order calldata order) external returns (Parts memory parts);

    /// @notice The latest contracts of an asset; zero addresses when there never were any.
    function partsOf(bytes32 assetId) external view returns (Parts memory);

    /// @notice Where the next contracts of an asset will stand.
    function nextPartsOf(bytes32 assetId) external view returns (Parts memory);

    /// @notice How often an asset was turned into shares.
    function countOf(bytes32 assetId) external view returns (uint256);
}
