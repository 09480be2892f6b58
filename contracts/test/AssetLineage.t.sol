// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC4906} from "@openzeppelin/contracts/interfaces/IERC4906.sol";
import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {Base} from "./Base.sol";

contract AssetLineageTest is Base {
    bytes32 private constant DIGEST = keccak256("manifest");

    function _parents(bytes32 parentId, uint16 royaltyBp) private pure returns (IAssetRegistry.Parent[] memory list) {
        list = new IAssetRegistry.Parent[](1);
        list[0] = IAssetRegistry.Parent(parentId, royaltyBp);
    }

    function _derive(string memory slug, IAssetRegistry.Parent[] memory parents) private returns (bytes32) {
        vm.prank(publisher);
        return registry.assetIdOf(registry.registerDerived(slug, IAssetRegistry.Kind.Model, publisher, parents));
    }

    function _expectRevertDerive(bytes memory reason, IAssetRegistry.Parent[] memory parents) private {
        vm.expectRevert(reason);
        vm.prank(publisher);
        registry.registerDerived("acme/tuned", IAssetRegistry.Kind.Model, publisher, parents);
    }

    function _idOf(string memory slug) private view returns (bytes32) {
        return registry.assetIdOf(uint256(keccak256(bytes(slug))));
    }

    function _contributors(uint256 count) private pure returns (IAssetRegistry.Contributor[] memory list) {
        list = new IAssetRegistry.Contributor[](count);
        for (uint256 i = 0; i < count; ++i) {
            list[i] = IAssetRegistry.Contributor(address(uint160(0xC0 + i)), uint32(i + 1));
        }
    }

    function test_registerDerived_RevertWhen_ParentsAreNoneOrTooMany() external {
        bytes4 reason = IAssetRegistry.AssetRegistry_InvalidParents.selector;
        _expectRevertDerive(abi.encodeWithSelector(reason, 0), new IAssetRegistry.Parent[](0));
        IAssetRegistry.Parent[] memory nine = new IAssetRegistry.Parent[](9);
        for (uint256 i = 0; i < 9; ++i) {
            vm.prank(publisher);
            registry.register(string.concat("acme/base-", vm.toString(i)), IAssetRegistry.Kind.Dataset, publisher);
            nine[i] = IAssetRegistry.Parent(_idOf(string.concat("acme/base-", vm.toString(i))), 1);
        }
        _expectRevertDerive(abi.encodeWithSelector(reason, 9), nine);
    }

    /// @dev The only ways to a cycle: to name itself, or one that does not exist yet.
    function test_registerDerived_RevertWhen_ParentWouldCloseACycle() external {
        bytes32 self = _idOf("acme/tuned");
        bytes memory unknown = abi.encodeWithSelector(IAssetRegistry.AssetRegistry_UnknownAsset.selector, self);
        _expectRevertDerive(unknown, _parents(self, 100));
        vm.expectRevert(unknown);
        vm.prank(publisher);
        registry.registerDerived("acme/other", IAssetRegistry.Kind.Model, publisher, _parents(self, 100));
        // What is registered gets no parents later.
        _derive("acme/tuned", _parents(assetId, 100));
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_SlugTaken.selector, "acme/risk", assetId));
        vm.prank(publisher);
        registry.registerDerived("acme/risk", IAssetRegistry.Kind.Model, publisher, _parents(self, 100));
        assertEq(registry.parentsOf(assetId).length, 0);
    }

    function test_registerDerived_RevertWhen_ParentIsRepeated() external {
        IAssetRegistry.Parent[] memory twice = new IAssetRegistry.Parent[](2);
        twice[0] = IAssetRegistry.Parent(assetId, 1);
        twice[1] = IAssetRegistry.Parent(assetId, 2);
        _expectRevertDerive(
            abi.encodeWithSelector(IAssetRegistry.AssetRegistry_RepeatedParent.selector, assetId), twice
        );
    }

    function test_registerDerived_RevertWhen_RoyaltyIsZeroOrAboveTheCap() external {
        bytes4 reason = IAssetRegistry.AssetRegistry_InvalidRoyalty.selector;
        _expectRevertDerive(abi.encodeWithSelector(reason, 0), _parents(assetId, 0));
        _expectRevertDerive(abi.encodeWithSelector(reason, 5001), _parents(assetId, 5001));
        bytes32 second = _derive("acme/second", _parents(assetId, 5000));
        IAssetRegistry.Parent[] memory both = new IAssetRegistry.Parent[](2);
        both[0] = IAssetRegistry.Parent(assetId, 3000);
        both[1] = IAssetRegistry.Parent(second, 2001);
        _expectRevertDerive(abi.encodeWithSelector(reason, 5001), both);
    }

    function test_registerDerived_RevertWhen_LineageIsTooDeep() external {
        bytes32 parent = assetId;
        for (uint8 depth = 1; depth <= 4; ++depth) {
            parent = _derive(string.concat("acme/gen-", vm.toString(depth)), _parents(parent, 100));
            assertEq(registry.depthOf(parent), depth);
        }
        // The deepest parent counts, wherever it stands.
        IAssetRegistry.Parent[] memory both = new IAssetRegistry.Parent[](2);
        both[0] = IAssetRegistry.Parent(assetId, 100);
        both[1] = IAssetRegistry.Parent(parent, 100);
        _expectRevertDerive(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_TooDeep.selector, parent), both);
    }

    function test_registerDerived_RevertWhen_RegistryIsNotActive() external {
        _advance(address(registry), IDirectory.Status.Retiring);
        _expectRevertDerive(
            abi.encodeWithSelector(
                IDirectory.Directory_NotActive.selector, address(registry), IDirectory.Status.Retiring
            ),
            _parents(assetId, 100)
        );
    }

    function testFuzz_registerDerived_KeepsWhatWasDeclared(uint16 firstBp, uint16 secondBp) external {
        firstBp = uint16(bound(firstBp, 1, 4999));
        secondBp = uint16(bound(secondBp, 1, 5000 - firstBp));
        bytes32 second = _derive("acme/second", _parents(assetId, 7));
        IAssetRegistry.Parent[] memory both = new IAssetRegistry.Parent[](2);
        both[0] = IAssetRegistry.Parent(assetId, firstBp);
        both[1] = IAssetRegistry.Parent(second, secondBp);
        vm.expectEmit(address(registry));
        emit IAssetRegistry.ParentDeclared(_idOf("acme/tuned"), assetId, firstBp);
        vm.expectEmit(address(registry));
        emit IAssetRegistry.ParentDeclared(_idOf("acme/tuned"), second, secondBp);
        bytes32 tuned = _derive("acme/tuned", both);
        assertEq(abi.encode(registry.parentsOf(tuned)), abi.encode(both));
        assertEq(registry.depthOf(tuned), 2);
        assertEq(registry.assetOwner(tuned), publisher);
    }

    function test_setContributors_RevertWhen_CallerIsNotAuthorized() external {
        vm.startPrank(publisher);
        registry.setDelegate(assetId, stranger, true);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_Unauthorized.selector, assetId, stranger));
        vm.prank(stranger);
        registry.setContributors(assetId, 100, _contributors(1));
    }

    function test_setContributors_RevertWhen_PayeesAreTooMany() external {
        bytes32 tuned = _derive("acme/tuned", _parents(assetId, 100));
        vm.startPrank(publisher);
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_TooManyPayees.selector, 9));
        registry.setContributors(tuned, 100, _contributors(8));
        registry.setContributors(tuned, 100, _contributors(7));
    }

    function test_setContributors_RevertWhen_ShareDoesNotFit() external {
        bytes4 reason = IAssetRegistry.AssetRegistry_InvalidShare.selector;
        vm.startPrank(publisher);
        vm.expectRevert(abi.encodeWithSelector(reason, 10_001, 1));
        registry.setContributors(assetId, 10_001, _contributors(1));
        vm.expectRevert(abi.encodeWithSelector(reason, 0, 1));
        registry.setContributors(assetId, 0, _contributors(1));
        vm.expectRevert(abi.encodeWithSelector(reason, 1, 0));
        registry.setContributors(assetId, 1, _contributors(0));
    }

    function test_setContributors_RevertWhen_ContributorIsNobody() external {
        IAssetRegistry.Contributor[] memory list = _contributors(2);
        list[1].account = address(0);
        bytes4 reason = IAssetRegistry.AssetRegistry_InvalidContributor.selector;
        vm.startPrank(publisher);
        vm.expectRevert(abi.encodeWithSelector(reason, address(0), 2));
        registry.setContributors(assetId, 100, list);
        list[1] = IAssetRegistry.Contributor(stranger, 0);
        vm.expectRevert(abi.encodeWithSelector(reason, stranger, 0));
        registry.setContributors(assetId, 100, list);
    }

    function test_setContributors_LeavesEarlierSplits() external {
        vm.startPrank(publisher);
        assertEq(registry.setContributors(assetId, 2500, _contributors(2)), 1);
        vm.expectEmit(address(registry));
        emit IAssetRegistry.SplitChanged(assetId, 2, 100);
        vm.expectEmit(address(registry));
        emit IAssetRegistry.ContributorNamed(assetId, 2, address(0xC0), 1);
        assertEq(registry.setContributors(assetId, 100, _contributors(1)), 2);
        assertEq(registry.setContributors(assetId, 0, _contributors(0)), 3);
        vm.stopPrank();
        IAssetRegistry.Split memory first = registry.splitOf(assetId, 1);
        assertEq(first.shareBp, 2500);
        assertEq(abi.encode(first.contributors), abi.encode(_contributors(2)));
        assertEq(registry.splitOf(assetId, 2).contributors.length, 1);
        (address owner, uint32 splitId) = registry.termsOf(assetId);
        assertEq(owner, publisher);
        assertEq(splitId, 3);
    }

    /// @dev A seller cannot give the revenue away behind a buyer's back: a bound order is of the state before.
    function test_tokenStateHash_ChangesWithTheSplit() external {
        uint256 tokenId = registry.tokenIdOf(assetId);
        bytes32 before = registry.tokenStateHash(tokenId);
        vm.prank(publisher);
        registry.setContributors(assetId, 10_000, _contributors(1));
        assertNotEq(registry.tokenStateHash(tokenId), before);
    }

    function test_setDelegate_PublishesUntilTheAssetIsSold() external {
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_Unauthorized.selector, assetId, stranger));
        vm.prank(stranger);
        registry.setDelegate(assetId, stranger, true);
        vm.expectEmit(address(registry));
        emit IAssetRegistry.DelegateSet(assetId, publisher, stranger, true);
        vm.prank(publisher);
        registry.setDelegate(assetId, stranger, true);
        vm.startPrank(stranger);
        registry.publishVersion(assetId, DIGEST, "ipfs://x");
        registry.activateVersion(assetId, DIGEST);
        vm.stopPrank();
        assertFalse(registry.isAuthorized(assetId, stranger));
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.prank(publisher);
        registry.transferFrom(publisher, buyer, tokenId);
        assertFalse(registry.mayPublish(assetId, stranger));
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_Unauthorized.selector, assetId, stranger));
        vm.prank(stranger);
        registry.publishVersion(assetId, keccak256("second"), "ipfs://y");
    }

    function test_setDelegate_TakesItBack() external {
        vm.startPrank(publisher);
        registry.setDelegate(assetId, stranger, true);
        registry.setDelegate(assetId, stranger, false);
        assertFalse(registry.mayPublish(assetId, stranger));
    }

    function test_setRoyalty_BelongsToItsReceiver() external {
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.prank(publisher);
        registry.setRoyalty(assetId, payer, 500);
        (address receiver, uint256 amount) = registry.royaltyInfo(tokenId, 2000);
        assertEq(receiver, payer);
        assertEq(amount, 100);
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_Unauthorized.selector, assetId, publisher));
        vm.prank(publisher);
        registry.setRoyalty(assetId, publisher, 500);
        vm.startPrank(payer);
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_RoyaltyAboveCeiling.selector, 501, 500));
        registry.setRoyalty(assetId, payer, 501);
        vm.expectEmit(address(registry));
        emit IAssetRegistry.RoyaltySet(assetId, stranger, 200);
        registry.setRoyalty(assetId, stranger, 200);
    }

    function test_setRoyalty_RevertWhen_FirstIsAboveTheCeilingOrAStrangers() external {
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_Unauthorized.selector, assetId, stranger));
        vm.prank(stranger);
        registry.setRoyalty(assetId, stranger, 1);
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_RoyaltyAboveCeiling.selector, 1001, 1000));
        vm.prank(publisher);
        registry.setRoyalty(assetId, publisher, 1001);
        bytes32 unknown = keccak256("unknown");
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_UnknownAsset.selector, unknown));
        registry.setRoyalty(unknown, publisher, 1);
    }

    function test_metadata_IsThatOfTheActiveVersion() external {
        uint256 tokenId = registry.tokenIdOf(assetId);
        assertEq(registry.tokenURI(tokenId), "");
        vm.startPrank(publisher);
        registry.publishVersion(assetId, DIGEST, "ipfs://x");
        vm.expectEmit(address(registry));
        emit IERC4906.MetadataUpdate(tokenId);
        registry.activateVersion(assetId, DIGEST);
        assertEq(registry.tokenURI(tokenId), "ipfs://x");
        assertTrue(registry.supportsInterface(0x49064906));
        assertTrue(registry.supportsInterface(0x2a55205a));
        assertTrue(registry.supportsInterface(0x80ac58cd));
        assertTrue(registry.supportsInterface(0x01ffc9a7));
    }
}
