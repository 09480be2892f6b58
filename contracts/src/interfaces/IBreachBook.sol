// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Licences that end for a breach
/// @notice A plan with a breach notice lets whoever speaks for its asset end one of its licences: announce, wait out the
/// notice, revoke. The revoker pays back the price of the time that is left in the same transaction, to the holder of
/// that moment, who claims it here.
interface IBreachBook {
    /// @notice A breach was announced. `evidence` is the digest of what is alleged; the licence can be revoked from
    /// `effectiveAt` until `lapsesAt`, Unix seconds.
    event BreachAnnounced(
        uint256 indexed tokenId,
        uint256 indexed planId,
        bytes32 indexed assetId,
        bytes32 evidence,
        uint64 effectiveAt,
        uint64 lapsesAt
    );
    /// @notice An announcement was taken back.
    event BreachRetracted(uint256 indexed tokenId);
    /// @notice A licence was revoked and `refund` of `currency` became claimable by its holder.
    event BreachRefunded(uint256 indexed tokenId, address indexed holder, address indexed currency, uint256 refund);
    /// @notice A claimable balance was paid out.
    event RefundClaimed(address indexed account, address indexed token, uint256 amount);

    /// @notice The caller is neither owner of the asset nor approved for it.
    error BreachBook_Unauthorized(bytes32 assetId, address caller);
    /// @notice The plan states no grounds, so its licences are never revoked.
    error BreachBook_NotRevocable(uint256 tokenId, uint256 planId);
    /// @notice The licence has ended.
    error BreachBook_Ended(uint256 tokenId, uint64 endTime);
    /// @notice No evidence is named.
    error BreachBook_NoEvidence(uint256 tokenId);
    /// @notice A breach of this licence is announced already.
    error BreachBook_Announced(uint256 tokenId, uint64 effectiveAt);
    /// @notice No breach of this licence is announced, or its time has lapsed.
    error BreachBook_NotAnnounced(uint256 tokenId);
    /// @notice The notice runs until then.
    error BreachBook_NoticeRuns(uint256 tokenId, uint64 effectiveAt);
    /// @notice The refund is more than the caller pays.
    error BreachBook_RefundAboveMax(uint256 refund, uint256 maxRefund);
    /// @notice The token delivered another amount than the refund.
    error BreachBook_AmountMismatch(address token, uint256 expected, uint256 received);
    /// @notice Nothing is claimable by this account in this token.
    error BreachBook_NothingToClaim(address account, address token);

    /// @notice Announces a breach of a licence that runs, by the asset's owner or an approved account. Entry: needs the
    /// book active in the Directory, or retiring, where it answers for the licences that did not migrate.
    function announce(uint256 tokenId, bytes32 evidence) external returns (uint64 effectiveAt);

    /// @notice Takes an announcement back, by the asset's owner or an approved account.
    function retract(uint256 tokenId) external;

    /// @notice Revokes a licence after the notice, within `REVOKE_WINDOW`. The caller, the asset's owner or an approved
    /// account, pays the refund, at most `maxRefund` of the plan's currency.
    function revoke(uint256 tokenId, uint256 maxRefund) external returns (uint256 refund);

    /// @notice Pays the caller's claimable balance of a token to the caller. Exit: open in every state.
    function claim(address token) external returns (uint256 amount);

    /// @notice When an announced breach becomes effective; 0: none is announced, or it has lapsed.
    function announcedFor(uint256 tokenId) external view returns (uint64 effectiveAt);

    /// @notice Price of the time that is left of a licence, rounded up; what its revocation now would cost.
    function refundOf(uint256 tokenId) external view returns (uint256);

    /// @notice Claimable balance of an account in a token.
    function claimableOf(address account, address token) external view returns (uint256);

    /// @notice Everything claimable in a token; never above the balance.
    function owedOf(address token) external view returns (uint256);
}
