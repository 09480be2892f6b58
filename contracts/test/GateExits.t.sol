// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {GateBase} from "./GateBase.sol";

/// @notice What the protocol's roles can do to a gate: no new assets. Those that it has keep their rules and exits.
contract GateExitsTest is GateBase {
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
