// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {stdJson} from "forge-std/StdJson.sol";
import {Test} from "forge-std/Test.sol";
import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {Mirrors} from "../src/libraries/Mirrors.sol";

/// @notice Solidity agrees with proto/vectors, which another implementation wrote.
contract MirrorVectorsTest is Test {
    using stdJson for string;

    function digest(address book, Mirrors.Statement calldata statement) external view returns (bytes32) {
        return Mirrors.digest(book, statement);
    }

    function test_statements() external view {
        string memory json = vm.readFile("../proto/vectors/mirrors.json");
        assertEq(block.chainid, json.readUint(".domain.chainId"));
        address book = json.readAddress(".domain.verifyingContract");
        for (uint256 i = 0; i < 3; ++i) {
            string memory at = string.concat(".mirrors[", vm.toString(i), "]");
            bytes32 computed = this.digest(book, _statement(json, string.concat(at, ".mirror.")));
            assertEq(computed, json.readBytes32(string.concat(at, ".digest")), at);
            bytes memory signature = json.readBytes(string.concat(at, ".signature"));
            assertEq(ECDSA.recover(computed, signature), json.readAddress(string.concat(at, ".signer")), at);
        }
        assertFalse(vm.keyExistsJson(json, ".mirrors[3]"));
    }

    function test_lineages() external view {
        string memory json = vm.readFile("../proto/vectors/mirrors.json");
        uint256[3] memory sizes = [uint256(0), 1, 8];
        for (uint256 i = 0; i < 3; ++i) {
            string memory at = string.concat(".lineages[", vm.toString(i), "].");
            IAssetRegistry.Parent[] memory parents = new IAssetRegistry.Parent[](sizes[i]);
            for (uint256 j = 0; j < sizes[i]; ++j) {
                string memory parent = string.concat(at, "parents[", vm.toString(j), "].");
                parents[j].assetId = json.readBytes32(string.concat(parent, "assetId"));
                parents[j].royaltyBp = uint16(json.readUint(string.concat(parent, "royaltyBp")));
            }
            assertEq(keccak256(abi.encode(parents)), json.readBytes32(string.concat(at, "lineage")), at);
        }
        assertFalse(vm.keyExistsJson(json, ".lineages[3]"));
    }

    function _statement(string memory json, string memory at) private pure returns (Mirrors.Statement memory s) {
        s.slug = json.readString(string.concat(at, "slug"));
        s.homeChainId = json.readUint(string.concat(at, "homeChainId"));
        s.homeRegistry = json.readAddress(string.concat(at, "homeRegistry"));
        s.homeOwner = json.readAddress(string.concat(at, "homeOwner"));
        s.epoch = uint64(json.readUint(string.concat(at, "epoch")));
        s.owner = json.readAddress(string.concat(at, "owner"));
        s.validUntil = uint64(json.readUint(string.concat(at, "validUntil")));
        s.nonce = uint64(json.readUint(string.concat(at, "nonce")));
    }
}
