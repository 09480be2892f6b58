// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAssetRegistry} from "../interfaces/IAssetRegistry.sol";
import {IRevenueRouter} from "../interfaces/IRevenueRouter.sol";

/// @notice How one bucket of revenue is divided. Parts are rounded down, so that their sum is never above the whole.
library Waterfall {
    uint256 private constant BASIS_POINTS = 10_000;

    struct Parts {
        uint128 fee;
        uint128 dust;
        uint128 payee;
        uint128[] parents;
        uint128[] contributors;
    }

    /// @notice Fee of new revenue, then the parents' part of the rest with royalties, then the contributors' part of
    /// that rest; the payee has what is left.
    function divide(
        IRevenueRouter.Bucket memory bucket,
        IAssetRegistry.Parent[] memory parents,
        IAssetRegistry.Split memory split
    ) internal pure returns (Parts memory parts) {
        parts.fee = part(bucket.amount, bucket.feeBp, BASIS_POINTS);
        uint128 net = bucket.amount - parts.fee + bucket.royalties;
        parts.payee = net;
        parts.parents = new uint128[](parents.length);
        for (uint256 i = 0; i < parents.length; ++i) {
            parts.parents[i] = part(net, parents[i].royaltyBp, BASIS_POINTS);
            parts.payee -= parts.parents[i];
        }
        parts.dust = part(parts.payee, split.shareBp, BASIS_POINTS);
        parts.payee -= parts.dust;
        (parts.contributors, parts.dust) = _byWeight(parts.dust, split.contributors);
    }

    /// @notice `amount * share / whole`, for a share that is at most the whole.
    function part(uint128 amount, uint256 share, uint256 whole) internal pure returns (uint128) {
        // casting to 'uint128' is safe because share <= whole
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint128(uint256(amount) * share / whole);
    }

    function _byWeight(uint128 pool, IAssetRegistry.Contributor[] memory contributors)
        private
        pure
        returns (uint128[] memory amounts, uint128 dust)
    {
        uint256 weights = 0;
        for (uint256 i = 0; i < contributors.length; ++i) {
            weights += contributors[i].weight;
        }
        dust = pool;
        amounts = new uint128[](contributors.length);
        for (uint256 i = 0; i < contributors.length; ++i) {
            amounts[i] = part(pool, contributors[i].weight, weights);
            dust -= amounts[i];
        }
    }
}
