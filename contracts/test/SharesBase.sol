// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AssetGovernor} from "../src/AssetGovernor.sol";
import {AssetTimelock} from "../src/AssetTimelock.sol";
import {Shares} from "../src/Shares.sol";
import {IAssetGovernor} from "../src/interfaces/IAssetGovernor.sol";
import {IShares} from "../src/interfaces/IShares.sol";
import {ISharesFactory} from "../src/interfaces/ISharesFactory.sol";
import {Base} from "./Base.sol";
import {Gate} from "./mocks/Gate.sol";

/// @notice The asset of the story in shares: alice has 600, bob 300, the treasury 100 that earn nothing.
abstract contract SharesBase is Base {
    uint128 internal constant ALICES = 600e18;
    uint128 internal constant BOBS = 300e18;
    uint128 internal constant TREASURY = 100e18;

    address internal alice;
    uint256 internal aliceKey;
    address internal bob = makeAddr("bob");
    address internal carol = makeAddr("carol");
    address internal steward = makeAddr("steward");
    Shares internal shares;
    AssetTimelock internal assetTimelock;
    AssetGovernor internal governor;
    Gate internal gate;

    function setUp() public virtual override {
        super.setUp();
        (alice, aliceKey) = makeAddrAndKey("alice");
        gate = new Gate();
        router.setFee(0);
        skip(router.FEE_DELAY());
        _fractionalise(_order());
    }

    function _order() internal view returns (ISharesFactory.Order memory order) {
        address treasury = sharesFactory.nextPartsOf(assetId).timelock;
        order.assetId = assetId;
        order.steward = steward;
        order.operator = operator;
        order.delay = EXIT_DELAY;
        order.shares.name = "Acme Risk";
        order.shares.symbol = "RISK";
        order.shares.currencies = new address[](1);
        order.shares.currencies[0] = address(usd);
        order.shares.excluded = new address[](1);
        order.shares.excluded[0] = treasury;
        order.shares.allocations = new IShares.Allocation[](3);
        order.shares.allocations[0] = IShares.Allocation(alice, ALICES, 0, 0, 0);
        order.shares.allocations[1] = IShares.Allocation(bob, BOBS, 0, 0, 0);
        order.shares.allocations[2] = IShares.Allocation(treasury, TREASURY, 0, 0, 0);
    }

    function _fractionalise(ISharesFactory.Order memory order) internal {
        uint256 tokenId = registry.tokenIdOf(order.assetId);
        vm.startPrank(publisher);
        registry.approve(address(sharesFactory), tokenId);
        ISharesFactory.Parts memory parts = sharesFactory.fractionalise(order);
        vm.stopPrank();
        (shares, assetTimelock) = (Shares(parts.shares), AssetTimelock(payable(parts.timelock)));
        governor = AssetGovernor(payable(parts.governor));
    }

    /// @dev Shares that vote have a governor in the steward's place.
    function _voting(ISharesFactory.Order memory order) internal pure returns (ISharesFactory.Order memory) {
        (order.steward, order.shares.votes) = (address(0), true);
        order.ballot = IAssetGovernor.Ballot(1 days, uint32(EXIT_DELAY), 1e18, 20);
        return order;
    }

    /// @dev As `_fractionalise`, for another asset of the publisher.
    function _another(string memory slug) internal returns (ISharesFactory.Order memory order) {
        vm.startPrank(publisher);
        assetId = registry.assetIdOf(registry.register(slug, registry.kindOf(assetId), publisher));
        vm.stopPrank();
        return _order();
    }

    function _earn(uint128 amount) internal {
        usd.mint(address(router), amount);
        vm.prank(address(sale));
        router.receiveRevenue(assetId, address(usd), amount, 0);
    }

    /// @dev Revenue that reaches the shares in full and waits there.
    function _collect(uint128 amount) internal {
        _earn(amount);
        router.distribute(assetId, address(usd));
        shares.collect(address(router), address(usd));
    }

    function _share(uint128 amount) internal {
        _collect(amount);
        skip(1);
    }

    function _move(address from, address to, uint256 amount) internal {
        vm.prank(from);
        // A refusal is told by what the token reverts with.
        bool ok = shares.transfer(to, amount);
        assertTrue(ok);
    }

    function _claimable(address account) internal view returns (uint256) {
        return shares.claimableOf(account, address(usd));
    }

    function _claim(address account) internal returns (uint256) {
        vm.prank(account);
        return shares.claim(address(usd));
    }
}
