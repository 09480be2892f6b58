// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {Mandates} from "../src/libraries/Mandates.sol";
import {Base} from "./Base.sol";

/// @notice What settling costs a payer, as transactions of their own, calldata included; kept in snapshots/.
/// forge-config: default.isolate = true
contract SettleGasTest is Base {
    uint256 private constant PAYERS = 500;

    function _payers(uint256 count, uint32 records) private returns (IUsageEscrow.Item[] memory items) {
        items = new IUsageEscrow.Item[](count);
        for (uint256 i = 0; i < count; ++i) {
            address who = address(uint160(uint256(keccak256(abi.encode("payer", i)))));
            bytes32 id = _deposit(who, 1_000_000_000);
            items[i] = _item(id, uint128(100_000 + i));
            items[i].records = records;
        }
    }

    function _cost(string memory name, IUsageEscrow.Item[] memory items) private returns (uint256 gas) {
        _settle(items);
        gas = vm.snapshotGasLastCall("path", name);
    }

    function test_gas_settleDeposits() external {
        IUsageEscrow.Item[] memory items = _payers(PAYERS, 1);
        _settle(items);
        uint256 gas = _cost("UsageEscrow.settle 500 deposits", items);
        assertLe(gas / PAYERS, 12_000);
        for (uint256 i = 0; i < PAYERS; ++i) {
            items[i].records = 1000;
        }
        // The number of records is a word of the line, whatever it says.
        assertApproxEqRel(_cost("UsageEscrow.settle 500 deposits, 1000 records each", items), gas, 0.01e18);
    }

    function test_gas_settleMandates() external {
        IUsageEscrow.Item[] memory items = _payers(PAYERS, 1);
        for (uint256 i = 0; i < PAYERS; ++i) {
            Mandates.Mandate memory m;
            m.payer = items[i].payer;
            m.operator = operator;
            m.token = address(usd);
            (m.windowAmount, m.totalAmount, m.inFlightCap) = (1e9, 1e10, 1e6);
            (m.windowLength, m.windowRecords, m.grace) = (1 days, 100_000, 1 hours);
            (m.validFrom, m.validUntil) = (uint64(block.timestamp), uint64(block.timestamp) + 30 days);
            vm.prank(m.payer);
            items[i].authority = escrow.openMandate(m, "");
        }
        _settle(items);
        uint256 gas = _cost("UsageEscrow.settle 500 mandates", items);
        assertLe(gas / PAYERS, 18_000);
        assertLe(gas, 16_000_000);
    }
}
