// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {GateBase} from "./GateBase.sol";

/// @notice What the protocol's roles can do to a gate: no new assets. Those that it has keep their rules and exits.
contract GateExitsTest is GateBase {
    /// @dev Every state-changing function of the gate; a new one fails until somebody has decided what it is.
    string[] private _functions = [
        "ComplianceGate.setMode(bytes32,uint8)",
        "ComplianceGate.setOfficer(bytes32,address)",
        "ComplianceGate.setIssuer(bytes32,address,bool)",
        "ComplianceGate.setClasses(bytes32,uint256)",
        "ComplianceGate.setJurisdictions(bytes32,uint16[],bool)",
        "ComplianceGate.listContract(bytes32,address,uint8)",
        "ComplianceGate.enrol(bytes32,address,uint8,uint16,uint64)",
        "ComplianceGate.enrolSigned((bytes32,address,uint8,uint16,uint64,uint256),address,bytes)",
        "ComplianceGate.revokeCredential(bytes32,address)",
        "ComplianceGate.freezeAccount(bytes32,address,bool)",
        "ComplianceGate.freezeShares(address,address,uint256)",
        "ComplianceGate.forceTransfer(address,address,address,uint256)",
        "ComplianceGate.admit(bytes32,address,address,address)"
    ];

    function _isView(string memory json, string memory signature) private view returns (bool) {
        string memory head = vm.split(signature, "(")[0];
        for (uint256 i = 0; vm.keyExistsJson(json, string.concat(".abi[", vm.toString(i), "]")); ++i) {
            string memory at = string.concat(".abi[", vm.toString(i), "]");
            if (!vm.keyExistsJson(json, string.concat(at, ".stateMutability"))) continue;
            if (!vm.keyExistsJson(json, string.concat(at, ".name"))) continue;
            string memory name = vm.parseJsonString(json, string.concat(at, ".name"));
            if (keccak256(bytes(name)) != keccak256(bytes(head))) continue;
            bytes32 kind = keccak256(bytes(vm.parseJsonString(json, string.concat(at, ".stateMutability"))));
            return kind == keccak256("view") || kind == keccak256("pure");
        }
        return false;
    }

    function test_everyFunctionIsKnownAndAsksNoRoleOfTheProtocol() external {
        string memory json = vm.readFile("out/ComplianceGate.sol/ComplianceGate.json");
        string[] memory signatures = vm.parseJsonKeys(json, ".methodIdentifiers");
        manager.setTargetClosed(address(complianceGate), true);
        uint256 known;
        for (uint256 i = 0; i < signatures.length; ++i) {
            if (_isView(json, signatures[i])) continue;
            string memory full = string.concat("ComplianceGate.", signatures[i]);
            bool isIn = false;
            for (uint256 k = 0; k < _functions.length; ++k) {
                if (keccak256(bytes(_functions[k])) == keccak256(bytes(full))) isIn = true;
            }
            assertTrue(isIn, full);
            vm.prank(stranger);
            (bool ok, bytes memory answer) =
                address(complianceGate).call(abi.encodePacked(bytes4(keccak256(bytes(signatures[i]))), new bytes(640)));
            assertTrue(ok || bytes4(answer) != IAccessManaged.AccessManagedUnauthorized.selector, full);
            ++known;
        }
        assertEq(known, _functions.length);
    }

    function test_exitsStayOpenWhenTheGateIsRetired() external {
        _earn(900);
        _advance(address(complianceGate), IDirectory.Status.Retiring);
        _advance(address(complianceGate), IDirectory.Status.Retired);
        manager.setTargetClosed(address(complianceGate), true);
        router.distribute(assetId, address(usd));
        shares.collect(address(router), address(usd));
        skip(1);
        assertEq(_claim(bob), 300);
        skip(TERM);
        _enrol(bob);
        vm.prank(alice);
        assertEq(shares.claimTo(address(usd), bob), 600);
        _move(alice, bob, ALICES);
        assertEq(shares.balanceOf(bob), ALICES + BOBS);
    }
}
