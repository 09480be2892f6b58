// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {Mandates} from "../src/libraries/Mandates.sol";
import {MandateBase} from "./MandateBase.sol";

/// @notice What mandates cost, as transactions of their own; kept in snapshots/.
/// forge-config: default.isolate = true
contract MandateGasTest is MandateBase {
    /// @dev Payers whose mandates for one asset have been drawn before, in this window.
    function _items(uint256 count) private returns (IUsageEscrow.Item[] memory items) {
        items = new IUsageEscrow.Item[](count);
        Mandates.Mandate memory m = _mandate();
        m.assets = _only(assetId);
        for (uint256 i = 0; i < count; ++i) {
            m.payer = address(uint160(0x10000 + i));
            _deposit(m.payer, 1000);
            vm.prank(m.payer);
            items[i] = _use(escrow.openMandate(m, ""), 0, 10, 1);
        }
    }

    function test_gas_mandate() external {
        Mandates.Mandate memory m = _mandate();
        bytes memory signature = _sign(m);
        bytes32 id = escrow.openMandate(m, signature);
        vm.snapshotGasLastCall("mandates", "UsageEscrow.openMandate");
        vm.prank(agent.addr);
        escrow.revokeMandate(id);
        vm.snapshotGasLastCall("mandates", "UsageEscrow.revokeMandate");
    }

    function test_gas_settleByMandate() external {
        IUsageEscrow.Item[] memory items = _items(64);
        _settle(items);
        vm.snapshotGasLastCall("mandates", "UsageEscrow.settle 64 mandates, first of a window");
        _settle(items);
        vm.snapshotGasLastCall("mandates", "UsageEscrow.settle 64 mandates");
    }

    function test_gas_settleByDeposit() external {
        IUsageEscrow.Item[] memory items = _items(64);
        for (uint256 i = 0; i < 64; ++i) {
            items[i].source = escrow.depositIdOf(address(uint160(0x10000 + i)), operator, address(usd));
        }
        _settle(items);
        _settle(items);
        vm.snapshotGasLastCall("mandates", "UsageEscrow.settle 64 deposits");
    }

    /// @dev Four waiting exits are drawn, and the asset and its fee have changed hands since.
    function test_gas_dearestItemNeedsHalfOfItsGas() external {
        Mandates.Mandate memory m = _mandate();
        m.assets = _only(assetId);
        bytes32 id = _open(m);
        _settleOne(_deposit(buyer, 100), 100);
        vm.startPrank(agent.addr);
        escrow.requestExit(depositId, 9700);
        for (uint256 i = 0; i < 3; ++i) {
            escrow.requestExit(depositId, 100);
        }
        vm.stopPrank();
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.prank(publisher);
        registry.transferFrom(publisher, stranger, tokenId);
        IUsageEscrow.Item memory item = _use(id, 0, 400, 1);
        vm.prank(address(escrow));
        escrow.payItem(address(router), operator, 400, item);
        uint256 used = vm.snapshotGasLastCall("mandates", "UsageEscrow.payItem dearest");
        assertLt(used, escrow.ITEM_GAS() / 2);
        assertEq(escrow.depositOf(depositId).drawn, 400);
    }
}
