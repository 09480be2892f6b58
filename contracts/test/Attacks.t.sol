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
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {Receipts} from "../src/libraries/Receipts.sol";
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
        assertEq(router.owedOf(address(usd)), 100);
        router.distribute(assetId, address(usd));
        vm.prank(publisher);
        assertEq(router.claim(address(usd)), 99);
    }

    function test_depositBeyondAllAmounts() external {
        // A deposit and its waiting exits may add up to more than 128 bits hold; the others' items are paid all the same.
        bytes32 good = _deposit(buyer, 1000);
        TestUSD free = new TestUSD();
        free.mint(payer, 2 * uint256(type(uint128).max));
        bytes32 wide = _depositToken(free, type(uint128).max);
        vm.startPrank(payer);
        escrow.requestExit(wide, type(uint128).max);
        free.approve(address(escrow), type(uint128).max);
        escrow.deposit(operator, address(free), type(uint128).max);
        vm.stopPrank();
        assertEq(escrow.drawableOf(wide), type(uint128).max);
        IUsageEscrow.Item[] memory items = new IUsageEscrow.Item[](2);
        items[0] = _item(good, 10);
        items[1] = _item(wide, 7);
        _settle(items);
        assertEq(router.owedOf(address(usd)), 10);
        assertEq(router.owedOf(address(free)), 7);
    }

    function testFuzz_rounding(uint8[20] calldata amounts) external {
        // Many small receipts, distributed one by one, never pay the protocol more than its share.
        bytes32 id = _deposit(payer, type(uint16).max);
        uint256 total;
        for (uint256 i = 0; i < amounts.length; ++i) {
            if (amounts[i] == 0) continue;
            _settleOne(id, amounts[i]);
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
        IUsageEscrow.Item[] memory items = new IUsageEscrow.Item[](1);
        items[0] = _item(id, 100);
        bytes32 root = batchRoots.rootOf(items);
        vm.prank(stranger);
        escrow.registerOperator(receiptKey, uint64(block.timestamp), uint64(block.timestamp) + 1);
        vm.prank(operator);
        escrow.settle(1, root, "", items);
        vm.prank(operator);
        escrow.settle(1, root, "", items);
        // Another operator's number one is its own, and draws nothing from a deposit that does not name it.
        vm.prank(stranger);
        escrow.settle(1, root, "", items);
        assertEq(escrow.depositOf(id).drawn, 100);
        assertEq(router.owedOf(address(usd)), 100);
    }

    function test_replayAcrossChainsAndContracts() external {
        Receipts.Segment memory segment = Receipts.Segment(keccak256("root"), 1);
        bytes32 here = escrow.segmentDigest(segment);
        bytes32 asset = registry.assetIdOf(1);
        UsageEscrow otherEscrow = new UsageEscrow(address(manager), directory);
        AssetRegistry otherRegistry = new AssetRegistry(directory, mirrorBook);
        assertNotEq(otherEscrow.segmentDigest(segment), here);
        assertNotEq(otherRegistry.assetIdOf(1), asset);
        vm.chainId(31338);
        assertNotEq(escrow.segmentDigest(segment), here);
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
        _settleOne(id, 1000);
        // The item is taken back as a whole, and the batch goes on.
        assertEq(escrow.lastBatchOf(operator), 1);
        assertEq(escrow.drawableOf(id), 1000);
        assertEq(token.balanceOf(address(router)), 0);
        assertEq(token.balanceOf(address(escrow)), 1000);
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
        _settleOne(id, 400);
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
        IUsageEscrow.Item[] memory items = new IUsageEscrow.Item[](3);
        items[0] = _item(id, 100);
        items[1] = _item(blockedId, 200);
        items[2] = _item(id, 300);
        _settle(items);
        assertEq(router.owedOf(address(usd)), 400);
        assertEq(router.owedOf(address(token)), 0);
        assertEq(escrow.drawableOf(blockedId), 1000);
        assertEq(escrow.heldOf(address(token)), 1000);
    }

    function test_tokenThatBurnsAllGas() external {
        BurningToken token = new BurningToken();
        token.mint(payer, 1000);
        bytes32 burningId = _depositToken(token, 1000);
        bytes32 id = _deposit(payer, 1000);
        token.setBurning(true);
        IUsageEscrow.Item[] memory items = new IUsageEscrow.Item[](2);
        items[0] = _item(burningId, 200);
        items[1] = _item(id, 300);
        uint256 before = gasleft();
        _settle(items);
        assertLt(before - gasleft(), 2 * escrow.ITEM_GAS());
        assertEq(router.owedOf(address(usd)), 300);
        assertEq(escrow.drawableOf(burningId), 1000);
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
            abi.encodeCall(escrow.settle, (1, 0, "", new IUsageEscrow.Item[](0)))
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
        token.arm(address(escrow), abi.encodeCall(escrow.withdraw, (1)));
        _settleOne(id, 300);
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
        _settleOne(id, 500);
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
        _settleOne(id, 500);
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
        token.arm(address(escrow), abi.encodeCall(escrow.drawableOf, (id)));
        _settleOne(id, 250);
        assertEq(abi.decode(token.answer(), (uint128)), 350);
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
        bytes memory code = abi.encodePacked(type(UsageEscrow).creationCode, abi.encode(manager, directory));
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
