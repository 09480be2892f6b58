// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {MirrorBase} from "./MirrorBase.sol";
import {MirrorHandler} from "./MirrorHandler.sol";

/// @notice The number is that of contracts/README.md.
contract MirrorInvariantsTest is MirrorBase {
    MirrorHandler private handler;

    function setUp() public override {
        super.setUp();
        MirrorHandler.World memory world = MirrorHandler.World({
            home: home,
            book: mirrorBook,
            plans: planBook,
            sale: sale,
            usd: usd,
            reporter: reporter,
            assetId: mirrored,
            slug: SLUG
        });
        uint256[3] memory keys = [owner.privateKey, nextOwner.privateKey, vm.createWallet("thirdOwner").privateKey];
        handler = new MirrorHandler(world, keys, [makeAddr("till 0"), makeAddr("till 1"), makeAddr("till 2")]);
        targetContract(address(handler));
    }

    /// @dev 19
    function invariant_aMirrorSellsIfAndOnlyIfItsOwnerAndEpochAreReported() external view {
        assertFalse(handler.soldWhileClosed());
        assertFalse(handler.refusedWhileOpen());
    }

    /// @dev 19
    function invariant_onlyTheReportedOwnerBinds() external view {
        assertFalse(handler.boundByOther());
        assertEq(home.epochOf(mirrored), handler.epoch());
    }

    /// @dev 19
    function invariant_revenueIsTheOwnersOfTheTimeOfSale() external {
        uint256 sold;
        uint256 waiting = router.bucketsOf(mirrored, address(usd)).length;
        for (uint256 i = 0; i < waiting; ++i) {
            if (router.pendingOf(mirrored, address(usd)).amount != 0) router.distribute(mirrored, address(usd));
        }
        for (uint256 i = 0; i < 3; ++i) {
            uint256 claimable = router.claimableOf(handler.tills(i), address(usd));
            // Each bucket rounds down by less than a unit.
            assertEq(claimable, handler.soldFor(i) * (PRICE - PRICE / 100));
            sold += handler.soldFor(i);
        }
        assertEq(router.owedOf(address(usd)), sold * PRICE);
    }

    /// @dev Shows that the handler does what it is for.
    function test_handlerReachesEveryAction() external {
        handler.buy(0);
        handler.bind(0, 0, 1 days);
        handler.report();
        handler.bind(1, 1, 1 days);
        assertEq(handler.boundCount(), 0);
        handler.bind(0, 1, 1 days);
        assertEq(handler.boundCount(), 1);
        handler.createPlan();
        handler.buy(0);
        handler.transferAtHome(1);
        handler.buy(0);
        handler.report();
        handler.buy(0);
        assertEq(handler.soldFor(0), 2);
        assertEq(handler.refused(), 1);
        handler.bind(1, 1, 1 days);
        handler.buy(0);
        handler.cancel(1);
        handler.buy(0);
        handler.createPlan();
        handler.pass(1 days);
        assertEq(handler.soldFor(1), 1);
        assertEq(handler.refused(), 2);
    }
}
