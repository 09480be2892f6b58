// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {Base} from "./Base.sol";
import {LineageHandler} from "./LineageHandler.sol";

/// @notice The numbers are those of contracts/README.md.
contract LineageInvariantsTest is Base {
    LineageHandler private handler;

    function setUp() public override {
        super.setUp();
        handler = new LineageHandler(registry, router, usd, address(sale), address(this), address(timelock));
        targetContract(address(handler));
    }

    /// @dev 2, and 15: received = claimed + claimable + waiting, and what nobody earned is the named dust.
    function invariant_distributedIsReceivedLessDust() external view {
        uint256 waiting;
        uint256 claimable;
        for (uint256 i = 0; i < 4; ++i) {
            waiting += router.pendingOf(handler.assets(i), address(usd)).amount;
        }
        for (uint256 i = 0; i < 6; ++i) {
            claimable += router.claimableOf(handler.accounts(i), address(usd));
        }
        assertEq(router.owedOf(address(usd)), waiting + claimable);
        assertEq(handler.received(), waiting + claimable + handler.claimed());
        assertLe(router.owedOf(address(usd)), usd.balanceOf(address(router)));
        assertEq(router.dustOf(address(usd)), handler.dust());
    }

    /// @dev 3
    function invariant_nobodyLowersAnothersClaimable() external view {
        assertFalse(handler.claimableFell());
    }

    /// @dev 15
    function invariant_splitsBindFutureRevenueOnly() external view {
        assertFalse(handler.termsOfWaitingChanged());
    }

    /// @dev Shows that the handler does what it is for.
    function test_lineageHandlerReachesEveryAction() external {
        handler.split(3, 3000, 3, 4);
        handler.receiveRevenue(3, 10_001);
        handler.split(3, 5000, 1, 1);
        handler.sellAsset(3, 1);
        handler.receiveRevenue(3, 777);
        for (uint256 i = 0; i < 10; ++i) {
            handler.distribute(3 - i % 4);
        }
        handler.setFee(400);
        handler.wait(5 days);
        handler.claim(0);
        handler.claim(5);
        assertGt(handler.claimed(), 0);
        assertGt(handler.dust(), 0);
        assertGt(router.claimableOf(handler.accounts(1), address(usd)), 0);
    }
}
