// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CommonBase} from "forge-std/Base.sol";
import {StdUtils} from "forge-std/StdUtils.sol";
import {AssetRegistry} from "../src/AssetRegistry.sol";
import {RevenueRouter} from "../src/RevenueRouter.sol";
import {TestUSD} from "../src/TestUSD.sol";
import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {IRevenueRouter} from "../src/interfaces/IRevenueRouter.sol";

/// @notice Revenue of four assets, each derived from those before it, while owners, splits and the fee change.
contract LineageHandler is CommonBase, StdUtils {
    AssetRegistry private immutable registry;
    RevenueRouter private immutable router;
    TestUSD private immutable usd;
    address private immutable source;
    address private immutable roles;

    bytes32[4] public assets;
    address[6] public accounts = [address(0xA11), address(0xB22), address(0xC33), address(0xD44), address(0xE55)];
    uint256 public received;
    uint256 public claimed;
    uint256 public dust;
    bool public claimableFell;
    bool public termsOfWaitingChanged;
    uint256[6] private _before;

    constructor(
        AssetRegistry registry_,
        RevenueRouter router_,
        TestUSD usd_,
        address source_,
        address roles_,
        address treasury
    ) {
        (registry, router, usd, source, roles) = (registry_, router_, usd_, source_, roles_);
        accounts[5] = treasury;
        for (uint256 i = 0; i < 4; ++i) {
            string memory slug = string.concat("handler/gen-", vm.toString(i));
            IAssetRegistry.Parent[] memory parents = new IAssetRegistry.Parent[](i);
            for (uint256 j = 0; j < i; ++j) {
                parents[j] = IAssetRegistry.Parent(assets[j], uint16(333 * (j + 1)));
            }
            uint256 tokenId = i == 0
                ? registry.register(slug, IAssetRegistry.Kind.Model, accounts[0])
                : registry.registerDerived(slug, IAssetRegistry.Kind.Model, accounts[i], parents);
            assets[i] = registry.assetIdOf(tokenId);
        }
    }

    /// @dev Only `claim` lowers a claimable balance, and only the caller's.
    modifier watched(address claimant) {
        for (uint256 i = 0; i < 6; ++i) {
            _before[i] = router.claimableOf(accounts[i], address(usd));
        }
        _;
        for (uint256 i = 0; i < 6; ++i) {
            bool fell = router.claimableOf(accounts[i], address(usd)) < _before[i];
            if (fell && accounts[i] != claimant) claimableFell = true;
        }
    }

    /// @dev What waits keeps its terms and its amount, whatever its owners do.
    modifier leavesWhatWaits() {
        bytes32 waiting = _waiting();
        _;
        if (_waiting() != waiting) termsOfWaitingChanged = true;
    }

    function _waiting() private view returns (bytes32 hash) {
        for (uint256 i = 0; i < 4; ++i) {
            hash = keccak256(abi.encode(hash, router.bucketsOf(assets[i], address(usd))));
        }
    }

    function receiveRevenue(uint256 which, uint128 amount) external watched(address(0)) {
        amount = uint128(bound(amount, 0, 1e12));
        usd.mint(address(router), amount);
        vm.prank(source);
        router.receiveRevenue(assets[which % 4], address(usd), amount, 0);
        received += amount;
    }

    /// @dev Whatever is not earned by somebody with a name is what the dust must be.
    function distribute(uint256 which) external watched(address(0)) {
        bytes32 assetId = assets[which % 4];
        IRevenueRouter.Bucket memory bucket = router.bucketsOf(assetId, address(usd))[0];
        if (bucket.amount == 0 && bucket.royalties == 0) return;
        uint256 treasuryBefore = router.claimableOf(accounts[5], address(usd));
        router.distribute(assetId, address(usd));
        uint256 fee = uint256(bucket.amount) * bucket.feeBp / 10_000;
        dust += router.claimableOf(accounts[5], address(usd)) - treasuryBefore - fee;
    }

    function split(uint256 which, uint16 shareBp, uint32 first, uint32 second)
        external
        watched(address(0))
        leavesWhatWaits
    {
        IAssetRegistry.Contributor[] memory list = new IAssetRegistry.Contributor[](2);
        list[0] = IAssetRegistry.Contributor(accounts[which % 5], uint32(bound(first, 1, type(uint32).max)));
        list[1] = IAssetRegistry.Contributor(accounts[(which % 5 + 1) % 5], uint32(bound(second, 1, 1000)));
        address owner = registry.assetOwner(assets[which % 4]);
        vm.prank(owner);
        registry.setContributors(assets[which % 4], uint16(bound(shareBp, 1, 10_000)), list);
    }

    function sellAsset(uint256 which, uint256 to) external watched(address(0)) leavesWhatWaits {
        address owner = registry.assetOwner(assets[which % 4]);
        uint256 tokenId = registry.tokenIdOf(assets[which % 4]);
        vm.prank(owner);
        registry.transferFrom(owner, accounts[to % 5], tokenId);
    }

    function setFee(uint16 feeBp) external watched(address(0)) leavesWhatWaits {
        vm.prank(roles);
        router.setFee(uint16(bound(feeBp, 0, 500)));
    }

    function wait(uint32 seconds_) external watched(address(0)) leavesWhatWaits {
        vm.warp(block.timestamp + bound(seconds_, 1, 5 days));
    }

    function claim(uint256 who) external watched(accounts[who % 6]) leavesWhatWaits {
        address account = accounts[who % 6];
        if (router.claimableOf(account, address(usd)) == 0) return;
        vm.prank(account);
        claimed += router.claim(address(usd));
    }
}
