// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {Market} from "../src/Market.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {RoyaltyToken, StatefulToken, Units, Wallet} from "./mocks/Collectibles.sol";
import {FeeToken, HookToken, SilentToken} from "./mocks/Tokens.sol";
import {MarketBase} from "./MarketBase.sol";

/// @notice The attacks that a market without custody is known for.
contract MarketAttacksTest is MarketBase {
    function test_aFilledOrderIsNotFilledAgain() external {
        _fill(_sell(), 1, ASK);
        vm.prank(taker);
        license.transferFrom(taker, maker, licenseId);
        _refused(_sell(), abi.encodeWithSelector(IMarket.Market_AmountAboveRest.selector, 1, 0));
    }

    function test_twoOrdersOfOneNonceAreNotBothFilled() external {
        IMarket.Order memory order = _shares(10);
        _fill(order, 4, NO_LIMIT);
        IMarket.Order memory other = _sell();
        _refused(other, abi.encodeWithSelector(IMarket.Market_NonceUsed.selector, maker, order.nonce));
    }

    function test_listingAfterTransfer() external {
        IMarket.Order memory order = _sell();
        vm.prank(maker);
        license.transferFrom(maker, buyer, licenseId);
        bytes memory signature = _sign(order);
        vm.expectRevert();
        vm.prank(taker);
        market.fill(order, signature, 1, ASK);
        assertEq(usd.balanceOf(taker), 1e12);
    }

    function test_priceFrontRun() external {
        IMarket.Order memory order = _sell();
        order.endPrice = 3 * ASK;
        skip(12 hours);
        bytes memory signature = _sign(order);
        vm.expectRevert(abi.encodeWithSelector(IMarket.Market_PriceBeyondLimit.selector, 2 * ASK, 2 * ASK - 1));
        vm.prank(taker);
        market.fill(order, signature, 1, 2 * ASK - 1);
    }

    function test_selfDealing() external {
        IMarket.Order memory order = _sell();
        bytes memory signature = _sign(order);
        vm.expectRevert(abi.encodeWithSelector(IMarket.Market_SelfDealing.selector, maker));
        vm.prank(maker);
        market.fill(order, signature, 1, ASK);
    }

    function test_replayOnAnotherChainOrContract() external {
        IMarket.Order memory order = _sell();
        bytes memory signature = _sign(order);
        Market second = new Market(directory);
        directory.list("Market2", address(second));
        bytes32 there = second.hashOrder(order);
        vm.expectRevert(abi.encodeWithSelector(IMarket.Market_InvalidSignature.selector, there, maker));
        vm.prank(taker);
        second.fill(order, signature, 1, ASK);
        vm.chainId(777);
        bytes32 elsewhere = market.hashOrder(order);
        vm.expectRevert(abi.encodeWithSelector(IMarket.Market_InvalidSignature.selector, elsewhere, maker));
        vm.prank(taker);
        market.fill(order, signature, 1, ASK);
    }

    function test_aBuyerIsPaidForByNobodyElse() external {
        // Taker and maker have both approved the market; a stranger's order can move neither's tokens.
        (address thief, uint256 thiefKey) = makeAddrAndKey("thief");
        IMarket.Order memory order = _sell();
        order.maker = thief;
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(thiefKey, market.hashOrder(order));
        vm.expectRevert();
        vm.prank(taker);
        market.fill(order, abi.encodePacked(r, s, v), 1, ASK);
        assertEq(license.ownerOf(licenseId), maker);
        assertEq(usd.balanceOf(taker), 1e12);
    }

    function test_royaltyAbovePrice() external {
        (RoyaltyToken token, IMarket.Order memory order) = _royal();
        token.setAnswer(abi.encode(stranger, uint256(ASK) * 2), false);
        _fill(order, 1, ASK);
        assertEq(usd.balanceOf(stranger), uint256(ASK) / 10);
    }

    function test_aRoyaltyIsPaid() external {
        (RoyaltyToken token, IMarket.Order memory order) = _royal();
        token.setAnswer(abi.encode(stranger, 50_000), false);
        uint256 before = usd.balanceOf(maker);
        _fill(order, 1, ASK);
        assertEq(usd.balanceOf(stranger), 50_000);
        assertEq(usd.balanceOf(maker) - before, ASK - 50_000 - ASK / 100);
    }

    function test_nonsenseAboutARoyaltyStopsNoSale() external {
        bytes[6] memory answers = [
            bytes(""),
            hex"01",
            abi.encode(type(uint256).max, 10),
            abi.encode(address(0), 10),
            abi.encode(stranger, 0),
            abi.encode(stranger, 10, 10)
        ];
        for (uint256 i = 0; i < answers.length; ++i) {
            (RoyaltyToken token, IMarket.Order memory order) = _royal();
            order.nonce = i + 100;
            token.setAnswer(answers[i], false);
            _fill(order, 1, ASK);
            assertEq(usd.balanceOf(stranger), 0);
        }
        (RoyaltyToken burning, IMarket.Order memory last) = _royal();
        burning.setAnswer("", true);
        _fill(last, 1, ASK);
    }

    function test_feeOnTransfer() external {
        FeeToken token = new FeeToken();
        token.mint(taker, 1e12);
        vm.prank(taker);
        token.approve(address(market), 1e12);
        IMarket.Order memory order = _sell();
        order.currency = address(token);
        uint256 fee = uint256(ASK) / 100;
        _refused(
            order, abi.encodeWithSelector(IMarket.Market_AmountMismatch.selector, address(token), fee, fee - fee / 100)
        );
    }

    function test_aTokenThatReturnsNothing() external {
        SilentToken token = new SilentToken();
        token.mint(taker, ASK);
        vm.prank(taker);
        token.approve(address(market), ASK);
        IMarket.Order memory order = _sell();
        order.currency = address(token);
        _fill(order, 1, ASK);
        assertEq(token.balanceOf(maker), ASK - ASK / 100);
    }

    function test_aReceiverThatCallsBack() external {
        Units units = new Units();
        units.mint(maker, 5, 100);
        vm.prank(maker);
        units.setApprovalForAll(address(market), true);
        Wallet wallet = new Wallet(taker);
        usd.mint(address(wallet), 1e9);
        wallet.run(address(usd), abi.encodeCall(IERC20.approve, (address(market), 1e9)));
        IMarket.Order memory order = _sell();
        (order.standard, order.token, order.tokenId, order.amount) = (IMarket.Standard.ERC1155, address(units), 5, 100);
        bytes memory again = abi.encodeCall(IMarket.fill, (order, _sign(order), 50, NO_LIMIT));
        wallet.arm(address(market), again);
        wallet.run(address(market), again);
        assertEq(units.balanceOf(address(wallet), 5), 50);
        assertEq(bytes4(wallet.answer()), ReentrancyGuard.ReentrancyGuardReentrantCall.selector);
    }

    function test_fill_revertsWhenAPaymentChangesTheState() external {
        StatefulToken token = new StatefulToken();
        HookToken hooked = new HookToken();
        token.mint(maker, 1);
        hooked.mint(taker, ASK);
        IMarket.Order memory order = _sell();
        (order.token, order.tokenId, order.currency) = (address(token), 1, address(hooked));
        order.stateHash = "as offered";
        token.setState(1, order.stateHash);
        vm.prank(maker);
        token.setApprovalForAll(address(market), true);
        vm.prank(taker);
        hooked.approve(address(market), ASK);
        hooked.arm(address(token), abi.encodeCall(StatefulToken.setState, (1, "spent")));
        _refused(
            order,
            abi.encodeWithSelector(
                IMarket.Market_StateChanged.selector, address(token), 1, order.stateHash, bytes32("spent")
            )
        );
    }
}
