// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAssetRegistry} from "../src/interfaces/IAssetRegistry.sol";
import {IUsageEscrow} from "../src/interfaces/IUsageEscrow.sol";
import {Base} from "./Base.sol";

/// @notice What the calls of the first path cost, as transactions of their own; kept in snapshots/.
/// forge-config: default.isolate = true
contract GasTest is Base {
    function _items(uint256 count) private returns (IUsageEscrow.Item[] memory items) {
        items = new IUsageEscrow.Item[](count);
        for (uint256 i = 0; i < count; ++i) {
            items[i] = _item(_deposit(address(uint160(0x10000 + i)), 1000), 10);
        }
    }

    function test_gas_publish() external {
        vm.startPrank(publisher);
        registry.register("acme/second", IAssetRegistry.Kind.Model, publisher);
        vm.snapshotGasLastCall("path", "AssetRegistry.register");
        registry.publishVersion(assetId, keccak256("manifest"), "ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylq");
        vm.snapshotGasLastCall("path", "AssetRegistry.publishVersion");
        registry.activateVersion(assetId, keccak256("manifest"));
        vm.snapshotGasLastCall("path", "AssetRegistry.activateVersion");
        planBook.createPlan(_terms());
        vm.snapshotGasLastCall("path", "PlanBook.createPlan");
    }

    function test_gas_buy() external {
        uint256 planId = _createPlan(_terms());
        _fund(buyer, address(sale), 2 * PRICE);
        vm.startPrank(buyer);
        sale.purchase(planId, buyer, PRICE);
        vm.snapshotGasLastCall("path", "LicenseSale.purchase");
        sale.renew(1, PRICE);
        vm.snapshotGasLastCall("path", "LicenseSale.renew");
        license.transferFrom(buyer, stranger, 1);
        vm.snapshotGasLastCall("path", "License.transferFrom");
    }

    function test_gas_deposit() external {
        _fund(payer, address(escrow), 1000);
        vm.startPrank(payer);
        bytes32 id = escrow.deposit(operator, address(usd), 600);
        vm.snapshotGasLastCall("path", "UsageEscrow.deposit first");
        escrow.deposit(operator, address(usd), 400);
        vm.snapshotGasLastCall("path", "UsageEscrow.deposit again");
        escrow.requestExit(id, 500);
        vm.snapshotGasLastCall("path", "UsageEscrow.requestExit");
        skip(EXIT_DELAY);
        escrow.withdraw(1);
        vm.snapshotGasLastCall("path", "UsageEscrow.withdraw");
    }

    function test_gas_settle() external {
        uint256[3] memory sizes = [uint256(1), 10, 100];
        for (uint256 i = 0; i < 3; ++i) {
            IUsageEscrow.Item[] memory items = _items(sizes[i]);
            uint64 batch = uint64(i) + 1;
            IUsageEscrow.Group[] memory groups = _groups(items);
            bytes32 root = batchRoots.rootOf(groups);
            vm.prank(operator);
            escrow.settle(batch, root, "", groups);
            vm.snapshotGasLastCall("path", string.concat("UsageEscrow.settle ", vm.toString(sizes[i])));
        }
        _release();
        vm.snapshotGasLastCall("path", "UsageEscrow.release");
        router.distribute(assetId, address(usd));
        vm.snapshotGasLastCall("path", "RevenueRouter.distribute");
        vm.prank(publisher);
        router.claim(address(usd));
        vm.snapshotGasLastCall("path", "RevenueRouter.claim");
    }

    /// @dev The dearest item: four waiting exits are drawn, so that a batch of such has fewer items.
    function test_gas_dearestItem() external {
        bytes32 id = _deposit(payer, 400);
        vm.startPrank(payer);
        for (uint256 i = 0; i < 4; ++i) {
            escrow.requestExit(id, 100);
        }
        vm.stopPrank();
        _settleOne(id, 400);
        vm.snapshotGasLastCall("path", "UsageEscrow.settle dearest");
        assertEq(escrow.depositOf(id).drawn, 400);
    }
}
