// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {TestUSD} from "../src/TestUSD.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {Units, Wallet} from "./mocks/Collectibles.sol";
import {MarketBase} from "./MarketBase.sol";

contract MarketTest is MarketBase {
    function test_fill_sellsAndPaysSellerAndFee() external {
        uint256 before = usd.balanceOf(maker);
        assertEq(_fill(_sell(), 1, ASK), ASK);
        uint256 fee = uint256(ASK) / 100;
        assertEq(license.ownerOf(licenseId), taker);
        assertEq(usd.balanceOf(maker) - before, ASK - fee);
        assertEq(usd.balanceOf(address(timelock)), fee);
        assertEq(usd.balanceOf(taker), 1e12 - ASK);
        assertEq(usd.balanceOf(address(market)), 0);
        assertEq(market.filledOf(market.hashOrder(_sell())), 1);
        assertEq(market.orderOfNonce(maker, 7), market.hashOrder(_sell()));
    }

    function test_fill_announcesTheSale() external {
        IMarket.Order memory order = _sell();
        bytes memory signature = _sign(order);
        vm.expectEmit(address(market));
        emit IMarket.OrderFilled(
            market.hashOrder(order),
            maker,
            taker,
            IMarket.Side.Sell,
            address(license),
            licenseId,
            1,
            address(usd),
            ASK,
            address(0),
            0,
            ASK / 100
        );
        vm.prank(taker);
        market.fill(order, signature, 1, ASK);
    }

    function test_fill_acceptsTheBid() external {
        vm.prank(maker);
        license.transferFrom(maker, taker, licenseId);
        IMarket.Order memory bid = _sell();
        bid.side = IMarket.Side.Buy;
        bytes memory signature = _sign(bid);
        vm.prank(taker);
        vm.expectRevert(abi.encodeWithSelector(IMarket.Market_PriceBeyondLimit.selector, ASK, uint256(ASK) + 1));
        market.fill(bid, signature, 1, uint256(ASK) + 1);
        assertEq(_fill(bid, 1, ASK), ASK);
        assertEq(license.ownerOf(licenseId), maker);
        assertEq(usd.balanceOf(maker), 1e12 - ASK);
        assertEq(usd.balanceOf(taker), 1e12 + ASK - ASK / 100);
    }

    function testFuzz_fill_followsTheLineOfADutchPrice(uint128 from, uint128 to, uint64 length, uint64 passed)
        external
    {
        IMarket.Order memory order = _sell();
        order.startPrice = uint128(bound(from, 0, 1e11));
        order.endPrice = uint128(bound(to, 0, 1e11));
        order.endTime = order.startTime + uint64(bound(length, 1, 365 days));
        skip(bound(passed, 0, order.endTime - order.startTime));
        uint256 length_ = order.endTime - order.startTime;
        uint256 passed_ = block.timestamp - order.startTime;
        uint256 scaled = order.startPrice * (length_ - passed_) + order.endPrice * passed_;
        uint256 expected = (scaled + length_ - 1) / length_;
        assertEq(market.priceOf(order, 1), expected);
        assertEq(_fill(order, 1, expected), expected);
        (uint256 low, uint256 high) =
            order.startPrice < order.endPrice ? (order.startPrice, order.endPrice) : (order.endPrice, order.startPrice);
        assertGe(expected, low);
        assertLe(expected, high);
    }

    function testFuzz_fill_partsNeverServeTheMakerWorse(uint128 amount, uint128 price, uint128 first, bool buys)
        external
    {
        Units units = new Units();
        IMarket.Order memory order = _sell();
        order.standard = IMarket.Standard.ERC20;
        TestUSD token = new TestUSD();
        order.token = address(token);
        order.tokenId = 0;
        order.amount = uint128(bound(amount, 2, 1e30));
        (order.startPrice, order.endPrice) = (uint128(bound(price, 0, 1e11)), uint128(bound(price, 0, 1e11)));
        order.side = buys ? IMarket.Side.Buy : IMarket.Side.Sell;
        address seller = buys ? taker : maker;
        token.mint(seller, order.amount);
        vm.prank(seller);
        token.approve(address(market), order.amount);
        first = uint128(bound(first, 1, order.amount - 1));
        uint256 paid = _fill(order, first, buys ? 0 : NO_LIMIT);
        paid += _fill(order, order.amount - first, buys ? 0 : NO_LIMIT);
        assertEq(token.balanceOf(buys ? maker : taker), order.amount);
        if (buys) assertLe(paid, order.startPrice);
        else assertGe(paid, order.startPrice);
        assertApproxEqAbs(paid, order.startPrice, 1);
        _refused(order, abi.encodeWithSelector(IMarket.Market_AmountAboveRest.selector, order.amount, 0));
        assertEq(units.balanceOf(taker, 1), 0);
    }

    function test_fill_deliversUnits() external {
        Units units = new Units();
        units.mint(maker, 5, 100);
        vm.prank(maker);
        units.setApprovalForAll(address(market), true);
        IMarket.Order memory order = _sell();
        (order.standard, order.token, order.tokenId, order.amount) = (IMarket.Standard.ERC1155, address(units), 5, 100);
        assertEq(_fill(order, 30, NO_LIMIT), 300_001);
        assertEq(units.balanceOf(taker, 5), 30);
        _refused(order, abi.encodeWithSelector(IMarket.Market_AmountAboveRest.selector, 100, 70));
    }

    function test_fill_revertsWhenTheMarketIsNotActive() external {
        _advance(address(market), IDirectory.Status.Retiring);
        _refused(
            _sell(),
            abi.encodeWithSelector(IDirectory.Directory_NotActive.selector, address(market), IDirectory.Status.Retiring)
        );
    }

    function test_fill_revertsWithoutRouter() external {
        _advance(address(router), IDirectory.Status.Retiring);
        _refused(_sell(), abi.encodeWithSelector(IMarket.Market_NoRouter.selector));
    }

    function test_fill_revertsWhenMalformed() external {
        IMarket.Order memory order = _sell();
        order.amount = 2;
        _refused(order, abi.encodeWithSelector(IMarket.Market_InvalidOrder.selector, market.hashOrder(order)));
        order = _sell();
        order.amount = 0;
        _refused(order, abi.encodeWithSelector(IMarket.Market_InvalidOrder.selector, market.hashOrder(order)));
        order = _sell();
        order.endTime = order.startTime;
        _refused(order, abi.encodeWithSelector(IMarket.Market_InvalidOrder.selector, market.hashOrder(order)));
        order = _sell();
        order.maker = address(0);
        _refused(order, abi.encodeWithSelector(IMarket.Market_InvalidOrder.selector, market.hashOrder(order)));
    }

    function test_fill_revertsOutsideItsTimes() external {
        IMarket.Order memory order = _sell();
        order.startTime += 1;
        bytes memory reason = abi.encodeWithSelector(IMarket.Market_NotInTime.selector, order.startTime, order.endTime);
        _refused(order, reason);
        vm.warp(uint256(order.endTime) + 1);
        _refused(order, reason);
        vm.warp(order.endTime);
        _fill(order, 1, NO_LIMIT);
    }

    function test_fill_revertsOnASignatureThatIsNotTheMakers() external {
        IMarket.Order memory order = _sell();
        bytes memory signature = _sign(order);
        order.startPrice = 1;
        vm.expectRevert(
            abi.encodeWithSelector(IMarket.Market_InvalidSignature.selector, market.hashOrder(order), maker)
        );
        vm.prank(taker);
        market.fill(order, signature, 1, NO_LIMIT);
    }

    function test_fill_asksAContractThatIsTheMaker() external {
        Wallet wallet = new Wallet(maker);
        vm.prank(maker);
        license.transferFrom(maker, address(wallet), licenseId);
        wallet.run(address(license), abi.encodeCall(IERC721.setApprovalForAll, (address(market), true)));
        IMarket.Order memory order = _sell();
        order.maker = address(wallet);
        _fill(order, 1, ASK);
        assertEq(license.ownerOf(licenseId), taker);
        assertEq(usd.balanceOf(address(wallet)), ASK - ASK / 100);
    }

    function test_fill_revertsForAnotherTaker() external {
        IMarket.Order memory order = _sell();
        order.taker = buyer;
        _refused(order, abi.encodeWithSelector(IMarket.Market_NotTaker.selector, buyer, taker));
        order.taker = taker;
        _fill(order, 1, ASK);
    }

    function test_fill_revertsInAnotherState() external {
        IMarket.Order memory order = _sell();
        order.stateHash = license.tokenStateHash(licenseId);
        _fund(buyer, address(sale), PRICE);
        vm.prank(buyer);
        sale.renew(licenseId, PRICE);
        bytes32 found = license.tokenStateHash(licenseId);
        assertNotEq(found, order.stateHash);
        _refused(
            order,
            abi.encodeWithSelector(
                IMarket.Market_StateChanged.selector, address(license), licenseId, order.stateHash, found
            )
        );
        order.stateHash = found;
        _fill(order, 1, ASK);
    }

    /// @dev A licence that may soon be revoked is not what was bid for; once that is over, it is again.
    function test_fill_revertsWhenABreachWasAnnouncedSince() external {
        IMarket.Order memory order = _sell();
        order.stateHash = license.tokenStateHash(licenseId);
        vm.prank(address(breachBook));
        license.hold(licenseId, uint64(block.timestamp) + 1 hours);
        bytes32 found = license.tokenStateHash(licenseId);
        assertNotEq(found, order.stateHash);
        _refused(
            order,
            abi.encodeWithSelector(
                IMarket.Market_StateChanged.selector, address(license), licenseId, order.stateHash, found
            )
        );
        skip(1 hours);
        assertEq(license.tokenStateHash(licenseId), found);
        skip(1);
        _fill(order, 1, ASK);
    }

    function test_anAssetsStateChangesWithItsVersions() external {
        uint256 tokenId = registry.tokenIdOf(assetId);
        bytes32 before = registry.tokenStateHash(tokenId);
        vm.startPrank(publisher);
        registry.publishVersion(assetId, keccak256("v1"), "ipfs://v1");
        bytes32 published = registry.tokenStateHash(tokenId);
        registry.activateVersion(assetId, keccak256("v1"));
        vm.stopPrank();
        assertNotEq(before, published);
        assertNotEq(published, registry.tokenStateHash(tokenId));
        vm.expectRevert();
        registry.tokenStateHash(tokenId + 1);
    }

    function test_cancel_endsTheOrdersOfANonce() external {
        uint256[] memory nonces = new uint256[](2);
        (nonces[0], nonces[1]) = (7, 8);
        vm.expectEmit(address(market));
        emit IMarket.OrderCancelled(maker, 7);
        vm.prank(maker);
        market.cancel(nonces);
        bytes memory reason = abi.encodeWithSelector(IMarket.Market_NonceUsed.selector, maker, 7);
        _refused(_sell(), reason);
        assertEq(market.orderOfNonce(maker, 8), bytes32(type(uint256).max));
    }

    function test_cancel_endsWhatIsLeftOfAnOrder() external {
        IMarket.Order memory order = _shares(10);
        _fill(order, 4, NO_LIMIT);
        uint256[] memory nonces = new uint256[](1);
        nonces[0] = order.nonce;
        vm.prank(maker);
        market.cancel(nonces);
        _refused(order, abi.encodeWithSelector(IMarket.Market_NonceUsed.selector, maker, order.nonce));
    }

    function test_cancelAll_endsEveryOrderSoFar() external {
        vm.expectEmit(address(market));
        emit IMarket.EpochRaised(maker, 1);
        vm.prank(maker);
        market.cancelAll();
        IMarket.Order memory order = _sell();
        _refused(order, abi.encodeWithSelector(IMarket.Market_EpochOver.selector, maker, 0, 1));
        order.epoch = 1;
        _fill(order, 1, ASK);
    }

    function test_priceOf_refusesWhatFillRefuses() external {
        IMarket.Order memory order = _sell();
        order.startTime += 1;
        vm.expectRevert(abi.encodeWithSelector(IMarket.Market_NotInTime.selector, order.startTime, order.endTime));
        market.priceOf(order, 1);
    }
}
