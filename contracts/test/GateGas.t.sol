// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IComplianceGate} from "../src/interfaces/IComplianceGate.sol";
import {GateBase} from "./GateBase.sol";

/// @notice What rules cost, as transactions of their own; kept in snapshots/.
/// forge-config: default.isolate = true
contract GateGasTest is GateBase {
    uint256 private constant TRANSFER = 125_000;
    uint256 private constant CLAIM = 120_000;

    function _last(string memory name) private returns (uint256) {
        return vm.snapshotGasLastCall("gate", name);
    }

    function test_gas_regulatedShares() external {
        _move(alice, bob, 1e18);
        assertLt(_last("Shares.transfer"), TRANSFER);
        _share(900);
        vm.prank(alice);
        shares.claim(address(usd));
        assertLt(_last("Shares.claim"), CLAIM);
        vm.prank(alice);
        shares.delegate(bob);
        _last("Shares.delegate");
    }

    function test_gas_enrolment() external {
        vm.prank(issuer);
        complianceGate.enrol(assetId, carol, CLASS, GERMANY, uint64(block.timestamp) + TERM);
        _last("ComplianceGate.enrol");
        IComplianceGate.Credential memory credential = _credential(stranger);
        complianceGate.enrolSigned(credential, issuer, _sign(credential));
        _last("ComplianceGate.enrolSigned");
    }
}
