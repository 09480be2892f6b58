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
        uint256[3] memory sizes = [uint256(1), 10, 64];
        for (uint256 i = 0; i < 3; ++i) {
            IUsageEscrow.Item[] memory items = _items(sizes[i]);
            uint64 batch = uint64(i) + 1;
            bytes32 root = batchRoots.rootOf(items);
            vm.prank(operator);
            escrow.settle(batch, root, "", items);
            vm.snapshotGasLastCall("path", string.concat("UsageEscrow.settle ", vm.toString(sizes[i])));
        }
        router.distribute(assetId, address(usd));
        vm.snapshotGasLastCall("path", "RevenueRouter.distribute");
        vm.prank(publisher);
        router.claim(address(usd));
        vm.snapshotGasLastCall("path", "RevenueRouter.claim");
    }

    /// @dev The dearest item: four waiting exits are drawn, and the asset and its fee have changed hands since.
    function test_gas_dearestItemNeedsHalfOfItsGas() external {
        bytes32 id = _deposit(payer, 400);
        bytes32 first = _deposit(buyer, 100);
        _settleOne(first, 100);
        vm.startPrank(payer);
        for (uint256 i = 0; i < 4; ++i) {
            escrow.requestExit(id, 100);
        }
        vm.stopPrank();
        uint256 tokenId = registry.tokenIdOf(assetId);
        vm.prank(publisher);
        registry.transferFrom(publisher, stranger, tokenId);
        vm.prank(address(escrow));
        escrow.payItem(address(router), operator, 400, _item(id, 400));
        uint256 used = vm.snapshotGasLastCall("path", "UsageEscrow.payItem dearest");
        assertLt(used, escrow.ITEM_GAS() / 2);
        assertEq(escrow.depositOf(id).drawn, 400);
    }
}
