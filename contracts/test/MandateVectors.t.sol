// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {stdJson} from "forge-std/StdJson.sol";
import {Test} from "forge-std/Test.sol";
import {Mandates} from "../src/libraries/Mandates.sol";

/// @notice Solidity agrees with proto/vectors, which another implementation wrote.
contract MandateVectorsTest is Test {
    using stdJson for string;

    function digest(address escrow, Mandates.Mandate calldata mandate) external view returns (bytes32) {
        return Mandates.digest(escrow, mandate);
    }

    function test_mandates() external view {
        string memory json = vm.readFile("../proto/vectors/mandates.json");
        assertEq(block.chainid, json.readUint(".domain.chainId"));
        address escrow = json.readAddress(".domain.verifyingContract");
        for (uint256 i = 0; i < 4; ++i) {
            string memory at = string.concat(".mandates[", vm.toString(i), "]");
            bytes32 computed = this.digest(escrow, _mandate(json, string.concat(at, ".mandate.")));
            assertEq(computed, json.readBytes32(string.concat(at, ".digest")), at);
            bytes memory signature = json.readBytes(string.concat(at, ".signature"));
            assertEq(ECDSA.recover(computed, signature), json.readAddress(string.concat(at, ".signer")), at);
        }
        assertFalse(vm.keyExistsJson(json, ".mandates[4]"));
    }

    function _mandate(string memory json, string memory at) private view returns (Mandates.Mandate memory m) {
        m.payer = json.readAddress(string.concat(at, "payer"));
        m.operator = json.readAddress(string.concat(at, "operator"));
        m.token = json.readAddress(string.concat(at, "token"));
        m.windowAmount = uint128(json.readUint(string.concat(at, "windowAmount")));
        m.totalAmount = uint128(json.readUint(string.concat(at, "totalAmount")));
        m.inFlightCap = uint128(json.readUint(string.concat(at, "inFlightCap")));
        m.windowLength = uint32(json.readUint(string.concat(at, "windowLength")));
        m.windowRecords = uint32(json.readUint(string.concat(at, "windowRecords")));
        m.grace = uint32(json.readUint(string.concat(at, "grace")));
        m.validFrom = uint64(json.readUint(string.concat(at, "validFrom")));
        m.validUntil = uint64(json.readUint(string.concat(at, "validUntil")));
        // An empty array has no type for the JSON reader.
        if (vm.keyExistsJson(json, string.concat(at, "assets[0]"))) {
            m.assets = json.readBytes32Array(string.concat(at, "assets"));
        }
        m.nonce = json.readUint(string.concat(at, "nonce"));
    }
}
