// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ICreditToken} from "../interfaces/ICreditToken.sol";
import {ICredits} from "../interfaces/ICredits.sol";
import {IDirectory} from "../interfaces/IDirectory.sol";
import {Names} from "./Names.sol";

/// @title Credits that came in as revenue, turned into the money behind them
library Redemption {
    /// @notice What `amount` of a token is worth here: units of credits become their money, any other token stays.
    function redeem(IDirectory directory, bytes32 assetId, address token, uint128 amount)
        internal
        returns (address, uint128)
    {
        address credits = _creditsOf(token);
        // Any token can claim to be one of its series; that contract knows.
        bool isSeries =
            credits != address(0) && directory.nameOf(credits) == Names.CREDITS && ICredits(credits).isSeries(token);
        return isSeries ? ICredits(credits).redeem(token, assetId, amount) : (token, amount);
    }

    /// @dev What a token says its credits are; zero where it says nothing. A token's answer is not to be trusted, and
    /// no more than a word of it is read.
    function _creditsOf(address token) private view returns (address credits) {
        bytes4 selector = ICreditToken.credits.selector;
        assembly ("memory-safe") {
            mstore(0, selector)
            let ok := staticcall(gas(), token, 0, 4, 0, 0x20)
            if and(and(ok, gt(returndatasize(), 31)), iszero(shr(160, mload(0)))) { credits := mload(0) }
        }
    }
}
