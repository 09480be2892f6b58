// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title Orders for assets, licences, credits and shares
/// @notice Holds nothing: a maker signs, a taker fills, and both sides move in the taker's transaction. A fixed price
/// and a Dutch sale are sell orders; an offer and a bid in an auction are buy orders, which the seller accepts.
interface IMarket {
    enum Side {
        Sell,
        Buy
    }

    enum Standard {
        ERC721,
        ERC1155,
        ERC20
    }

    /// @notice What a maker signs, EIP-712 in the domain `Licet Order`, version 1.
    /// @param tokenId 0 for ERC-20.
    /// @param amount Of the token: 1 for ERC-721. The others may be filled in parts.
    /// @param currency ERC-20 in which is paid.
    /// @param startPrice Price of the whole amount at `startTime`.
    /// @param endPrice Price of the whole amount at `endTime`; between them it moves in a straight line.
    /// @param endTime Last second in which the order can be filled.
    /// @param taker Who alone may fill it; 0: anyone.
    /// @param nonce Names the order for its maker: at most one order is ever filled under a nonce.
    /// @param epoch The maker's epoch, which `cancelAll` ends.
    /// @param stateHash The token's `tokenStateHash` for which the order holds; 0: any.
    struct Order {
        address maker;
        Side side;
        Standard standard;
        address token;
        uint256 tokenId;
        uint128 amount;
        address currency;
        uint128 startPrice;
        uint128 endPrice;
        uint64 startTime;
        uint64 endTime;
        address taker;
        uint256 nonce;
        uint64 epoch;
        bytes32 stateHash;
    }

    /// @notice An order was filled, in whole or in part. The seller got `price - royalty - fee`.
    event OrderFilled(
        bytes32 indexed orderHash,
        address indexed maker,
        address indexed taker,
        Side side,
        address token,
        uint256 tokenId,
        uint128 amount,
        address currency,
        uint256 price,
        address royaltyReceiver,
        uint256 royalty,
        uint256 fee
    );
    /// @notice The maker's orders under this nonce can no longer be filled.
    event OrderCancelled(address indexed maker, uint256 indexed nonce);
    /// @notice The maker's orders of earlier epochs can no longer be filled.
    event EpochRaised(address indexed maker, uint64 epoch);

    /// @notice Neither the maker's key nor the maker's contract stands for this signature.
    error Market_InvalidSignature(bytes32 orderHash, address maker);
    /// @notice The order's amount is 0, not 1 for ERC-721, or its times are not in order.
    error Market_InvalidOrder(bytes32 orderHash);
    /// @notice The order holds from `startTime` to `endTime`, both included.
    error Market_NotInTime(uint64 startTime, uint64 endTime);
    /// @notice Only `taker` may fill this order.
    error Market_NotTaker(address taker, address caller);
    /// @notice Maker and taker are the same.
    error Market_SelfDealing(address account);
    /// @notice The nonce is cancelled or belongs to another order.
    error Market_NonceUsed(address maker, uint256 nonce);
    /// @notice The maker cancelled all orders of this epoch.
    error Market_EpochOver(address maker, uint64 epoch, uint64 current);
    /// @notice Less than this is left of the order.
    error Market_AmountAboveRest(uint128 amount, uint128 rest);
    /// @notice The taker set a limit that the price does not keep: above it for a purchase, below it for a sale.
    error Market_PriceBeyondLimit(uint256 price, uint256 limit);
    /// @notice The token is no longer in the state that the maker signed for.
    error Market_StateChanged(address token, uint256 tokenId, bytes32 expected, bytes32 found);
    /// @notice A token delivered another amount than was sent (a fee on transfer, for one).
    error Market_AmountMismatch(address token, uint256 expected, uint256 received);
    /// @notice No RevenueRouter is active, so nobody says what the fee is.
    error Market_NoRouter();

    /// @notice Fills `amount` of an order. The caller is the buyer of a sell order and the seller to a buy order, and
    /// has approved this contract. Entry: needs the market active in the Directory.
    /// @param signature The maker's, by key or ERC-1271.
    /// @param limit The most that the caller pays, or the least that the caller gets before royalty and fee.
    /// @return price What the buyer paid.
    function fill(Order calldata order, bytes calldata signature, uint128 amount, uint256 limit)
        external
        returns (uint256 price);

    /// @notice Ends the caller's orders under these nonces. Always open.
    function cancel(uint256[] calldata nonces) external;

    /// @notice Ends all orders that the caller has signed so far. Always open.
    function cancelAll() external;

    /// @notice EIP-712 digest that the maker signs.
    function hashOrder(Order calldata order) external view returns (bytes32);

    /// @notice Price of `amount` of the order now, rounded in the maker's favour.
    function priceOf(Order calldata order, uint128 amount) external view returns (uint256);

    /// @notice How much of an order was filled.
    function filledOf(bytes32 orderHash) external view returns (uint128);

    /// @notice The order that has a nonce; 0: none. All bits are set where it is cancelled.
    function orderOfNonce(address maker, uint256 nonce) external view returns (bytes32);

    /// @notice The maker's epoch, which new orders name.
    function epochOf(address maker) external view returns (uint64);
}
