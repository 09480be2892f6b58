// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {IMarket} from "../interfaces/IMarket.sol";

/// @title Arithmetic and hash of orders
library Orders {
    bytes32 internal constant TYPEHASH = keccak256(
        "Order(address maker,uint8 side,uint8 standard,address token,uint256 tokenId,uint128 amount,address currency,"
        "uint128 startPrice,uint128 endPrice,uint64 startTime,uint64 endTime,address taker,uint256 nonce,uint64 epoch,"
        "bytes32 stateHash)"
    );

    /// @notice EIP-712 hash of the struct.
    function structHash(IMarket.Order calldata order) internal pure returns (bytes32) {
        return keccak256(abi.encode(TYPEHASH, order));
    }

    /// @notice Whether the order can mean anything.
    function isWellFormed(IMarket.Order calldata order) internal pure returns (bool) {
        bool single = order.standard != IMarket.Standard.ERC721 || order.amount == 1;
        return order.amount != 0 && single && order.startTime < order.endTime && order.maker != address(0);
    }

    /// @notice Price of `amount` now, within the order's times: rounded up where the maker sells and down where the
    /// maker buys, so that parts never serve the maker worse than the whole.
    function price(IMarket.Order calldata order, uint128 amount) internal view returns (uint256) {
        Math.Rounding rounding = order.side == IMarket.Side.Sell ? Math.Rounding.Ceil : Math.Rounding.Floor;
        uint256 passed = block.timestamp - order.startTime;
        uint256 left = order.endTime - block.timestamp;
        // The price of the whole, times the seconds of the line: nothing is rounded before the end.
        uint256 scaled = order.startPrice * left + order.endPrice * passed;
        return Math.mulDiv(scaled, amount, uint256(order.amount) * (passed + left), rounding);
    }
}
