// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {TestUSD} from "../src/TestUSD.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {Base} from "./Base.sol";
import {RoyaltyToken} from "./mocks/Collectibles.sol";

/// @notice A maker with a licence, a taker with money, and orders between them.
abstract contract MarketBase is Base {
    uint128 internal constant ASK = 1_000_003;
    uint256 internal constant NO_LIMIT = type(uint256).max;

    address internal maker;
    uint256 internal makerKey;
    address internal taker = makeAddr("taker");
    uint256 internal licenseId;

    function setUp() public override {
        super.setUp();
        (maker, makerKey) = makeAddrAndKey("maker");
        licenseId = _buy(_createPlan(_terms()), maker);
        vm.startPrank(maker);
        license.setApprovalForAll(address(market), true);
        usd.approve(address(market), type(uint256).max);
        vm.startPrank(taker);
        license.setApprovalForAll(address(market), true);
        usd.approve(address(market), type(uint256).max);
        vm.stopPrank();
        usd.mint(taker, 1e12);
        usd.mint(maker, 1e12);
    }

    function _sell() internal view returns (IMarket.Order memory order) {
        order.maker = maker;
        order.side = IMarket.Side.Sell;
        order.standard = IMarket.Standard.ERC721;
        order.token = address(license);
        order.tokenId = licenseId;
        order.amount = 1;
        order.currency = address(usd);
        (order.startPrice, order.endPrice) = (ASK, ASK);
        order.startTime = uint64(block.timestamp);
        order.endTime = uint64(block.timestamp) + 1 days;
        order.nonce = 7;
    }

    function _sign(IMarket.Order memory order) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(makerKey, market.hashOrder(order));
        return abi.encodePacked(r, s, v);
    }

    function _fill(IMarket.Order memory order, uint128 amount, uint256 limit) internal returns (uint256) {
        bytes memory signature = _sign(order);
        vm.prank(taker);
        return market.fill(order, signature, amount, limit);
    }

    function _refused(IMarket.Order memory order, bytes memory reason) internal {
        bytes memory signature = _sign(order);
        vm.expectRevert(reason);
        vm.prank(taker);
        market.fill(order, signature, order.amount, order.side == IMarket.Side.Sell ? NO_LIMIT : 0);
    }

    function _shares(uint128 amount) internal returns (IMarket.Order memory order) {
        TestUSD token = new TestUSD();
        token.mint(maker, amount);
        vm.prank(maker);
        token.approve(address(market), amount);
        order = _sell();
        (order.standard, order.token, order.tokenId, order.amount) = (IMarket.Standard.ERC20, address(token), 0, amount);
    }

    function _royal() internal returns (RoyaltyToken token, IMarket.Order memory order) {
        token = new RoyaltyToken();
        token.mint(maker, 1);
        vm.prank(maker);
        token.setApprovalForAll(address(market), true);
        order = _sell();
        (order.token, order.tokenId) = (address(token), 1);
    }
}
