// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ISharesFactory} from "../src/interfaces/ISharesFactory.sol";
import {SharesBase} from "./SharesBase.sol";
import {SharesHandler} from "./SharesHandler.sol";

/// @notice The numbers are those of contracts/README.md.
contract SharesInvariantsTest is SharesBase {
    SharesHandler private handler;

    function setUp() public override {
        super.setUp();
        ISharesFactory.Order memory order = _voting(_another("acme/votes"));
        order.shares.gate = address(gate);
        _fractionalise(order);
        handler = new SharesHandler(
            SharesHandler.Parts({
                router: router,
                shares: shares,
                usd: usd,
                gate: gate,
                sale: address(sale),
                assetId: assetId,
                treasury: address(assetTimelock)
            }),
            [alice, bob, carol]
        );
        targetContract(address(handler));
    }

    function _claimableOfAll() private view returns (uint256 sum) {
        for (uint256 i = 0; i < 4; ++i) {
            sum += handler.claimable(i);
        }
    }

    /// @dev 14
    function invariant_sharesOweNoMoreThanCameIn() external view {
        (uint128 received, uint128 waiting) = shares.revenueOf(address(usd));
        assertEq(received, handler.came());
        uint256 owed = _claimableOfAll() + handler.claimed();
        assertLe(owed, received);
        assertGe(usd.balanceOf(address(shares)), received - handler.claimed());
        // The rest waits or is dust: less than a unit for each accrual, and for each account that is not claimed yet.
        assertLe(received - owed, waiting + handler.accruals() + 4);
    }

    /// @dev 3, for shares
    function invariant_nobodyLowersAnothersClaimable() external view {
        assertFalse(handler.claimableFell());
        assertFalse(handler.refusedAClaim());
    }

    /// @dev 15
    function invariant_transfersMoveNoEarnedRevenue() external view {
        assertFalse(handler.transferMovedRevenue());
    }

    /// @dev 16
    function invariant_votesAreShares() external view {
        uint256 delegated;
        uint256 votes;
        uint256 earning;
        uint256 supply;
        for (uint256 i = 0; i < 4; ++i) {
            address who = handler.people(i);
            uint256 balance = shares.balanceOf(who);
            if (shares.delegates(who) != address(0)) delegated += balance;
            if (!shares.isExcluded(who)) earning += balance;
            votes += shares.getVotes(who);
            supply += balance;
        }
        assertEq(votes, delegated);
        assertEq(shares.earningSupply(), earning);
        assertEq(shares.totalSupply(), supply);
    }

    /// @dev Shows that the handler does what it is for: one scripted run reaches every kind of action.
    function test_handlerReachesEveryAction() external {
        handler.earn(901);
        handler.collect();
        handler.delegate(0, 1);
        handler.transfer(0, 2, 7e18);
        handler.wait(1);
        handler.grant(2, 3e18, 5 days);
        handler.freeze(0, 10e18);
        handler.force(0, 1, 600e18);
        handler.claim(0);
        handler.claim(1);
        handler.donate(5);
        assertEq(handler.came(), 901);
        assertGt(handler.claimed(), 800);
        assertEq(shares.unvestedOf(carol), 3e18);
    }
}
