// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Revenue of assets, and who may claim it
/// @notice Money that came in for an asset is pending for the account that owned the asset in that block, or for whom it
/// named, under the fee and split of that block. `distribute` turns the oldest of it into claimable balances of treasury,
/// contributors and payee, and into pending revenue of the asset's parents, one hop a call; `claim` pays out.
interface IRevenueRouter {
    /// @notice Where revenue comes from.
    enum Source {
        Sale,
        Usage,
        Royalty,
        Expiry
    }

    /// @notice Under what revenue is divided: what holds in one block.
    struct Terms {
        address payee;
        uint16 feeBp;
        uint32 splitId;
    }

    /// @notice Revenue of one asset in one token that came in under the same terms and is not distributed yet.
    /// Royalties have paid the protocol's fee where they were earned.
    struct Bucket {
        uint128 amount;
        uint128 royalties;
        address payee;
        uint16 feeBp;
        uint32 splitId;
    }

    /// @notice All that waits for one asset in one token, and the terms of what is distributed next.
    struct Pending {
        uint128 amount;
        uint16 feeBp;
        address payee;
    }

    /// @notice Money came in. `ref` is the licence's token id (Sale), the id of what was held (Usage), the asset that
    /// paid it out of what waits for it (Royalty), or the id of the series whose units ended unused (Expiry).
    event RevenueReceived(
        bytes32 indexed assetId,
        address indexed token,
        address indexed payee,
        uint128 amount,
        Source source,
        bytes32 ref
    );
    /// @notice Pending revenue became claimable by one payee: `amount = fee + payeeAmount`. One for each contributor,
    /// without fee, and last the owner's, whose fee has the dust in it.
    event Distributed(
        bytes32 indexed assetId,
        address indexed token,
        address indexed payee,
        uint128 amount,
        uint128 fee,
        uint128 payeeAmount
    );
    /// @notice What was left when the contributors' part was divided; the treasury has it, as part of the fee.
    event DustKept(bytes32 indexed assetId, address indexed token, uint128 amount);
    /// @notice A claimable balance was paid out.
    event Claimed(address indexed account, address indexed token, uint256 amount);
    /// @notice What the owner's assets earn from now on belongs to `payee`, to the owner where it is the zero address.
    event PayeeNamed(address indexed owner, address indexed payee);
    /// @notice The protocol fee will be `feeBp` for revenue that comes in from `effectiveAt` on.
    event FeeScheduled(uint16 feeBp, uint64 effectiveAt);

    /// @notice Only an active or retiring LicenseSale, and an escrow or Credits of any generation bring revenue.
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

    /// @notice More tokens than `MAX_CLAIMS`.
    error RevenueRouter_TooManyTokens(uint256 tokens);

    /// @notice Books `amount` of `token`, which the caller has just transferred here, as revenue of the asset.
    function receiveRevenue(bytes32 assetId, address token, uint128 amount, bytes32 ref) external;

    /// @notice Books revenue that was earned in an earlier block, under the terms of that block. An escrow calls, a
    /// retired one too, which may still hold what was earned before.
    function receiveSettled(bytes32 assetId, address token, uint128 amount, bytes32 ref, Terms calldata terms) external;

    /// @notice Distributes what came in for an asset under the oldest terms: the protocol fee goes to the treasury, of
    /// the rest royalties wait for the parents, of that rest contributors get their share, and the payee has what is
    /// left. All parts are rounded down. Anyone may call. Exit: open in every state.
    function distribute(bytes32 assetId, address token) external;

    /// @notice Pays the caller's claimable balance of a token to the caller. Exit: open in every state.
    function claim(address token) external returns (uint256 amount);

    /// @notice Names who gets what the caller's assets earn from now on, instead of the caller: an asset's timelock names
    /// its shares. It holds for what the caller owns when revenue comes in, and not for the next owner.
    function payTo(address payee) external;
    /// @notice Pays the caller's claimable balances of several tokens, passing over those that are empty. Exit.
    function claimBatch(address[] calldata tokens) external returns (uint256[] memory amounts);

    /// @notice Schedules the protocol fee, in basis points, for `FEE_DELAY` from now. Restricted.
    function setFee(uint16 feeBp) external;

    /// @notice Fee, in basis points, for revenue that comes in now.
    function feeBp() external view returns (uint16);

    /// @notice Who gets what an asset earns now: whom its owner named, or the owner; zero for an unknown asset.
    function payeeOf(bytes32 assetId) external view returns (address);

    /// @notice The terms that hold for an asset now; all zero for an unknown one.
    function termsOf(bytes32 assetId) external view returns (Terms memory);

    /// @notice Whom an owner has named, the zero address when nobody.
    function namedPayeeOf(address owner) external view returns (address);

    /// @notice Account that earns the protocol fee.
    function treasury() external view returns (address);

    /// @notice Pending revenue of an asset in a token.
    function pendingOf(bytes32 assetId, address token) external view returns (Pending memory);

    /// @notice The buckets of an asset in a token, oldest first; the last one may be empty.
    function bucketsOf(bytes32 assetId, address token) external view returns (Bucket[] memory);

    /// @notice All the dust of a token so far.
    function dustOf(address token) external view returns (uint256);

    /// @notice Claimable balance of an account in a token.
    function claimableOf(address account, address token) external view returns (uint256);

    /// @notice Everything pending or claimable in a token; never above the balance.
    function owedOf(address token) external view returns (uint256);
}
