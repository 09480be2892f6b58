// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Mandates} from "../src/libraries/Mandates.sol";
import {MandateBase} from "./MandateBase.sol";

/// @notice What mandates cost, as transactions of their own; kept in snapshots/.
/// forge-config: default.isolate = true
contract MandateGasTest is MandateBase {
    function test_gas_mandate() external {
        Mandates.Mandate memory m = _mandate();
        bytes memory signature = _sign(m);
        bytes32 id = escrow.openMandate(m, signature);
        vm.snapshotGasLastCall("mandates", "UsageEscrow.openMandate");
        vm.prank(agent.addr);
        escrow.revokeMandate(id);
        vm.snapshotGasLastCall("mandates", "UsageEscrow.revokeMandate");
    }
}
