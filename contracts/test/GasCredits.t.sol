// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CreditsBase} from "./CreditsBase.sol";

/// @notice What it costs to sell, lock and redeem prepaid units: whole transactions.
/// forge-config: default.isolate = true
contract GasCreditsTest is CreditsBase {
    function test_gas() external {
        vm.prank(publisher);
        credits.openSeries(planId, UNIT_PRICE, SUPPLY, end, true);
        vm.snapshotGasLastCall("credits", "Credits.openSeries");
        _issue(units, payer, 10);
        _fund(payer, address(credits), 10 * UNIT_PRICE);
        vm.prank(payer);
        credits.issue(address(units), payer, 10, 10 * UNIT_PRICE);
        vm.snapshotGasLastCall("credits", "Credits.issue again");
        _lock(units, payer, 5);
        vm.startPrank(payer);
        units.approve(address(escrow), 5);
        bytes32 depositId = escrow.deposit(operator, address(units), 5);
        vm.snapshotGasLastCall("credits", "UsageEscrow.deposit of units again");
        units.transfer(holder, 1);
        vm.snapshotGasLastCall("credits", "CreditToken.transfer");
        vm.stopPrank();
        _settleToken(depositId, 10);
        _releaseToken(address(units));
        vm.snapshotGasLastCall("credits", "UsageEscrow.release of units");
    }
}
