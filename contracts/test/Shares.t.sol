// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {Shares} from "../src/Shares.sol";
import {TestUSD} from "../src/TestUSD.sol";
import {IERC7943Fungible} from "../src/interfaces/IERC7943.sol";
import {IShares} from "../src/interfaces/IShares.sol";
import {ISharesFactory} from "../src/interfaces/ISharesFactory.sol";
import {SharesBase} from "./SharesBase.sol";

contract SharesTest is SharesBase {
    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    function test_initialize_SaysWhatTheSharesAre() external view {
        assertEq(shares.name(), "Acme Risk");
        assertEq(shares.symbol(), "RISK");
        assertEq(shares.totalSupply(), 1000e18);
        assertEq(shares.balanceOf(alice), ALICES);
        assertEq(shares.earningSupply(), ALICES + BOBS);
        assertTrue(shares.isExcluded(address(assetTimelock)));
        assertEq(shares.currencies()[0], address(usd));
        assertEq(shares.assetId(), assetId);
        assertEq(shares.timelock(), address(assetTimelock));
        assertTrue(shares.supportsInterface(0x3edbb4c4));
        assertFalse(shares.supportsInterface(0xffffffff));
        assertEq(shares.CLOCK_MODE(), "mode=timestamp");
    }

    function _refused(ISharesFactory.Order memory order, bytes memory reason) private {
        vm.prank(publisher);
        vm.expectRevert(reason);
        sharesFactory.fractionalise(order);
    }

    function test_initialize_RevertWhen_TermsAreInvalid() external {
        ISharesFactory.Order memory order = _another("acme/second");
        order.shares.allocations[0].amount = 1e27;
        _refused(order, abi.encodeWithSelector(IShares.Shares_InvalidSupply.selector, 1e27 + 400e18));
        order.shares.allocations = new IShares.Allocation[](1);
        order.shares.allocations[0] = IShares.Allocation(alice, 100e18 - 1, 0, 0, 0);
        _refused(order, abi.encodeWithSelector(IShares.Shares_InvalidSupply.selector, 100e18 - 1));
        order.shares.allocations = new IShares.Allocation[](33);
        _refused(order, abi.encodeWithSelector(IShares.Shares_TooMany.selector, 33, 32));
        order.shares.excluded = new address[](9);
        _refused(order, abi.encodeWithSelector(IShares.Shares_TooMany.selector, 9, 8));
        order.shares.currencies[0] = stranger;
        _refused(order, abi.encodeWithSelector(IShares.Shares_InvalidCurrency.selector, stranger));
        order.shares.currencies = new address[](2);
        (order.shares.currencies[0], order.shares.currencies[1]) = (address(usd), address(usd));
        _refused(order, abi.encodeWithSelector(IShares.Shares_InvalidCurrency.selector, address(usd)));
    }

    function test_permit_SetsTheAllowance() external {
        uint256 deadline = block.timestamp;
        bytes32 inner = keccak256(abi.encode(PERMIT, alice, bob, 5, 0, deadline));
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", shares.DOMAIN_SEPARATOR(), inner));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(aliceKey, digest);
        shares.permit(alice, bob, 5, deadline, v, r, s);
        assertEq(shares.allowance(alice, bob), 5);
        assertEq(shares.nonces(alice), 1);
        vm.expectRevert();
        shares.permit(alice, bob, 5, deadline, v, r, s);
    }

    function test_collect_SharesOutInProportionFromTheNextSecondOn() external {
        _collect(900);
        assertEq(_claimable(alice), 0);
        (uint128 received, uint128 waiting) = shares.revenueOf(address(usd));
        assertEq(received, 900);
        assertEq(waiting, 900);
        skip(1);
        assertEq(_claimable(alice), 600);
        assertEq(_claimable(bob), 300);
        assertEq(_claimable(address(assetTimelock)), 0);
    }

    function test_collect_AgainLowersNobodysClaimable() external {
        _share(900);
        _collect(90);
        assertEq(_claimable(alice), 600);
        skip(1);
        assertEq(_claimable(alice), 660);
    }

    function test_collect_RevertWhen_RouterWasNeverListed() external {
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_NotRouter.selector, address(sale)));
        shares.collect(address(sale), address(usd));
    }

    function test_collect_RevertWhen_CurrencyIsUnknown() external {
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_UnknownCurrency.selector, stranger));
        shares.collect(address(router), stranger);
    }

    function test_collect_RevertWhen_TheAccumulatorWouldOverflow() external {
        // 2^32 units of the currency for each unit of shares that may be the only ones to earn.
        uint128 most = uint128(uint256(10e18) << 32);
        usd.mint(address(router), most);
        vm.prank(address(sale));
        router.receiveRevenue(assetId, address(usd), most, 0);
        router.distribute(assetId, address(usd));
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_TooMuch.selector, address(usd), most));
        shares.collect(address(router), address(usd));
        assertEq(router.claimableOf(address(shares), address(usd)), most);
    }

    function test_claim_PaysOnceWhatWasEarned() external {
        _share(900);
        vm.prank(alice);
        vm.expectEmit(address(shares));
        emit IShares.RevenueClaimed(alice, address(usd), 600);
        assertEq(shares.claim(address(usd)), 600);
        assertEq(usd.balanceOf(alice), 600);
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_NothingToClaim.selector, alice, address(usd)));
        vm.prank(alice);
        shares.claim(address(usd));
    }

    function test_claim_RevertWhen_TheAccountIsExcluded() external {
        _share(900);
        address treasury = address(assetTimelock);
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_NothingToClaim.selector, treasury, address(usd)));
        vm.prank(treasury);
        shares.claim(address(usd));
    }

    function test_transfer_TakesNoEarnedRevenueAlong() external {
        _share(900);
        _move(alice, carol, ALICES);
        assertEq(_claimable(alice), 600);
        assertEq(_claimable(carol), 0);
        _share(900);
        assertEq(_claimable(alice), 600);
        // What was rounded up before is taken off now.
        assertEq(_claimable(carol), 599);
        assertEq(_claim(alice) + _claim(bob) + _claim(carol), 1799);
    }

    function test_transfer_FromAnExcludedAccountBeginsToEarn() external {
        _move(address(assetTimelock), carol, TREASURY);
        assertEq(shares.earningSupply(), 1000e18);
        _share(1000);
        assertEq(_claimable(carol), 100);
        _move(carol, address(assetTimelock), TREASURY);
        assertEq(shares.earningSupply(), 900e18);
        assertEq(_claimable(carol), 100);
    }

    function test_transfer_RevertWhen_ToTheSharesThemselves() external {
        vm.expectRevert(abi.encodeWithSelector(IERC7943Fungible.ERC7943CannotReceive.selector, address(shares)));
        vm.prank(alice);
        shares.transfer(address(shares), 1);
    }

    function test_transfer_RevertWhen_BalanceIsTooLow() external {
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, alice, ALICES, ALICES + 1)
        );
        vm.prank(alice);
        shares.transfer(address(assetTimelock), ALICES + 1);
    }

    function test_revenueWaitsWhileNobodyEarns() external {
        _move(alice, address(assetTimelock), ALICES);
        _move(bob, address(assetTimelock), BOBS);
        assertEq(shares.earningSupply(), 0);
        _share(900);
        skip(30 days);
        (, uint128 waiting) = shares.revenueOf(address(usd));
        assertEq(waiting, 900);
        _move(address(assetTimelock), carol, 10e18);
        assertEq(_claimable(carol), 0);
        skip(1);
        assertEq(_claimable(carol), 900);
        assertEq(_claim(carol), 900);
    }

    function test_addCurrency_SharesOutOneMore() external {
        TestUSD second = new TestUSD();
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_NotTimelock.selector, steward));
        vm.prank(steward);
        shares.addCurrency(address(second));
        vm.startPrank(address(assetTimelock));
        shares.addCurrency(address(second));
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_InvalidCurrency.selector, address(second)));
        shares.addCurrency(address(second));
        shares.addCurrency(address(new TestUSD()));
        shares.addCurrency(address(new TestUSD()));
        address fifth = address(new TestUSD());
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_TooMany.selector, 5, 4));
        shares.addCurrency(fifth);
        vm.stopPrank();
        second.mint(address(router), 900);
        vm.prank(address(sale));
        router.receiveRevenue(assetId, address(second), 900, 0);
        router.distribute(assetId, address(second));
        shares.collect(address(router), address(second));
        skip(1);
        assertEq(shares.claimableOf(alice, address(second)), 600);
        _move(alice, bob, 1e18);
        vm.prank(alice);
        assertEq(shares.claim(address(second)), 600);
    }

    function _grant(address to, uint128 amount, uint40 start, uint40 cliff, uint40 end) private {
        vm.prank(address(assetTimelock));
        shares.grant(IShares.Allocation(to, amount, start, cliff, end));
    }

    function test_grant_VestsInALineAfterTheCliff() external {
        uint40 start = uint40(block.timestamp);
        _grant(carol, 100e18, start, start + 10 days, start + 100 days);
        assertEq(shares.unvestedOf(carol), 100e18);
        skip(10 days - 1);
        assertEq(shares.unvestedOf(carol), 100e18);
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_Unvested.selector, carol, 1, 0));
        vm.prank(carol);
        shares.transfer(alice, 1);
        skip(1);
        assertEq(shares.unvestedOf(carol), 90e18);
        assertFalse(shares.canTransfer(carol, alice, 10e18 + 1));
        assertTrue(shares.canTransfer(carol, alice, 10e18));
        _move(carol, alice, 10e18);
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_Unvested.selector, carol, 1, 0));
        vm.prank(carol);
        shares.transfer(alice, 1);
        skip(90 days);
        _move(carol, alice, 90e18);
    }

    function testFuzz_grant_NeverFreesMoreThanHasVested(uint128 amount, uint40 length, uint40 cliff, uint40 at)
        external
    {
        amount = uint128(bound(amount, 1, TREASURY));
        length = uint40(bound(length, 1, 3650 days));
        cliff = uint40(bound(cliff, 0, length));
        uint40 start = uint40(block.timestamp);
        _grant(carol, amount, start, start + cliff, start + length);
        skip(bound(at, 0, 3700 days));
        uint256 passed = block.timestamp - start;
        uint256 free = amount - shares.unvestedOf(carol);
        if (passed < cliff) assertEq(free, 0);
        else if (passed >= length) assertEq(free, amount);
        else assertEq(free, uint256(amount) * passed / length);
    }

    function test_grant_EarnsBeforeItVests() external {
        uint40 start = uint40(block.timestamp);
        _grant(carol, 100e18, start, start, start + 100 days);
        _share(1000);
        assertEq(_claim(carol), 100);
    }

    function test_grant_RevertWhen_CallerIsNotTheTimelock() external {
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_NotTimelock.selector, stranger));
        vm.prank(stranger);
        shares.grant(IShares.Allocation(alice, 0, 0, 0, 0));
    }

    function test_grant_RevertWhen_OneIsOpen() external {
        uint40 start = uint40(block.timestamp);
        _grant(carol, 10, start, start, start + 10);
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_GrantOpen.selector, carol, start + 10));
        _grant(carol, 10, start, start, start + 20);
        skip(10);
        _grant(carol, 10, start, start + 5, start + 20);
        assertEq(shares.grantOf(carol).end, start + 20);
    }

    function test_grant_RevertWhen_ScheduleIsInvalid() external {
        uint40 now_ = uint40(block.timestamp);
        uint40 far = now_ + 3650 days + 1;
        uint40[3][5] memory wrong = [
            [now_ + 2, now_ + 1, now_ + 3],
            [now_, now_ + 4, now_ + 3],
            [now_ + 3, now_ + 3, now_ + 3],
            [now_ - 2, now_ - 2, now_],
            [now_, now_, far]
        ];
        for (uint256 i = 0; i < wrong.length; ++i) {
            (uint40 start, uint40 cliff, uint40 end) = (wrong[i][0], wrong[i][1], wrong[i][2]);
            vm.expectRevert(abi.encodeWithSelector(IShares.Shares_InvalidGrant.selector, carol, start, cliff, end));
            _grant(carol, 1, start, cliff, end);
        }
        vm.expectRevert(abi.encodeWithSelector(IShares.Shares_InvalidGrant.selector, carol, now_, now_, now_ + 1));
        _grant(carol, 0, now_, now_, now_ + 1);
    }

    function test_withoutAGateNobodyFreezesOrForces() external {
        for (uint256 i = 0; i < 2; ++i) {
            address who = i == 0 ? address(assetTimelock) : steward;
            vm.startPrank(who);
            vm.expectRevert(abi.encodeWithSelector(IShares.Shares_NotGate.selector, who));
            shares.setFrozenTokens(alice, 1);
            vm.expectRevert(abi.encodeWithSelector(IShares.Shares_NotGate.selector, who));
            shares.forcedTransfer(alice, bob, 1);
            vm.stopPrank();
        }
    }

    function test_delegate_RevertWhen_SharesDoNotVote() external {
        vm.expectRevert(IShares.Shares_WithoutVotes.selector);
        vm.prank(alice);
        shares.delegate(alice);
        assertEq(shares.getVotes(alice), 0);
    }

    function test_initialize_RevertWhen_CalledAgain() external {
        IShares.Terms memory terms = _order().shares;
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        shares.initialize(terms, assetId, stranger);
        Shares implementation = new Shares(directory);
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        implementation.initialize(terms, assetId, stranger);
    }

    function testFuzz_claim_PaysNoMoreThanCameIn(uint96[8] calldata amounts, uint8[8] calldata who) external {
        uint256 paid;
        uint256 came;
        address[3] memory people = [alice, bob, carol];
        for (uint256 i = 0; i < 8; ++i) {
            uint128 amount = uint128(bound(amounts[i], 1, 1e24));
            _share(amount);
            came += amount;
            address from = people[who[i] % 3];
            uint256 value = bound(amounts[i], 0, shares.balanceOf(from));
            _move(from, people[who[i] / 3 % 3], value);
        }
        for (uint256 i = 0; i < 3; ++i) {
            if (_claimable(people[i]) != 0) paid += _claim(people[i]);
        }
        assertLe(paid, came);
        // Less than one unit for each accrual: two in each movement, three in the claims.
        assertGe(paid + 8 * 2 + 3, came);
    }
}
