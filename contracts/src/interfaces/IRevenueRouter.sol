// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Revenue of assets, and who may claim it
/// @notice Money that came in for an asset is pending for the account that owned the asset in that block, or for whom it
/// named, under the fee of that block. `distribute` turns it into claimable balances; `claim` pays them out.
interface IRevenueRouter {
    /// @notice Where revenue comes from.
    enum Source {
        Sale,
        Usage
    }

    /// @notice Revenue of one asset in one token that is not distributed yet. All of it belongs to `payee`.
    struct Pending {
        uint128 amount;
        uint16 feeBp;
        address payee;
    }

    /// @notice Money came in. `ref` is the licence's token id (Sale) or the deposit id (Usage).
    event RevenueReceived(
        bytes32 indexed assetId,
        address indexed token,
        address indexed payee,
        uint128 amount,
        Source source,
        bytes32 ref
    );
    /// @notice Pending revenue became claimable: `amount = fee + payeeAmount`, nothing is left over.
    event Distributed(
        bytes32 indexed assetId,
        address indexed token,
        address indexed payee,
        uint128 amount,
        uint128 fee,
        uint128 payeeAmount
    );
    /// @notice A claimable balance was paid out.
    event Claimed(address indexed account, address indexed token, uint256 amount);
    /// @notice What the owner's assets earn from now on belongs to `payee`, to the owner where it is the zero address.
    event PayeeNamed(address indexed owner, address indexed payee);
    /// @notice The protocol fee will be `feeBp` for revenue that comes in from `effectiveAt` on.
    event FeeScheduled(uint16 feeBp, uint64 effectiveAt);

    /// @notice Only a LicenseSale or UsageEscrow that the Directory lists as active or retiring brings revenue.
    error RevenueRouter_NotSource(address caller);
    /// @notice No asset has this id, so nobody would own the revenue.
    error RevenueRouter_UnknownAsset(bytes32 assetId);
    /// @notice The balance does not cover what the caller says it brought.
    error RevenueRouter_Unbacked(address token, uint256 balance, uint256 needed);
    /// @notice The fee is above the ceiling in the code.
    error RevenueRouter_FeeAboveCeiling(uint16 feeBp, uint16 ceilingBp);
    /// @notice Nothing is pending for this asset in this token.
    error RevenueRouter_NothingPending(bytes32 assetId, address token);
    /// @notice Nothing is claimable by this account in this token.
    error RevenueRouter_NothingToClaim(address account, address token);

    /// @notice Books `amount` of `token`, which the caller has just transferred here, as revenue of the asset.
    function receiveRevenue(bytes32 assetId, address token, uint128 amount, bytes32 ref) external;

    /// @notice Makes the pending revenue of an asset claimable: the protocol fee (rounded down) by the treasury, the
    /// rest by the payee. Anyone may call. Exit: open in every state.
    function distribute(bytes32 assetId, address token) external;

    /// @notice Pays the caller's claimable balance of a token to the caller. Exit: open in every state.
    function claim(address token) external returns (uint256 amount);

    /// @notice Names who gets what the caller's assets earn from now on, instead of the caller: an asset's timelock names
    /// its shares. It holds for what the caller owns when revenue comes in, and not for the next owner.
    function payTo(address payee) external;

    /// @notice Schedules the protocol fee, in basis points, for `FEE_DELAY` from now. Restricted.
    function setFee(uint16 feeBp) external;

    /// @notice Fee, in basis points, for revenue that comes in now.
    function feeBp() external view returns (uint16);

    /// @notice Who gets what an asset earns now: whom its owner named, or the owner; zero for an unknown asset.
    function payeeOf(bytes32 assetId) external view returns (address);

    /// @notice Whom an owner has named, the zero address when nobody.
    function namedPayeeOf(address owner) external view returns (address);

    /// @notice Account that earns the protocol fee.
    function treasury() external view returns (address);

    /// @notice Pending revenue of an asset in a token.
    function pendingOf(bytes32 assetId, address token) external view returns (Pending memory);

    /// @notice Claimable balance of an account in a token.
    function claimableOf(address account, address token) external view returns (uint256);

    /// @notice Everything pending or claimable in a token; never above the balance.
    function owedOf(address token) external view returns (uint256);
}
