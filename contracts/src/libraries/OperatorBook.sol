// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IUsageEscrow} from "../interfaces/IUsageEscrow.sol";
import {Delayed} from "./Delayed.sol";

/// @title Operators: their receipt keys and what they may draw
library OperatorBook {
    using Delayed for Delayed.Number;

    /// @notice Seconds of a window of the settler cap. Windows are aligned to Unix time, so that two caps can be drawn
    /// around the end of one.
    uint64 internal constant SETTLER_WINDOW = 1 days;

    struct Cap {
        Delayed.Number limit;
        uint64 window;
        uint128 drawn;
    }

    struct Operator {
        bool registered;
        uint64 lastBatch;
        mapping(address receiptKey => IUsageEscrow.KeyInterval) keys;
        mapping(address token => Cap) caps;
        mapping(uint64 batch => bytes32 root) roots;
    }

    /// @notice Sets the validity of a receipt key without rewriting its past.
    function setKey(Operator storage self, address receiptKey, uint64 validFrom, uint64 validUntil) internal {
        IUsageEscrow.KeyInterval storage key = self.keys[receiptKey];
        uint64 present = uint64(block.timestamp);
        bool begun = key.validUntil != 0 && key.validFrom <= present;
        bool rewrites = begun && (validFrom != key.validFrom || key.validUntil <= present);
        if (receiptKey == address(0) || validFrom >= validUntil || validUntil < present || rewrites) {
            revert IUsageEscrow.UsageEscrow_InvalidKeyInterval(receiptKey, validFrom, validUntil);
        }
        (key.validFrom, key.validUntil) = (validFrom, validUntil);
        emit IUsageEscrow.OperatorKeySet(msg.sender, receiptKey, validFrom, validUntil);
    }

    /// @notice Sets the cap of a token: the first one and a lower one at once, a higher one after `raiseDelay`.
    function setCap(Operator storage self, address token, uint128 cap, uint64 raiseDelay) internal {
        Delayed.Number storage limit = self.caps[token].limit;
        bool waits = limit.isSet() && cap > limit.value();
        uint64 effectiveAt = limit.set(cap, waits ? raiseDelay : 0);
        emit IUsageEscrow.SettlerCapSet(msg.sender, token, cap, effectiveAt);
    }

    /// @notice Counts a draw against the cap of this window. Reverts above it.
    function countDraw(Operator storage self, address token, uint128 amount) internal {
        Cap storage cap = self.caps[token];
        uint256 drawn = uint256(drawnInWindow(cap)) + amount;
        uint128 limit = cap.limit.value();
        if (drawn > limit) revert IUsageEscrow.UsageEscrow_CapExceeded(msg.sender, token, limit, drawn);
        // casting to 'uint128' is safe because drawn <= limit, which has 128 bits
        // forge-lint: disable-next-line(unsafe-typecast)
        (cap.window, cap.drawn) = (_window(), uint128(drawn));
    }

    /// @notice What this window has drawn.
    function drawnInWindow(Cap storage cap) internal view returns (uint128) {
        // A window is its own name, not a balance that somebody else moves by one.
        // slither-disable-next-line incorrect-equality
        return cap.window == _window() ? cap.drawn : 0;
    }

    function _window() private view returns (uint64) {
        return uint64(block.timestamp) / SETTLER_WINDOW;
    }
}
