// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Vm} from "forge-std/Vm.sol";
import {AssetRegistry} from "../src/AssetRegistry.sol";
import {Directory} from "../src/Directory.sol";
import {MirrorBook} from "../src/MirrorBook.sol";
import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {Mirrors} from "../src/libraries/Mirrors.sol";
import {Roles} from "../src/libraries/Roles.sol";
import {Base} from "./Base.sol";

/// @notice A home chain with one asset, this chain, and a reporter who reads the one and writes to the other.
abstract contract MirrorBase is Base {
    uint256 internal constant HOME = 1;
    uint256 internal constant HERE = 31337;
    string internal constant SLUG = "acme/abroad";

    address internal reporter = makeAddr("reporter");
    address internal agent = makeAddr("agent");
    Vm.Wallet internal owner = vm.createWallet("owner");
    Vm.Wallet internal nextOwner = vm.createWallet("nextOwner");
    AssetRegistry internal home;
    bytes32 internal mirrored;
    uint256 internal homeToken;

    function setUp() public virtual override {
        super.setUp();
        vm.chainId(HOME);
        Directory homeDirectory = new Directory(address(manager));
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = IDirectory.list.selector;
        manager.setTargetFunctionRole(address(homeDirectory), selectors, Roles.DIRECTORY);
        home = new AssetRegistry(homeDirectory, new MirrorBook(address(manager), homeDirectory));
        homeDirectory.list("AssetRegistry", address(home));
        homeToken = home.register(SLUG, IAssetRegistry.Kind.Model, owner.addr);
        mirrored = home.assetIdOf(homeToken);
        vm.chainId(HERE);
        manager.grantRole(Roles.REPORTER, reporter, 0);
    }

    function _statement() internal view returns (Mirrors.Statement memory) {
        return Mirrors.Statement({
            slug: SLUG,
            homeChainId: HOME,
            homeRegistry: address(home),
            homeOwner: owner.addr,
            epoch: 1,
            owner: agent,
            validUntil: uint64(block.timestamp) + 7 days,
            nonce: mirrorBook.nextNonceOf(mirrored, owner.addr)
        });
    }

    function _noParents() internal pure returns (IAssetRegistry.Parent[] memory) {
        return new IAssetRegistry.Parent[](0);
    }

    function _lineage(IAssetRegistry.Parent[] memory parents) internal pure returns (bytes32) {
        return keccak256(abi.encode(parents));
    }

    function _sign(Vm.Wallet memory signer, Mirrors.Statement memory statement) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(signer.privateKey, mirrorBook.statementDigest(statement));
        return abi.encodePacked(r, s, v);
    }

    /// @dev What an honest reporter says: what the home says.
    function _report() internal {
        (address at, uint64 epoch) = (home.assetOwner(mirrored), home.epochOf(mirrored));
        bytes32 lineage = _lineage(home.parentsOf(mirrored));
        vm.prank(reporter);
        mirrorBook.report(mirrored, at, epoch, lineage);
    }

    function _bind(Vm.Wallet memory signer, Mirrors.Statement memory statement) internal {
        bytes memory signature = _sign(signer, statement);
        vm.prank(stranger);
        mirrorBook.bind(statement, _noParents(), signature);
    }

    function _open() internal {
        _report();
        _bind(owner, _statement());
    }

    function _transferAtHome(address from, address to) internal {
        vm.chainId(HOME);
        vm.prank(from);
        home.transferFrom(from, to, homeToken);
        vm.chainId(HERE);
    }

    function _mirrorTerms() internal view returns (IPlanBook.PlanTerms memory terms) {
        terms = _terms();
        terms.assetId = mirrored;
    }

    function _mirrorPlan() internal returns (uint256 planId) {
        vm.prank(agent);
        planId = planBook.createPlan(_mirrorTerms());
    }
}
