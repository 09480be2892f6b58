// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {AssetTimelock} from "../src/AssetTimelock.sol";
import {Shares} from "../src/Shares.sol";
import {IAssetTimelock} from "../src/interfaces/IAssetTimelock.sol";
import {IERC7943Fungible} from "../src/interfaces/IERC7943.sol";
import {IShares} from "../src/interfaces/IShares.sol";
import {ISharesFactory} from "../src/interfaces/ISharesFactory.sol";
import {HookToken} from "./mocks/Tokens.sol";
import {SharesBase} from "./SharesBase.sol";

/// @notice The attacks that dividend tokens and clones are known for.
contract SharesAttacksTest is SharesBase {
    function test_doubleClaim() external {
        _share(900);
        _claim(alice);
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_NothingToClaim.selector, alice, address(usd)));
        _claim(alice);
    }

    function test_transferThenClaimTwice() external {
        _share(900);
        _claim(alice);
        _move(alice, carol, ALICES);
        assertEq(_claimable(carol), 0);
        assertEq(_claimable(alice), 0);
    }

    /// @dev Borrow, collect, claim and give back, all in one transaction: nothing is there yet.
    function test_flashLoanedSharesEarnNothing() external {
        _earn(900);
        router.distribute(assetId, address(usd));
        _move(alice, stranger, ALICES);
        shares.collect(address(router), address(usd));
        assertEq(_claimable(stranger), 0);
        _move(stranger, alice, ALICES);
        skip(1);
        assertEq(_claimable(stranger), 0);
        assertEq(_claimable(alice), 600);
    }

    /// @dev The same a second later: the loan itself is the movement that shares out.
    function test_flashLoanAfterTheSecondEarnsNothing() external {
        _share(900);
        _move(alice, stranger, ALICES);
        assertEq(_claimable(stranger), 0);
        _move(stranger, alice, ALICES);
        assertEq(_claimable(alice), 600);
    }

    /// @dev Nobody earns, much waits, and the treasury lends: the loan comes before the second is over.
    function test_flashLoanFromAnExcludedAccountEarnsNothing() external {
        address treasury = address(assetTimelock);
        _move(alice, treasury, ALICES);
        _move(bob, treasury, BOBS);
        _share(900);
        _move(treasury, stranger, TREASURY);
        _move(stranger, carol, 1);
        assertEq(_claimable(stranger), 0);
        _move(carol, stranger, 1);
        _move(stranger, treasury, TREASURY);
        skip(1);
        assertEq(_claimable(stranger), 0);
        (, uint128 waiting) = shares.revenueOf(address(usd));
        assertEq(waiting, 900);
    }

    function test_firstHolderOfALittleTakesNothingThatWaits() external {
        address treasury = address(assetTimelock);
        _move(alice, treasury, ALICES);
        _move(bob, treasury, BOBS);
        _share(900);
        _move(treasury, stranger, 1);
        skip(1 days);
        assertEq(_claimable(stranger), 0);
        _move(treasury, carol, 10e18 - 2);
        skip(1);
        assertEq(_claimable(stranger), 0);
        _move(treasury, carol, 1);
        skip(1);
        assertEq(_claimable(stranger), 0);
        assertEq(_claimable(carol), 900);
    }

    function test_donationChangesNoAccount() external {
        _share(900);
        usd.mint(address(shares), 1e12);
        skip(1);
        assertEq(_claimable(alice), 600);
        (uint128 received, uint128 waiting) = shares.revenueOf(address(usd));
        assertEq(received, 900);
        assertEq(waiting, 900);
        _share(900);
        assertEq(_claim(alice) + _claim(bob), 1800);
    }

    function test_selfTransferChangesNoAccount() external {
        _share(900);
        _move(alice, alice, ALICES);
        assertEq(shares.balanceOf(alice), ALICES);
        assertEq(_claimable(alice), 600);
        assertEq(shares.earningSupply(), ALICES + BOBS);
    }

    /// @dev Anyone may move nothing out of anyone's account; each accrual could round it down.
    function test_zeroTransfersRoundNobodyDown() external {
        for (uint256 i = 0; i < 10; ++i) {
            _share(1);
            vm.prank(stranger);
            assertTrue(shares.transferFrom(alice, bob, 0));
        }
        assertEq(_claimable(alice), 6);
    }

    function test_rounding_OwesNoMoreThanCameIn() external {
        _move(bob, carol, 1);
        for (uint256 i = 0; i < 50; ++i) {
            _share(1);
            _move(alice, bob, 1);
            _move(bob, alice, 1);
        }
        assertLe(_claimable(alice) + _claimable(bob) + _claimable(carol), 50);
    }

    /// @dev Each folding rounds up by an eightieth of a unit here, which must not add up.
    function test_rounding_UpIsTakenOffAgain() external {
        ISharesFactory.Order memory order = _another("acme/many");
        order.shares.allocations = new IShares.Allocation[](1);
        order.shares.allocations[0] = IShares.Allocation(alice, 1e27 - 1, 0, 0, 0);
        _fractionalise(order);
        for (uint256 i = 0; i < 400; ++i) {
            _share(1);
        }
        assertEq(_claimable(alice), 400);
        assertEq(_claim(alice), 400);
    }

    function test_claimThatCallsBack() external {
        HookToken hooked = new HookToken();
        vm.prank(address(assetTimelock));
        shares.addCurrency(address(hooked));
        hooked.mint(address(router), 900);
        vm.prank(address(sale));
        router.receiveRevenue(assetId, address(hooked), 900, 0);
        router.distribute(assetId, address(hooked));
        bytes memory again = abi.encodeCall(IShares.claim, (address(hooked)));
        // To claim in between would hide what comes in.
        hooked.arm(address(shares), again);
        assertEq(shares.collect(address(router), address(hooked)), 900);
        assertEq(bytes4(hooked.answer()), ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        skip(1);
        hooked.arm(address(shares), again);
        vm.prank(alice);
        assertEq(shares.claim(address(hooked)), 600);
        assertTrue(hooked.called());
        assertEq(bytes4(hooked.answer()), ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
    }

    function test_initialiserOfACloneAndOfTheCodeAreClosed() external {
        IAssetTimelock.Setup memory setup = IAssetTimelock.Setup(assetId, stranger, stranger, stranger, EXIT_DELAY);
        AssetTimelock code = new AssetTimelock(directory, registry);
        AssetTimelock[2] memory targets = [assetTimelock, code];
        vm.startPrank(stranger);
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(Initializable.InvalidInitialization.selector);
            targets[i].initialize(setup);
            vm.expectRevert(Initializable.InvalidInitialization.selector);
            targets[i].initialize(0, new address[](1), new address[](1), stranger);
        }
        IShares.Terms memory terms = _order().shares;
        Shares implementation = new Shares(directory);
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        implementation.initialize(terms, assetId, stranger);
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        shares.initialize(terms, assetId, stranger);
        vm.stopPrank();
    }

    function test_frontRunOfACloneIsRefused() external {
        ISharesFactory.Order memory order = _another("acme/second");
        address expected = sharesFactory.nextPartsOf(assetId).shares;
        vm.expectRevert(abi.encodeWithSelector(ISharesFactory.SharesFactory_NotOwner.selector, assetId, stranger));
        vm.prank(stranger);
        sharesFactory.fractionalise(order);
        _fractionalise(order);
        assertEq(address(shares), expected);
    }

    function _gated() private {
        ISharesFactory.Order memory order = _another("acme/gated");
        order.shares.gate = address(gate);
        _fractionalise(order);
    }

    function test_gate_IsAskedFirst() external {
        _gated();
        gate.bar(alice, true);
        assertFalse(shares.canTransfer(alice, bob, 1));
        vm.expectRevert(abi.encodeWithSelector(IERC7943Fungible.ERC7943CannotSend.selector, alice));
        vm.prank(alice);
        shares.transfer(bob, 1);
        vm.expectRevert(abi.encodeWithSelector(IERC7943Fungible.ERC7943CannotReceive.selector, alice));
        vm.prank(bob);
        shares.transfer(alice, 1);
        gate.setMost(5);
        vm.expectRevert(abi.encodeWithSelector(IERC7943Fungible.ERC7943CannotTransfer.selector, bob, carol, 6));
        vm.prank(bob);
        shares.transfer(carol, 6);
        _move(bob, carol, 5);
        assertTrue(shares.canTransfer(bob, carol, 5));
        vm.prank(bob);
        shares.approve(stranger, 6);
        vm.expectRevert(abi.encodeWithSelector(IERC7943Fungible.ERC7943CannotTransfer.selector, bob, carol, 6));
        vm.prank(stranger);
        shares.transferFrom(bob, carol, 6);
    }

    function test_gate_AFrozenHolderEarnsAndClaims() external {
        _gated();
        gate.freeze(shares, alice, ALICES - 10);
        assertEq(shares.getFrozenTokens(alice), ALICES - 10);
        vm.expectRevert(
            abi.encodeWithSelector(IERC7943Fungible.ERC7943InsufficientUnfrozenBalance.selector, alice, 11, 10)
        );
        vm.prank(alice);
        shares.transfer(bob, 11);
        _share(900);
        assertEq(_claim(alice), 600);
    }

    function test_gate_WhoMayNotBePaidKeepsItOrNamesAnother() external {
        _gated();
        _share(900);
        gate.bar(alice, true);
        bytes memory refusal = abi.encodeWithSelector(IShares.Shares_CannotBePaid.selector, alice, alice);
        vm.expectRevert(refusal);
        _claim(alice);
        assertEq(_claimable(alice), 600);
        vm.expectEmit(address(shares));
        emit IShares.PaidInstead(alice, bob);
        vm.startPrank(alice);
        assertEq(shares.claimTo(address(usd), bob), 600);
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_NothingToClaim.selector, alice, address(usd)));
        shares.claimTo(address(usd), bob);
        vm.stopPrank();
        assertEq(usd.balanceOf(bob), 600);
    }

    function test_claimTo_RevertWhen_ItWouldGoToTheSharesThemselves() external {
        _share(900);
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_CannotBePaid.selector, alice, address(shares)));
        vm.prank(alice);
        shares.claimTo(address(usd), address(shares));
        assertEq(_claimable(alice), 600);
    }

    function test_gate_AForcedTransferLeavesWhatWasEarned() external {
        _gated();
        gate.freeze(shares, alice, ALICES);
        _share(900);
        gate.bar(alice, true);
        gate.bar(carol, true);
        vm.expectRevert(abi.encodeWithSelector(IERC7943Fungible.ERC7943CannotReceive.selector, carol));
        gate.force(shares, alice, carol, 1);
        gate.force(shares, alice, bob, ALICES / 2);
        assertEq(shares.balanceOf(bob), BOBS + ALICES / 2);
        assertEq(shares.getFrozenTokens(alice), ALICES / 2);
        assertEq(_claimable(alice), 600);
        gate.bar(alice, false);
        assertEq(_claim(alice), 600);
        assertEq(_claim(bob), 300);
    }

    /// @dev Votes of the wrong account, or of one that was delegated to twice.
    function test_votesFollowSharesThroughSelfDelegationAndSelfTransfer() external {
        ISharesFactory.Order memory order = _voting(_another("acme/votes"));
        order.shares.gate = address(gate);
        _fractionalise(order);
        vm.startPrank(alice);
        shares.delegate(alice);
        shares.delegate(alice);
        assertEq(shares.getVotes(alice), ALICES);
        assertTrue(shares.transfer(alice, ALICES));
        assertEq(shares.getVotes(alice), ALICES);
        gate.bar(bob, true);
        vm.expectRevert(abi.encodeWithSelector(IERC7943Fungible.ERC7943CannotReceive.selector, bob));
        shares.delegate(bob);
        shares.delegate(address(0));
        assertEq(shares.getVotes(alice), 0);
        vm.stopPrank();
    }
}
