// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {AssetRegistry} from "../src/AssetRegistry.sol";
import {TestUSD} from "../src/TestUSD.sol";
import {UsageEscrow} from "../src/UsageEscrow.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {ILicenseSale} from "../src/interfaces/ILicenseSale.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {IRevenueRouter} from "../src/interfaces/IRevenueRouter.sol";
import {IVouchers} from "../src/interfaces/IVouchers.sol";
import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {Base} from "./Base.sol";
import {BlockingToken, BurningToken, FeeToken, HookToken, NosyReceiver, SilentToken} from "./mocks/Tokens.sol";

contract AttacksTest is Base {
    uint256 private planId;

    function setUp() public override {
        super.setUp();
        planId = _createPlan(_terms());
    }

    function _planIn(address currency) private returns (uint256) {
        IPlanBook.PlanTerms memory terms = _terms();
        terms.currency = currency;
        return _createPlan(terms);
    }

    // Money

    function test_doubleClaim() external {
        _buy(planId, buyer);
        router.distribute(assetId, address(usd));
        vm.startPrank(publisher);
        router.claim(address(usd));
        vm.expectRevert(
            abi.encodeWithSelector(IRevenueRouter.RevenueRouter_NothingToClaim.selector, publisher, address(usd))
        );
        router.claim(address(usd));
    }

    function test_doubleWithdrawal() external {
        bytes32 id = _deposit(payer, 100);
        _deposit(buyer, 100);
        vm.prank(payer);
        escrow.requestExit(id, 100);
        skip(EXIT_DELAY);
        escrow.withdraw(1);
        vm.expectRevert(abi.encodeWithSelector(IUsageEscrow.UsageEscrow_UnknownExit.selector, 1));
        escrow.withdraw(1);
        assertEq(usd.balanceOf(address(escrow)), 100);
    }

    function test_transferBeforeClaim() external {
        _buy(planId, buyer);
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.prank(publisher);
        registry.transferFrom(publisher, stranger, tokenId);
        // What came in before the sale of the asset belongs to the seller, whoever distributes it and when.
        vm.prank(stranger);
        router.distribute(assetId, address(usd));
        assertEq(router.claimableOf(publisher, address(usd)), PRICE - PRICE / 100);
        assertEq(router.claimableOf(stranger, address(usd)), 0);
    }

    function test_priceFrontRun() external {
        // Plans are immutable, so the only way to a higher price is another plan; the limit holds there too.
        IPlanBook.PlanTerms memory dear = _terms();
        dear.price = PRICE + 1;
        uint256 dearer = _createPlan(dear);
        _fund(buyer, address(sale), 10 * PRICE);
        vm.expectRevert(abi.encodeWithSelector(ILicenseSale.LicenseSale_PriceAboveMax.selector, PRICE + 1, PRICE));
        vm.prank(buyer);
        sale.purchase(dearer, buyer, PRICE);
    }

    function test_selfDealing() external {
        // Buying one's own plan and settling one's own usage costs exactly the protocol fee.
        _fund(publisher, address(sale), PRICE);
        vm.startPrank(publisher);
        sale.purchase(planId, publisher, PRICE);
        router.distribute(assetId, address(usd));
        router.claim(address(usd));
        vm.stopPrank();
        assertEq(usd.balanceOf(publisher), PRICE - PRICE / 100);
    }

    function test_donation() external {
        bytes32 id = _deposit(payer, 100);
        usd.mint(address(escrow), 1_000_000);
        usd.mint(address(router), 1_000_000);
        assertEq(escrow.drawableOf(id), 100);
        _settleOne(id, 1_000_000);
        assertEq(_release(), 100);
        assertEq(router.owedOf(address(usd)), 100);
        router.distribute(assetId, address(usd));
        vm.prank(publisher);
        assertEq(router.claim(address(usd)), 99);
    }

    function test_depositBeyondAllAmounts() external {
        // Five times the greatest deposit, four of them in exits, is drawn to the last unit, and no part runs over.
        TestUSD free = new TestUSD();
        uint128 most = uint128(escrow.MAX_DEPOSIT() - 1);
        free.mint(payer, 5 * uint256(most) + 1);
        bytes32 wide = _depositToken(free, most);
        vm.startPrank(payer);
        free.approve(address(escrow), type(uint256).max);
        for (uint256 i = 0; i < 4; ++i) {
            escrow.requestExit(wide, most);
            escrow.deposit(operator, address(free), most);
        }
        vm.expectRevert(
            abi.encodeWithSelector(IUsageEscrow.UsageEscrow_DepositTooLarge.selector, wide, uint256(most) + 1)
        );
        escrow.deposit(operator, address(free), 1);
        vm.stopPrank();
        assertEq(escrow.drawableOf(wide), 5 * uint256(most));
        _settleToken(wide, 5 * most);
        assertEq(escrow.depositOf(wide).drawn, 5 * uint256(most));
        assertEq(escrow.directUntilOf(wide), 0);
        assertEq(_releaseToken(address(free)), 5 * uint256(most));
    }

    /// @dev What one group draws from many deposits is held in one word, and none of it may be lost.
    function test_depositsThatNoHoldCouldKeep() external {
        TestUSD free = new TestUSD();
        uint128 most = uint128(escrow.MAX_DEPOSIT() - 1);
        _setCap(address(free), type(uint128).max);
        IUsageEscrow.Item[] memory items = new IUsageEscrow.Item[](8);
        for (uint256 i = 0; i < 9; ++i) {
            address each = address(uint160(0x1000 + i));
            free.mint(each, most);
            vm.startPrank(each);
            free.approve(address(escrow), most);
            if (i == 8) vm.expectPartialRevert(IUsageEscrow.UsageEscrow_DepositTooLarge.selector);
            bytes32 depositId = escrow.deposit(operator, address(free), most);
            vm.stopPrank();
            if (i != 8) items[i] = _item(depositId, most);
        }
        _settleAs(operator, 1, _group(assetId, address(free), items));
        assertEq(_releaseToken(address(free)), 8 * uint256(most));
    }

    function testFuzz_rounding(uint8[20] calldata amounts) external {
        // Many small receipts, distributed one by one, never pay the protocol more than its share.
        bytes32 id = _deposit(payer, type(uint16).max);
        uint256 total;
        for (uint256 i = 0; i < amounts.length; ++i) {
            if (amounts[i] == 0) continue;
            _settleOne(id, amounts[i]);
            _release();
            router.distribute(assetId, address(usd));
            total += amounts[i];
        }
        uint256 fee = router.claimableOf(address(timelock), address(usd));
        assertLe(fee * 10_000, total * 100);
        assertEq(router.claimableOf(publisher, address(usd)) + fee, total);
        assertEq(router.owedOf(address(usd)), total);
    }

    // Replay

    function test_replayOfABatch() external {
        bytes32 id = _deposit(payer, 1000);
        IUsageEscrow.Group[] memory groups = _groups(_one(_item(id, 100)));
        vm.prank(stranger);
        escrow.registerOperator(receiptKey, uint64(block.timestamp), uint64(block.timestamp) + 1);
        _settleAs(operator, 1, groups);
        _settleAs(operator, 1, groups);
        // Another operator's number one is its own, and draws nothing from a deposit that does not name it.
        _settleAs(stranger, 1, groups);
        assertEq(escrow.depositOf(id).drawn, 100);
        assertEq(_release(), 100);
        vm.expectRevert();
        escrow.release(_held(1));
        assertEq(router.owedOf(address(usd)), 100);
    }

    function test_replayAcrossChainsAndContracts() external {
        IVouchers.Voucher memory voucher = IVouchers.Voucher(payer, operator, address(usd), "channel", 1);
        bytes32 here = escrow.voucherDigest(voucher);
        bytes32 asset = registry.assetIdOf(1);
        UsageEscrow otherEscrow = new UsageEscrow(address(manager), directory, address(1));
        AssetRegistry otherRegistry = new AssetRegistry(directory, mirrorBook);
        assertNotEq(otherEscrow.voucherDigest(voucher), here);
        assertNotEq(otherRegistry.assetIdOf(1), asset);
        vm.chainId(31338);
        assertNotEq(escrow.voucherDigest(voucher), here);
        assertNotEq(registry.assetIdOf(1), asset);
    }

    // Hostile code

    function test_tokenThatKeepsAFee() external {
        FeeToken token = new FeeToken();
        token.mint(buyer, PRICE);
        uint256 plan = _planIn(address(token));
        vm.startPrank(buyer);
        token.approve(address(sale), PRICE);
        uint256 short = PRICE - PRICE / 100;
        vm.expectRevert(
            abi.encodeWithSelector(ILicenseSale.LicenseSale_AmountMismatch.selector, address(token), PRICE, short)
        );
        sale.purchase(plan, buyer, PRICE);
        token.approve(address(escrow), 1000);
        vm.expectRevert(
            abi.encodeWithSelector(IUsageEscrow.UsageEscrow_AmountMismatch.selector, address(token), 1000, 990)
        );
        escrow.deposit(operator, address(token), 1000);
    }

    function test_tokenThatBeginsToKeepAFee() external {
        FeeToken token = new FeeToken();
        token.setCharging(false);
        token.mint(payer, 1000);
        bytes32 id = _depositToken(token, 1000);
        token.setCharging(true);
        _settleToken(id, 1000);
        // What it would not deliver in full stays held.
        IDisputes.HoldName memory name = _held(1);
        name.token = address(token);
        skip(DISPUTE_TIME);
        vm.expectRevert(
            abi.encodeWithSelector(IRevenueRouter.RevenueRouter_Unbacked.selector, address(token), 990, 1000)
        );
        escrow.release(name);
        token.setCharging(false);
        assertEq(escrow.release(name), 1000);
    }

    function test_tokenThatReturnsNothing() external {
        SilentToken token = new SilentToken();
        token.mint(buyer, PRICE);
        uint256 plan = _planIn(address(token));
        vm.startPrank(buyer);
        token.approve(address(sale), PRICE);
        sale.purchase(plan, buyer, PRICE);
        vm.stopPrank();
        token.mint(payer, 1000);
        vm.startPrank(payer);
        token.approve(address(escrow), 1000);
        bytes32 id = escrow.deposit(operator, address(token), 1000);
        vm.stopPrank();
        _setCap(address(token), 1000);
        _settleToken(id, 400);
        _releaseToken(address(token));
        vm.prank(payer);
        escrow.requestExit(id, 600);
        skip(EXIT_DELAY);
        escrow.withdraw(1);
        router.distribute(assetId, address(token));
        vm.prank(publisher);
        assertEq(router.claim(address(token)), PRICE + 400 - (PRICE + 400) / 100);
        assertEq(token.balanceOf(payer), 600);
    }

    function test_tokenThatBlocksTheRouter() external {
        BlockingToken token = new BlockingToken();
        token.mint(payer, 1000);
        bytes32 blockedId = _depositToken(token, 1000);
        bytes32 id = _deposit(payer, 1000);
        token.setBlocked(address(router), true);
        _settleOne(id, 400);
        _release();
        _settleToken(blockedId, 200);
        assertEq(router.owedOf(address(usd)), 400);
        // It is held until the token lets it go.
        IDisputes.HoldName memory name = _held(2);
        name.token = address(token);
        skip(DISPUTE_TIME);
        vm.expectRevert();
        escrow.release(name);
        assertEq(escrow.heldOf(address(token)), 1000);
        token.setBlocked(address(router), false);
        assertEq(escrow.release(name), 200);
    }

    function test_tokenThatBurnsAllGas() external {
        BurningToken token = new BurningToken();
        token.mint(payer, 1000);
        bytes32 burningId = _depositToken(token, 1000);
        bytes32 id = _deposit(payer, 1000);
        token.setBurning(true);
        IUsageEscrow.Group[] memory groups = new IUsageEscrow.Group[](2);
        groups[0] = IUsageEscrow.Group(assetId, address(token), _one(_item(burningId, 200)));
        groups[1] = IUsageEscrow.Group(assetId, address(usd), _one(_item(id, 300)));
        uint256 before = gasleft();
        _settleAs(operator, 1, groups);
        // No token is asked while it is settled.
        assertLt(before - gasleft(), 500_000);
        assertEq(_release(), 300);
        assertEq(escrow.depositOf(burningId).drawn, 200);
    }

    function _assertReentryRefused(HookToken token) private view {
        assertTrue(token.called());
        assertFalse(token.succeeded());
        assertEq(bytes4(token.answer()), ReentrancyGuard.ReentrancyGuardReentrantCall.selector);
    }

    function test_reentrancyIntoTheSale() external {
        HookToken token = new HookToken();
        uint256 plan = _planIn(address(token));
        token.mint(buyer, 2 * PRICE);
        token.arm(address(sale), abi.encodeCall(sale.purchase, (plan, buyer, PRICE)));
        vm.startPrank(buyer);
        token.approve(address(sale), PRICE);
        sale.purchase(plan, buyer, PRICE);
        _assertReentryRefused(token);
        assertEq(license.balanceOf(buyer), 1);
    }

    function test_reentrancyIntoTheEscrow() external {
        HookToken token = new HookToken();
        token.mint(payer, 2000);
        bytes32 id = _depositToken(token, 1000);
        bytes[4] memory calls = [
            abi.encodeCall(escrow.withdraw, (1)),
            abi.encodeCall(escrow.requestExit, (id, 1)),
            abi.encodeCall(escrow.deposit, (operator, address(token), 1)),
            abi.encodeCall(escrow.settle, (1, 0, "", new IUsageEscrow.Group[](0)))
        ];
        vm.prank(payer);
        escrow.requestExit(id, 400);
        skip(EXIT_DELAY);
        for (uint256 i = 0; i < calls.length; ++i) {
            uint256 state = vm.snapshotState();
            token.arm(address(escrow), calls[i]);
            escrow.withdraw(1);
            _assertReentryRefused(token);
            assertEq(token.balanceOf(payer), 1400);
            vm.revertToState(state);
        }
        _settleToken(id, 300);
        token.arm(address(escrow), abi.encodeCall(escrow.withdraw, (1)));
        _releaseToken(address(token));
        _assertReentryRefused(token);
        assertEq(escrow.depositOf(id).drawn, 300);
    }

    function test_reentrancyIntoTheRouter() external {
        HookToken token = new HookToken();
        // The token itself owns the asset, so that it can claim from inside a claim.
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.prank(publisher);
        registry.transferFrom(publisher, address(token), tokenId);
        token.mint(payer, 2000);
        bytes32 id = _depositToken(token, 1000);
        _settleToken(id, 500);
        _releaseToken(address(token));
        router.distribute(assetId, address(token));
        token.arm(address(router), abi.encodeCall(router.claim, (address(token))));
        token.run(address(router), abi.encodeCall(router.claim, (address(token))));
        _assertReentryRefused(token);
        assertEq(token.balanceOf(address(token)), 495);
    }

    function test_crossContractReentrancyIsBookedOnce() external {
        // While the escrow pays the router, the token buys a licence: another contract, another guard. The purchase
        // is booked against its own money, the item against its own.
        HookToken token = new HookToken();
        uint256 plan = _planIn(address(token));
        token.mint(payer, 1000);
        token.mint(address(token), PRICE);
        bytes32 id = _depositToken(token, 1000);
        token.run(address(token), abi.encodeCall(token.approve, (address(sale), PRICE)));
        token.arm(address(sale), abi.encodeCall(sale.purchase, (plan, buyer, PRICE)));
        _settleToken(id, 500);
        _releaseToken(address(token));
        assertTrue(token.succeeded());
        assertEq(router.owedOf(address(token)), PRICE + 500);
        assertEq(token.balanceOf(address(router)), PRICE + 500);
        assertEq(escrow.heldOf(address(token)), 500);
    }

    function test_readOnlyReentrancySeesNoMoneyTwice() external {
        // During the withdrawal, the escrow already says that the money is gone.
        HookToken token = new HookToken();
        token.mint(payer, 1000);
        bytes32 id = _depositToken(token, 1000);
        vm.prank(payer);
        escrow.requestExit(id, 400);
        skip(EXIT_DELAY);
        token.arm(address(escrow), abi.encodeCall(escrow.heldOf, (address(token))));
        escrow.withdraw(1);
        assertEq(abi.decode(token.answer(), (uint256)), 600);
        _settleToken(id, 250);
        // While it is released, it is held no more.
        token.arm(address(escrow), abi.encodeCall(escrow.heldOf, (address(token))));
        _releaseToken(address(token));
        assertEq(abi.decode(token.answer(), (uint256)), 350);
    }

    function test_maliciousReceiver() external {
        NosyReceiver receiver = new NosyReceiver();
        uint256 tokenId = _buy(planId, address(receiver));
        assertEq(license.ownerOf(tokenId), address(receiver));
        assertFalse(receiver.hooked());
    }

    // Rights and code

    function test_expiredRight() external {
        uint256 tokenId = _buy(planId, buyer);
        assertTrue(license.isUsable(tokenId));
        skip(PERIOD - 1);
        assertTrue(license.isUsable(tokenId));
        skip(1);
        assertFalse(license.isUsable(tokenId));
        // Moving it does not bring it back.
        vm.prank(buyer);
        license.transferFrom(buyer, stranger, tokenId);
        assertFalse(license.isUsable(tokenId));
    }

    function test_unprotectedInitialiser() external {
        // No contract has one. What sets values after the deployment is restricted.
        address[4] memory targets = [address(directory), address(escrow), address(router), address(registry)];
        for (uint256 i = 0; i < targets.length; ++i) {
            vm.startPrank(stranger);
            (bool ok,) = targets[i].call(abi.encodeWithSignature("initialize(address)", stranger));
            assertFalse(ok);
            (ok,) = targets[i].call(abi.encodeWithSignature("setAuthority(address)", stranger));
            assertFalse(ok);
            vm.stopPrank();
        }
        vm.startPrank(stranger);
        vm.expectRevert();
        escrow.setExitDelay(10);
        vm.expectRevert();
        router.setFee(0);
    }

    function test_create2Redeployment() external {
        bytes memory code = abi.encodePacked(type(UsageEscrow).creationCode, abi.encode(manager, directory, address(1)));
        address first = _create2(code);
        assertNotEq(first, address(0));
        assertEq(_create2(code), address(0));
        // Nor does a contract that was retired come back under its old name.
        _advance(address(escrow), IDirectory.Status.Retiring);
        _advance(address(escrow), IDirectory.Status.Retired);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.Directory_AlreadyListed.selector, address(escrow)));
        directory.list("UsageEscrow", address(escrow));
    }

    function _create2(bytes memory code) private returns (address deployed) {
        assembly ("memory-safe") {
            deployed := create2(0, add(code, 32), mload(code), 0)
        }
    }
}
