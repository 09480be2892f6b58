// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Revenue per share, without snapshots
/// @notice What came in waits for a movement in a later second: shares that come and go within one transaction are
/// there too early. It also waits while fewer than one share in a hundred earns, so that the first one to hold any does
/// not take it all. The sum per share is rounded up, and what that is too much is taken off the next time: all holders
/// together are never owed a whole unit too much. A holder's account is rounded down: less than one unit for each
/// accrual stays behind as dust, in the contract and in no account.
library PerShare {
    /// @dev A share has 18 decimals and there are at most 2^90 units, so 96 binary places lose less than a unit.
    uint256 private constant PLACES = 96;
    /// @dev Not 0, so that a holder's slot is written once when shares come and is cheap to change from then on.
    uint128 private constant START = 1;
    /// @notice Below this part of the supply revenue waits.
    uint256 internal constant EARNING_PART = 100;

    /// @param perShare Sum of all revenue per unit of shares, in 2^-96 units of the currency.
    /// @param waiting Revenue that is in no holder's account yet.
    /// @param since When it came in, or when too few shares were last seen to earn.
    /// @param excess By how much the sum per share is above what came in, in 2^-96 units; below the supply.
    struct Pool {
        uint128 perShare;
        uint128 waiting;
        uint128 received;
        uint64 since;
        uint96 excess;
        address currency;
    }

    /// @param perShare Up to where `owed` has followed the pool.
    struct Holding {
        uint128 perShare;
        uint128 owed;
    }

    struct Supply {
        uint128 earning;
        uint128 total;
    }

    /// @notice Starts a pool.
    function open(Pool storage self, address currency) internal {
        (self.currency, self.perShare) = (currency, START);
    }

    /// @notice Takes revenue in, which waits.
    /// @return Whether it could ever be shared out; when false, nothing was changed.
    function take(Pool storage self, Supply storage supply, uint256 amount) internal returns (bool) {
        uint256 waiting = amount + self.waiting;
        if (waiting > type(uint128).max || amount + self.received > type(uint128).max) return false;
        // The greatest growth that folding may have to book; what passes here can stop no transfer later.
        uint256 growth = (waiting << PLACES) / (supply.total / EARNING_PART) + 1;
        if (growth > type(uint128).max - self.perShare) return false;
        // casting to 'uint128' is safe because both sums were compared with its greatest value
        // forge-lint: disable-next-line(unsafe-typecast)
        (self.waiting, self.received) = (uint128(waiting), self.received + uint128(amount));
        self.since = uint64(block.timestamp);
        return true;
    }

    /// @notice Moves what waits into the sum per share, where time and supply allow it.
    function fold(Pool storage self, Supply storage supply) internal returns (uint128 perShare) {
        (uint128 sum, uint128 waiting) = (self.perShare, self.waiting);
        if (waiting == 0 || block.timestamp <= self.since) return sum;
        uint256 earning = supply.earning;
        if (earning < supply.total / EARNING_PART) {
            self.since = uint64(block.timestamp);
            return sum;
        }
        uint96 excess;
        (perShare, excess) = _grown(self, earning);
        (self.perShare, self.waiting, self.excess) = (perShare, 0, excess);
    }

    /// @notice What `fold` would return.
    function folded(Pool storage self, Supply storage supply) internal view returns (uint128) {
        uint256 earning = supply.earning;
        bool waits = block.timestamp <= self.since || earning < supply.total / EARNING_PART;
        if (waits || self.waiting == 0) return self.perShare;
        (uint128 perShare,) = _grown(self, earning);
        return perShare;
    }

    /// @notice Books what `shares` have earned since the holding was last followed up.
    function accrue(Holding storage self, uint128 perShare, uint256 shares) internal {
        Holding memory holding = self;
        if (holding.perShare == perShare) return;
        (self.perShare, self.owed) = (perShare, due(holding, perShare, shares));
    }

    /// @notice What the holding is owed once the pool has reached `perShare`.
    function due(Holding memory self, uint128 perShare, uint256 shares) internal pure returns (uint128) {
        uint256 from = self.perShare == 0 ? START : self.perShare;
        // casting to 'uint128' is safe because no holder is owed more than came in, which fits
        // forge-lint: disable-next-line(unsafe-typecast)
        return self.owed + uint128((perShare - from) * shares >> PLACES);
    }

    function _grown(Pool storage self, uint256 earning) private view returns (uint128 perShare, uint96 excess) {
        // Positive: what waits is a unit at least, and the excess is below 2^90 of its 2^96 parts.
        uint256 fresh = (uint256(self.waiting) << PLACES) - self.excess;
        uint256 growth = Math.ceilDiv(fresh, earning);
        // casting is safe because `take` refused what could make the sum wider, and the excess is below `earning`
        // forge-lint: disable-next-line(unsafe-typecast)
        return (self.perShare + uint128(growth), uint96(growth * earning - fresh));
    }
}
