// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {Base} from "./Base.sol";
import {NosyReceiver} from "./mocks/Tokens.sol";

contract AssetRegistryTest is Base {
    bytes32 private constant DIGEST = keccak256("manifest");

    function _register(string memory slug) private returns (uint256) {
        vm.prank(publisher);
        return registry.register(slug, IAssetRegistry.Kind.Model, publisher);
    }

    function test_register_RevertWhen_RegistryIsNotActive() external {
        _advance(address(registry), IDirectory.Status.Retiring);
        vm.expectRevert(
            abi.encodeWithSelector(
                IDirectory.Directory_NotActive.selector, address(registry), IDirectory.Status.Retiring
            )
        );
        _register("acme/other");
    }

    function test_register_RevertWhen_SlugIsInvalid() external {
        string[14] memory slugs = [
            "",
            "/",
            "acme",
            "acme/",
            "/risk",
            "acme/risk/more",
            "acme//risk",
            "Acme/risk",
            "acme/ri sk",
            unicode"acme/rîsk",
            "acme/risk_1",
            "acme.risk",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/risk",
            "acme/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        ];
        for (uint256 i = 0; i < slugs.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_InvalidSlug.selector, slugs[i]));
            registry.register(slugs[i], IAssetRegistry.Kind.Model, publisher);
        }
    }

    /// @dev A slug of any bytes is accepted exactly when a plain reading of the rule accepts it.
    function testFuzz_register_AcceptsExactlyTheSlugs(uint8 ownerLength, uint8 modelLength, uint8 at, bytes1 c)
        external
    {
        ownerLength = uint8(bound(ownerLength, 0, 41));
        modelLength = uint8(bound(modelLength, 0, 41));
        bytes memory slug = new bytes(uint256(ownerLength) + modelLength + 1);
        for (uint256 i = 0; i < slug.length; ++i) {
            slug[i] = "a";
        }
        slug[ownerLength] = "/";
        uint256 changed = at % slug.length;
        if (changed != ownerLength) slug[changed] = c;
        bool good = (c >= "a" && c <= "z") || (c >= "0" && c <= "9") || c == "-" || changed == ownerLength;
        bool fits = ownerLength >= 1 && ownerLength <= 39 && modelLength >= 1 && modelLength <= 39;
        if (!(good && fits)) {
            vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_InvalidSlug.selector, string(slug)));
        }
        registry.register(string(slug), IAssetRegistry.Kind.Model, publisher);
    }

    function test_register_RevertWhen_KindIsNone() external {
        vm.expectRevert(IAssetRegistry.AssetRegistry_InvalidKind.selector);
        registry.register("acme/other", IAssetRegistry.Kind.None, publisher);
    }

    function test_register_RevertWhen_NamespaceBelongsToAnother() external {
        vm.expectRevert(
            abi.encodeWithSelector(IAssetRegistry.AssetRegistry_NamespaceTaken.selector, "acme/evil", publisher)
        );
        vm.prank(stranger);
        registry.register("acme/evil", IAssetRegistry.Kind.Model, stranger);
        // A longer name with the same beginning is another namespace.
        vm.prank(stranger);
        registry.register("acme-2/fine", IAssetRegistry.Kind.Model, stranger);
        assertEq(registry.namespaceOwner("acme-2"), stranger);
        assertEq(registry.namespaceOwner("acme"), publisher);
    }

    function test_register_RevertWhen_SlugIsTaken() external {
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_SlugTaken.selector, "acme/risk", assetId));
        _register("acme/risk");
    }

    function test_register_RevertWhen_OwnerIsZero() external {
        vm.expectRevert(abi.encodeWithSelector(IERC721Errors.ERC721InvalidReceiver.selector, address(0)));
        vm.prank(publisher);
        registry.register("acme/other", IAssetRegistry.Kind.Model, address(0));
    }

    function test_register_DerivesTheIds() external {
        uint256 tokenId = uint256(keccak256("acme/pipeline"));
        bytes32 expected = keccak256(
            bytes(
                string.concat(
                    "eip155:31337/erc721:", vm.toLowercase(vm.toString(address(registry))), "/", vm.toString(tokenId)
                )
            )
        );
        vm.expectEmit(address(registry));
        emit IAssetRegistry.AssetRegistered(expected, tokenId, stranger, IAssetRegistry.Kind.Pipeline, "acme/pipeline");
        vm.prank(publisher);
        registry.register("acme/pipeline", IAssetRegistry.Kind.Pipeline, stranger);
        assertEq(registry.assetIdOf(tokenId), expected);
        assertEq(registry.tokenIdOf(expected), tokenId);
        assertEq(registry.ownerOf(tokenId), stranger);
        assertEq(registry.assetOwner(expected), stranger);
        assertEq(uint8(registry.kindOf(expected)), uint8(IAssetRegistry.Kind.Pipeline));
        assertEq(registry.slugOf(expected), "acme/pipeline");
    }

    function test_register_CallsNoReceiverHook() external {
        NosyReceiver receiver = new NosyReceiver();
        vm.prank(publisher);
        registry.register("acme/other", IAssetRegistry.Kind.Model, address(receiver));
        assertFalse(receiver.hooked());
    }

    function test_register_KeepsTheNamespaceWithItsFirstUserAfterASale() external {
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.prank(publisher);
        registry.transferFrom(publisher, stranger, tokenId);
        _register("acme/second");
        vm.expectRevert(
            abi.encodeWithSelector(IAssetRegistry.AssetRegistry_NamespaceTaken.selector, "acme/third", publisher)
        );
        vm.prank(stranger);
        registry.register("acme/third", IAssetRegistry.Kind.Model, stranger);
    }

    function test_views_SayNothingOfAnUnknownAsset() external view {
        bytes32 unknown = keccak256("unknown");
        assertEq(registry.tokenIdOf(unknown), 0);
        assertEq(registry.assetOwner(unknown), address(0));
        assertFalse(registry.isAuthorized(unknown, publisher));
        assertFalse(registry.isAuthorized(unknown, address(0)));
        assertEq(registry.activeVersion(unknown), 0);
    }

    function test_publishVersion_RevertWhen_AssetIsUnknown() external {
        bytes32 unknown = keccak256("unknown");
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_UnknownAsset.selector, unknown));
        registry.publishVersion(unknown, DIGEST, "ipfs://x");
    }

    function test_publishVersion_RevertWhen_CallerIsNotAuthorized() external {
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_Unauthorized.selector, assetId, stranger));
        vm.prank(stranger);
        registry.publishVersion(assetId, DIGEST, "ipfs://x");
    }

    function test_publishVersion_RevertWhen_VersionIsInvalid() external {
        vm.startPrank(publisher);
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_InvalidVersion.selector, 0, 8));
        registry.publishVersion(assetId, 0, "ipfs://x");
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_InvalidVersion.selector, DIGEST, 0));
        registry.publishVersion(assetId, DIGEST, "");
        string memory long = string(new bytes(registry.MAX_URI_BYTES() + 1));
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_InvalidVersion.selector, DIGEST, 513));
        registry.publishVersion(assetId, DIGEST, long);
    }

    function test_publishVersion_RevertWhen_DigestWasPublished() external {
        vm.startPrank(publisher);
        registry.publishVersion(assetId, DIGEST, "ipfs://x");
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_VersionExists.selector, assetId, DIGEST));
        registry.publishVersion(assetId, DIGEST, "ipfs://other");
        assertEq(registry.versionOf(assetId, DIGEST).uri, "ipfs://x");
    }

    function test_publishVersion_CountsFromOne() external {
        vm.startPrank(publisher);
        vm.expectEmit(address(registry));
        emit IAssetRegistry.VersionPublished(assetId, DIGEST, "ipfs://x", 1);
        registry.publishVersion(assetId, DIGEST, "ipfs://x");
        vm.expectEmit(address(registry));
        emit IAssetRegistry.VersionPublished(assetId, keccak256("second"), "ipfs://y", 2);
        registry.publishVersion(assetId, keccak256("second"), "ipfs://y");
        IAssetRegistry.Version memory version = registry.versionOf(assetId, DIGEST);
        assertEq(version.ordinal, 1);
        assertEq(version.publishedAt, block.timestamp);
        assertEq(registry.activeVersion(assetId), 0);
    }

    function test_activateVersion_RevertWhen_VersionIsUnknown() external {
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_UnknownVersion.selector, assetId, DIGEST));
        vm.prank(publisher);
        registry.activateVersion(assetId, DIGEST);
    }

    function test_activateVersion_RevertWhen_ItIsActive() external {
        vm.startPrank(publisher);
        registry.publishVersion(assetId, DIGEST, "ipfs://x");
        registry.activateVersion(assetId, DIGEST);
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_AlreadyActive.selector, assetId, DIGEST));
        registry.activateVersion(assetId, DIGEST);
    }

    function test_activateVersion_LeavesOneActive() external {
        bytes32 second = keccak256("second");
        vm.startPrank(publisher);
        registry.publishVersion(assetId, DIGEST, "ipfs://x");
        registry.publishVersion(assetId, second, "ipfs://y");
        registry.activateVersion(assetId, DIGEST);
        vm.expectEmit(address(registry));
        emit IAssetRegistry.VersionActivated(assetId, second);
        registry.activateVersion(assetId, second);
        assertEq(registry.activeVersion(assetId), second);
        registry.activateVersion(assetId, DIGEST);
        assertEq(registry.activeVersion(assetId), DIGEST);
    }

    function test_transfer_MovesAuthority() external {
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.prank(publisher);
        registry.transferFrom(publisher, buyer, tokenId);
        vm.expectRevert(abi.encodeWithSelector(IAssetRegistry.AssetRegistry_Unauthorized.selector, assetId, publisher));
        vm.prank(publisher);
        registry.publishVersion(assetId, DIGEST, "ipfs://x");
        vm.prank(buyer);
        registry.publishVersion(assetId, DIGEST, "ipfs://x");
    }

    function test_approvedAccountsMayPublish() external {
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.prank(publisher);
        registry.approve(stranger, tokenId);
        vm.prank(stranger);
        registry.publishVersion(assetId, DIGEST, "ipfs://x");
        vm.prank(publisher);
        registry.setApprovalForAll(buyer, true);
        vm.prank(buyer);
        registry.activateVersion(assetId, DIGEST);
    }
}
