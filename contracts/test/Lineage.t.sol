// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {IRevenueRouter} from "../src/interfaces/IRevenueRouter.sol";
import {Base} from "./Base.sol";

/// @notice Revenue on its way up the lineage, and to contributors.
/// forge-config: default.isolate = true
contract LineageTest is Base {
    address private tuner = makeAddr("tuner");
    address private carol = makeAddr("carol");
    address private dave = makeAddr("dave");
    bytes32 private tuned;

    function setUp() public override {
        super.setUp();
        tuned = _derive("tuner/tuned", tuner, assetId, 1000);
    }

    function _derive(string memory slug, address owner, bytes32 parentId, uint16 royaltyBp) private returns (bytes32) {
        IAssetRegistry.Parent[] memory parents = new IAssetRegistry.Parent[](1);
        parents[0] = IAssetRegistry.Parent(parentId, royaltyBp);
        vm.prank(owner);
        return registry.assetIdOf(registry.registerDerived(slug, IAssetRegistry.Kind.Model, owner, parents));
    }

    function _split(bytes32 id, address owner, uint16 shareBp, uint32[2] memory weights) private {
        IAssetRegistry.Contributor[] memory list = new IAssetRegistry.Contributor[](2);
        list[0] = IAssetRegistry.Contributor(carol, weights[0]);
        list[1] = IAssetRegistry.Contributor(dave, weights[1]);
        vm.prank(owner);
        registry.setContributors(id, shareBp, list);
    }

    function _receive(bytes32 id, uint128 amount) private {
        usd.mint(address(router), amount);
        vm.prank(address(sale));
        router.receiveRevenue(id, address(usd), amount, 0);
    }

    function _pending(bytes32 id) private view returns (uint256) {
        return router.pendingOf(id, address(usd)).amount;
    }

    function _claimable(address account) private view returns (uint256) {
        return router.claimableOf(account, address(usd));
    }

    function test_distribute_BringsTheParentsPartOneHopUp() external {
        _receive(tuned, 10_000);
        vm.expectEmit(address(router));
        emit IRevenueRouter.RevenueReceived(assetId, address(usd), publisher, 990, IRevenueRouter.Source.Royalty, tuned);
        vm.expectEmit(address(router));
        emit IRevenueRouter.Distributed(tuned, address(usd), tuner, 9010, 100, 8910);
        router.distribute(tuned, address(usd));
        assertEq(_claimable(tuner), 8910);
        // One hop: the base model's owner has it after the second call, and no fee is taken again.
        assertEq(_claimable(publisher), 0);
        assertEq(_pending(assetId), 990);
        router.distribute(assetId, address(usd));
        assertEq(_claimable(publisher), 990);
        assertEq(_claimable(address(timelock)), 100);
        assertEq(router.owedOf(address(usd)), 10_000);
    }

    /// @dev Fee on its own revenue alone, whatever order it came in with royalties.
    function test_distribute_KeepsRoyaltiesAndOwnRevenueInOneBucket() external {
        for (uint256 i = 0; i < 3; ++i) {
            _receive(tuned, 10_000);
            router.distribute(tuned, address(usd));
            _receive(assetId, 1000);
        }
        assertEq(router.bucketsOf(assetId, address(usd)).length, 1);
        router.distribute(assetId, address(usd));
        assertEq(_claimable(publisher), 3 * (990 + 990));
    }

    function test_distribute_PaysAllFourGenerations() external {
        bytes32 third = _derive("tuner/third", tuner, tuned, 5000);
        bytes32 fourth = _derive("tuner/fourth", tuner, third, 5000);
        bytes32 fifth = _derive("tuner/fifth", tuner, fourth, 5000);
        _receive(fifth, 100_000);
        bytes32[5] memory path = [fifth, fourth, third, tuned, assetId];
        for (uint256 i = 0; i < 5; ++i) {
            router.distribute(path[i], address(usd));
        }
        assertEq(_claimable(publisher), 1237); // 99,000 / 8 / 10
        assertEq(_claimable(tuner), 99_000 - 1237);
    }

    function test_distribute_PaysContributorsAndNamesTheDust() external {
        _split(tuned, tuner, 5000, [uint32(1), 2]);
        _receive(tuned, 10_000);
        // 10,000 - 100 fee - 990 royalty = 8,910; half of it is 4,455, in thirds: 1,485 and 2,970.
        router.distribute(tuned, address(usd));
        assertEq(_claimable(carol), 1485);
        assertEq(_claimable(dave), 2970);
        assertEq(_claimable(tuner), 4455);
        assertEq(router.dustOf(address(usd)), 0);
        _receive(tuned, 10_010);
        // Fee 100, royalty 991, rest 8,919, half 4,459: 1,486 and 2,972, and 1 is left.
        vm.expectEmit(address(router));
        emit IRevenueRouter.DustKept(tuned, address(usd), 1);
        vm.expectEmit(address(router));
        emit IRevenueRouter.Distributed(tuned, address(usd), tuner, 4561, 101, 4460);
        router.distribute(tuned, address(usd));
        assertEq(router.dustOf(address(usd)), 1);
        assertEq(_claimable(address(timelock)), 201);
    }

    function test_setContributors_BindsFutureRevenueOnly() external {
        _receive(tuned, 10_000);
        _split(tuned, tuner, 10_000, [uint32(1), 1]);
        _receive(tuned, 10_000);
        assertEq(_pending(tuned), 20_000);
        router.distribute(tuned, address(usd));
        assertEq(_claimable(carol), 0);
        assertEq(_claimable(tuner), 8910);
        router.distribute(tuned, address(usd));
        assertEq(_claimable(carol), 4455);
        assertEq(_claimable(tuner), 8910);
    }

    /// @dev A seller who changes the split after a sale of the asset was agreed gains nothing of what waited before.
    function test_attack_SplitChangeTakesNothingThatWaits() external {
        _split(tuned, tuner, 5000, [uint32(1), 1]);
        _receive(tuned, 10_000);
        vm.prank(tuner);
        registry.setContributors(tuned, 0, new IAssetRegistry.Contributor[](0));
        router.distribute(tuned, address(usd));
        assertEq(_claimable(carol), 2227);
    }

    function test_attack_ClaimTwice() external {
        _receive(tuned, 10_000);
        router.distribute(tuned, address(usd));
        address[] memory twice = new address[](2);
        (twice[0], twice[1]) = (address(usd), address(usd));
        vm.prank(tuner);
        uint256[] memory amounts = router.claimBatch(twice);
        assertEq(amounts[0], 8910);
        assertEq(amounts[1], 0);
        assertEq(usd.balanceOf(tuner), 8910);
        vm.expectRevert(
            abi.encodeWithSelector(IRevenueRouter.RevenueRouter_NothingToClaim.selector, tuner, address(usd))
        );
        vm.prank(tuner);
        router.claim(address(usd));
    }

    function test_claimBatch_RevertWhen_TokensAreTooMany() external {
        vm.expectRevert(abi.encodeWithSelector(IRevenueRouter.RevenueRouter_TooManyTokens.selector, 17));
        router.claimBatch(new address[](17));
    }

    function testFuzz_distribute_LosesNothing(uint128 amount, uint16[2] memory bp, uint32[2] memory weights) external {
        amount = uint128(bound(amount, 1, type(uint128).max));
        (bp[0], bp[1]) = (uint16(bound(bp[0], 1, 5000)), uint16(bound(bp[1], 1, 10_000)));
        (weights[0], weights[1]) = (uint32(bound(weights[0], 1, type(uint32).max)), uint32(bound(weights[1], 1, 9)));
        bytes32 other = _derive("tuner/other", tuner, assetId, bp[0]);
        _split(other, tuner, bp[1], weights);
        _receive(other, amount);
        router.distribute(other, address(usd));
        uint256 net = uint256(amount) - uint256(amount) / 100;
        uint256 royalty = net * bp[0] / 10_000;
        uint256 pool = (net - royalty) * bp[1] / 10_000;
        uint256 weight = uint256(weights[0]) + weights[1];
        assertEq(_pending(assetId), royalty);
        assertEq(_claimable(carol), pool * weights[0] / weight);
        assertEq(_claimable(dave), pool * weights[1] / weight);
        assertEq(_claimable(tuner), net - royalty - pool);
        assertLe(router.dustOf(address(usd)), 1);
        uint256 earned = _claimable(carol) + _claimable(dave) + _claimable(tuner) + royalty;
        assertEq(earned + uint256(amount) / 100 + router.dustOf(address(usd)), amount);
        assertEq(_claimable(address(timelock)), uint256(amount) / 100 + router.dustOf(address(usd)));
        assertEq(router.owedOf(address(usd)), amount);
    }

    /// @dev As a transaction of its own, with what every transaction costs. The widest hop pays eight parents that have
    /// earned nothing before.
    function test_gas_lineage() external {
        IAssetRegistry.Parent[] memory eight = new IAssetRegistry.Parent[](8);
        for (uint256 i = 0; i < 8; ++i) {
            string memory slug = string.concat("tuner/base-", vm.toString(i));
            vm.prank(tuner);
            eight[i].assetId = registry.assetIdOf(registry.register(slug, IAssetRegistry.Kind.Dataset, tuner));
            eight[i].royaltyBp = 100;
        }
        vm.prank(tuner);
        uint256 tokenId = registry.registerDerived("tuner/widest", IAssetRegistry.Kind.Model, tuner, eight);
        vm.snapshotGasLastCall("path", "AssetRegistry.registerDerived 8 parents");
        bytes32 widest = registry.assetIdOf(tokenId);
        _receive(widest, 10_000);
        router.distribute(widest, address(usd));
        assertLt(vm.snapshotGasLastCall("path", "RevenueRouter.distribute 8 parents"), 1_000_000);
        _receive(tuned, 10_000);
        router.distribute(tuned, address(usd));
        vm.snapshotGasLastCall("path", "RevenueRouter.distribute 1 parent");
        address[] memory tokens = new address[](1);
        tokens[0] = address(usd);
        vm.prank(tuner);
        router.claimBatch(tokens);
        assertLe(vm.snapshotGasLastCall("path", "RevenueRouter.claimBatch 1"), 90_000);
        router.distribute(assetId, address(usd));
        vm.prank(publisher);
        router.claim(address(usd));
        assertLe(vm.snapshotGasLastCall("path", "RevenueRouter.claim of a royalty"), 90_000);
    }
}
