// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {IERC1155} from "@openzeppelin/contracts/token/ERC1155/IERC1155.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IDirectory} from "./interfaces/IDirectory.sol";
import {IMarket} from "./interfaces/IMarket.sol";
import {IRevenueRouter} from "./interfaces/IRevenueRouter.sol";
import {ITokenState} from "./interfaces/ITokenState.sol";
import {Names} from "./libraries/Names.sol";
import {Orders} from "./libraries/Orders.sol";

/// @title Orders for assets, licences, credits and shares
contract Market is IMarket, EIP712, ReentrancyGuardTransient {
    using Orders for Order;
    using SafeERC20 for IERC20;

    struct Trade {
        address seller;
        address buyer;
        uint128 amount;
        uint256 price;
    }

    /// @notice Greatest royalty that a sale pays, in basis points: what a token asks above it stays with the seller.
    uint256 public constant MAX_ROYALTY_BP = 1000;
    /// @notice Gas for asking a token about its royalty.
    uint256 public constant ROYALTY_GAS = 100_000;

    uint256 private constant BASIS_POINTS = 10_000;
    bytes32 private constant CANCELLED = bytes32(type(uint256).max);

    IDirectory private immutable _directory;

    mapping(address maker => mapping(uint256 nonce => bytes32 orderHash)) private _orders;
    mapping(bytes32 orderHash => uint128) private _filled;
    mapping(address maker => uint64) private _epochs;

    constructor(IDirectory directory) EIP712("Licet Order", "1") {
        _directory = directory;
    }

    /// @inheritdoc IMarket
    function fill(Order calldata order, bytes calldata signature, uint128 amount, uint256 limit)
        external
        nonReentrant
        returns (uint256 price)
    {
        _directory.requireActive(address(this));
        bytes32 orderHash = hashOrder(order);
        _check(order, orderHash);
        if (!SignatureChecker.isValidSignatureNow(order.maker, orderHash, signature)) {
            revert Market_InvalidSignature(orderHash, order.maker);
        }
        _take(order, orderHash, amount);
        price = order.price(amount);
        bool isSale = order.side == Side.Sell;
        if (isSale ? price > limit : price < limit) revert Market_PriceBeyondLimit(price, limit);
        (address seller, address buyer) = isSale ? (order.maker, msg.sender) : (msg.sender, order.maker);
        _settle(order, orderHash, Trade(seller, buyer, amount, price));
    }

    /// @inheritdoc IMarket
    function cancel(uint256[] calldata nonces) external {
        for (uint256 i = 0; i < nonces.length; ++i) {
            _orders[msg.sender][nonces[i]] = CANCELLED;
            emit OrderCancelled(msg.sender, nonces[i]);
        }
    }

    /// @inheritdoc IMarket
    function cancelAll() external {
        emit EpochRaised(msg.sender, ++_epochs[msg.sender]);
    }

    /// @inheritdoc IMarket
    function hashOrder(Order calldata order) public view returns (bytes32) {
        return _hashTypedDataV4(order.structHash());
    }

    /// @inheritdoc IMarket
    function priceOf(Order calldata order, uint128 amount) external view returns (uint256) {
        _check(order, hashOrder(order));
        return order.price(amount);
    }

    /// @inheritdoc IMarket
    function filledOf(bytes32 orderHash) external view returns (uint128) {
        return _filled[orderHash];
    }

    /// @inheritdoc IMarket
    function orderOfNonce(address maker, uint256 nonce) external view returns (bytes32) {
        return _orders[maker][nonce];
    }

    /// @inheritdoc IMarket
    function epochOf(address maker) external view returns (uint64) {
        return _epochs[maker];
    }

    function _check(Order calldata order, bytes32 orderHash) private view {
        if (!order.isWellFormed()) revert Market_InvalidOrder(orderHash);
        if (block.timestamp < order.startTime || block.timestamp > order.endTime) {
            revert Market_NotInTime(order.startTime, order.endTime);
        }
        uint64 epoch = _epochs[order.maker];
        if (order.epoch != epoch) revert Market_EpochOver(order.maker, order.epoch, epoch);
    }

    /// @dev Everything that keeps an order from being filled twice, before anything moves.
    function _take(Order calldata order, bytes32 orderHash, uint128 amount) private {
        if (order.taker != address(0) && order.taker != msg.sender) revert Market_NotTaker(order.taker, msg.sender);
        if (order.maker == msg.sender) revert Market_SelfDealing(msg.sender);
        bytes32 holder = _orders[order.maker][order.nonce];
        if (holder != 0 && holder != orderHash) revert Market_NonceUsed(order.maker, order.nonce);
        uint128 rest = order.amount - _filled[orderHash];
        if (amount == 0 || amount > rest) revert Market_AmountAboveRest(amount, rest);
        if (holder == 0) _orders[order.maker][order.nonce] = orderHash;
        _filled[orderHash] += amount;
    }

    /// @dev Money first: a token that calls its new owner finds everything paid.
    function _settle(Order calldata order, bytes32 orderHash, Trade memory trade) private {
        address router = _directory.activeOf(Names.REVENUE_ROUTER);
        if (router == address(0)) revert Market_NoRouter();
        (address receiver, uint256 royalty) = _royalty(order, trade.price);
        uint256 fee = trade.price * IRevenueRouter(router).feeBp() / BASIS_POINTS;
        _announce(order, orderHash, trade, receiver, royalty, fee);
        _move(order.currency, trade.buyer, IRevenueRouter(router).treasury(), fee);
        _move(order.currency, trade.buyer, receiver, royalty);
        _move(order.currency, trade.buyer, trade.seller, trade.price - royalty - fee);
        _requireState(order);
        _deliver(order, trade.amount, trade.seller, trade.buyer);
    }

    /// @dev After the payments, because a currency may call somebody who changes the token.
    function _requireState(Order calldata order) private view {
        if (order.stateHash == 0) return;
        bytes32 found = ITokenState(order.token).tokenStateHash(order.tokenId);
        if (found != order.stateHash) revert Market_StateChanged(order.token, order.tokenId, order.stateHash, found);
    }

    function _announce(
        Order calldata order,
        bytes32 orderHash,
        Trade memory trade,
        address receiver,
        uint256 royalty,
        uint256 fee
    ) private {
        emit OrderFilled(
            orderHash,
            order.maker,
            msg.sender,
            order.side,
            order.token,
            order.tokenId,
            trade.amount,
            order.currency,
            trade.price,
            receiver,
            royalty,
            fee
        );
    }

    /// @dev Moves ERC-20 exactly, or nothing at all.
    function _move(address token, address from, address to, uint256 amount) private {
        if (amount == 0 || from == to) return;
        uint256 before = IERC20(token).balanceOf(to);
        // `from` is the caller, or the maker whose signature was checked.
        // slither-disable-next-line arbitrary-send-erc20
        IERC20(token).safeTransferFrom(from, to, amount);
        uint256 received = IERC20(token).balanceOf(to) - before;
        if (received != amount) revert Market_AmountMismatch(token, amount, received);
    }

    function _deliver(Order calldata order, uint128 amount, address seller, address buyer) private {
        if (order.standard == Standard.ERC20) {
            _move(order.token, seller, buyer, amount);
        } else if (order.standard == Standard.ERC1155) {
            IERC1155(order.token).safeTransferFrom(seller, buyer, order.tokenId, amount, "");
        } else {
            // No receiver hook, as everywhere: a buyer that cannot hold the token did not sign or send this. The seller
            // is the caller, or the maker whose signature was checked.
            // slither-disable-next-line arbitrary-send-erc20
            IERC721(order.token).transferFrom(seller, buyer, order.tokenId);
        }
    }

    /// @dev A token that does not answer, or nonsense, asks for nothing. ERC-20 has no royalty.
    function _royalty(Order calldata order, uint256 price) private view returns (address receiver, uint256 royalty) {
        if (order.standard == Standard.ERC20) return (address(0), 0);
        bytes memory question = abi.encodeCall(IERC2981.royaltyInfo, (order.tokenId, price));
        (bool ok, bytes memory answer) = order.token.staticcall{gas: ROYALTY_GAS}(question);
        if (!ok || answer.length != 64) return (address(0), 0);
        (uint256 word, uint256 asked) = abi.decode(answer, (uint256, uint256));
        uint256 ceiling = price * MAX_ROYALTY_BP / BASIS_POINTS;
        royalty = asked < ceiling ? asked : ceiling;
        if (word == 0 || word > type(uint160).max || royalty == 0) return (address(0), 0);
        // casting to 'uint160' is safe because a larger word is refused above
        // forge-lint: disable-next-line(unsafe-typecast)
        receiver = address(uint160(word));
    }
}
