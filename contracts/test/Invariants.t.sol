// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IRevenueRouter} from "../src/interfaces/IRevenueRouter.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {Base} from "./Base.sol";
import {Handler} from "./Handler.sol";

/// @notice The numbers are those of contracts/README.md.
contract InvariantsTest is Base {
    Handler private handler;

    function setUp() public override {
        super.setUp();
        handler = new Handler(
            Handler.Parts({
                registry: registry,
                sale: sale,
                router: router,
                escrow: escrow,
                usd: usd,
                batchRoots: batchRoots,
                roles: address(this),
                assetId: assetId,
                planId: _createPlan(_terms()),
                treasury: address(timelock)
            })
        );
        uint256 tokenId = registry.tokenIdOf(assetId);
        address firstOwner = handler.people(0);
        vm.prank(publisher);
        registry.transferFrom(publisher, firstOwner, tokenId);
        targetContract(address(handler));
    }

    /// @dev 1
    function invariant_escrowHoldsWhatItSays() external view {
        uint256 sum = handler.heldForAssets();
        for (uint256 i = 0; i < 6; ++i) {
            bytes32 id = handler.depositId(i);
            sum += escrow.depositOf(id).spendable + _inExits(id);
        }
        assertEq(escrow.heldOf(address(usd)), sum);
        assertLe(sum, usd.balanceOf(address(escrow)));
    }

    /// @dev 2
    function invariant_routerOwesWhatItSays() external view {
        uint256 sum = router.pendingOf(assetId, address(usd)).amount;
        for (uint256 i = 0; i < 4; ++i) {
            sum += router.claimableOf(handler.account(i), address(usd));
        }
        assertEq(router.owedOf(address(usd)), sum);
        assertLe(sum, usd.balanceOf(address(router)));
    }

    /// @dev 3
    function invariant_nobodyLowersAnothersClaimable() external view {
        assertFalse(handler.claimableFell());
    }

    /// @dev 4
    function invariant_everyDepositBalances() external view {
        for (uint256 i = 0; i < 6; ++i) {
            bytes32 id = handler.depositId(i);
            IUsageEscrow.Deposit memory entry = escrow.depositOf(id);
            assertEq(entry.drawn, handler.drawn(id));
            assertEq(handler.deposited(id), entry.spendable + _inExits(id) + entry.drawn + handler.withdrawn(id));
        }
    }

    /// @dev 5
    function invariant_exitsArePaidWhenTheyAreDue() external view {
        assertFalse(handler.exitRefused());
    }

    /// @dev 6
    function invariant_everythingDrawnReachedTheRouter() external view {
        uint256 drawn;
        for (uint256 i = 0; i < 6; ++i) {
            drawn += handler.drawn(handler.depositId(i));
        }
        assertEq(drawn, handler.released() + handler.heldForAssets());
        assertEq(handler.released() + handler.sold(), router.owedOf(address(usd)) + handler.claimed());
    }

    /// @dev 7
    function invariant_batchNumbersRiseByOne() external view {
        assertFalse(handler.repeatChangedSomething());
        for (uint256 i = 0; i < 2; ++i) {
            address who = handler.operators(i);
            assertEq(escrow.lastBatchOf(who), handler.batches(who));
        }
    }

    function _inExits(bytes32 id) private view returns (uint256 sum) {
        uint256[] memory open = escrow.openExitsOf(id);
        for (uint256 i = 0; i < open.length; ++i) {
            sum += escrow.exitOf(open[i]).amount;
        }
    }

    /// @dev Shows that the handler does what it is for: one scripted run reaches every kind of action.
    function test_handlerReachesEveryAction() external {
        uint128[3] memory due = [uint128(400), 5000, 1];
        handler.deposit(0, 1000);
        handler.deposit(1, 1000);
        handler.requestExit(0, 900);
        handler.settle(0, due, 9);
        handler.buy(1);
        handler.sellAsset(1);
        handler.settle(0, due, 16);
        handler.setFee(300);
        handler.setExitDelay(10);
        handler.wait(5 days);
        handler.wait(5 days);
        handler.wait(5 days);
        handler.release(0, 0);
        handler.release(0, 1);
        assertGt(handler.released(), 0);
        handler.withdraw(0, 0);
        handler.buy(2);
        // Three owners and two fees: each bucket has a call of its own.
        for (uint256 i = 0; i < 4; ++i) {
            handler.distribute();
        }
        handler.claim(0);
        handler.claim(1);
        handler.claim(3);
        assertGt(handler.claimed(), 0);
        assertGt(handler.drawn(handler.depositId(0)), 100);
        IRevenueRouter.Pending memory pending = router.pendingOf(assetId, address(usd));
        assertEq(pending.amount, 0);
    }
}
