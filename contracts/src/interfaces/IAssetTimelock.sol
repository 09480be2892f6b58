// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Owner of an asset that has shares
/// @notice Everything that is decided about the asset waits here, in sight, as long as an exit takes at least. An
/// operator may do at once what serving needs: activate published versions and close plans.
interface IAssetTimelock {
    /// @param proposer Schedules and cancels: the governor of the shares, or a steward where shares do not vote.
    /// @param operator Activates versions and closes plans; the zero address: nobody.
    /// @param delay Seconds from scheduling to execution.
    struct Setup {
        bytes32 assetId;
        address shares;
        address proposer;
        address operator;
        uint256 delay;
    }

    /// @notice A delay is at least the escrow's exit delay and at most `MAX_DELAY`.
    error AssetTimelock_InvalidDelay(uint256 delay, uint256 least, uint256 most);
    /// @notice The Directory lists no active contract of this name.
    error AssetTimelock_Missing(bytes32 name);
    /// @notice The Directory never listed this as a PlanBook.
    error AssetTimelock_NotPlanBook(address planBook);
    /// @notice The router pays whom this timelock has named.
    error AssetTimelock_AlreadyBound(address router, address payee);

    /// @notice Makes a clone what it is. Once, by the factory, in the transaction that creates it.
    function initialize(Setup calldata setup) external;

    /// @notice Activates a published version. By the operator.
    function activateVersion(bytes32 digest) external;

    /// @notice Closes a plan of the asset. By the operator.
    function closePlan(address planBook, uint256 planId) external;

    /// @notice Names the shares as payee in the active router, where nobody is named. Anyone may call, for a router
    /// that came after this timelock.
    function bind() external;

    /// @notice Asset that belongs here.
    function assetId() external view returns (bytes32);

    /// @notice Shares of the asset.
    function shares() external view returns (address);
}
