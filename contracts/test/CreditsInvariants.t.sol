// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CreditToken} from "../src/CreditToken.sol";
import {CreditsBase} from "./CreditsBase.sol";
import {CreditsHandler} from "./CreditsHandler.sol";

/// @notice The numbers are those of contracts/README.md.
contract CreditsInvariantsTest is CreditsBase {
    CreditsHandler private handler;
    CreditToken[2] private series;

    function setUp() public override {
        super.setUp();
        series = [units, _open(SUPPLY, false)];
        _setCap(address(series[0]), type(uint128).max);
        _setCap(address(series[1]), type(uint128).max);
        handler = new CreditsHandler(
            CreditsHandler.Parts(credits, escrow, usd, batchRoots, operator, assetId, UNIT_PRICE, series)
        );
        targetContract(address(handler));
    }

    /// @dev 26
    function invariant_behindEveryUnitIsItsPrice() external view {
        uint256 left = series[0].totalSupply() + series[1].totalSupply();
        assertEq(credits.backingOf(address(usd)), left * UNIT_PRICE);
        assertEq(usd.balanceOf(address(credits)), left * UNIT_PRICE);
    }

    /// @dev 26
    function invariant_unitsAreUsedOrExpiredOnce() external view {
        for (uint256 s = 0; s < 2; ++s) {
            uint256 gone = handler.redeemed(s) + handler.expired(s);
            assertEq(series[s].totalSupply() + gone, handler.issued(s));
            assertEq(credits.issuedOf(address(series[s])), handler.issued(s));
            uint256 held = series[s].balanceOf(address(escrow));
            assertEq(held, escrow.heldOf(address(series[s])));
            for (uint256 i = 0; i < 3; ++i) {
                held += series[s].balanceOf(handler.people(i));
            }
            assertEq(held, series[s].totalSupply());
        }
    }

    /// @dev 26
    function invariant_revenueIsWhatWasUsedOrExpired() external view {
        uint256 gone;
        for (uint256 s = 0; s < 2; ++s) {
            gone += handler.redeemed(s) + handler.expired(s);
            assertEq(router.owedOf(address(series[s])), 0);
        }
        assertEq(router.pendingOf(assetId, address(usd)).amount, gone * UNIT_PRICE);
    }

    /// @dev 26
    function invariant_nothingMovesAgainstTheRuleOfItsSeries() external view {
        assertFalse(handler.movedAgainstTheRule());
    }

    /// @dev Shows that the handler does what it is for.
    function test_handlerReachesEveryAction() external {
        handler.issue(0, 0, 99);
        handler.issue(1, 1, 99);
        handler.move(0, 2, 0, 10, true);
        handler.move(1, 2, 1, 10, false);
        handler.lock(0, 0, 49);
        handler.lock(1, 1, 49);
        handler.settle(0, 0, 30);
        handler.settle(1, 1, 30);
        handler.leave(0, 0, 9);
        handler.release(0);
        handler.release(1);
        handler.withdraw(0);
        handler.wait(4 days);
        vm.warp(end);
        handler.expire(0);
        handler.lock(1, 1, 1);
        assertEq(handler.redeemed(0) + handler.redeemed(1), 60);
        assertEq(handler.expired(0), 60);
        assertFalse(handler.movedAgainstTheRule());
    }
}
