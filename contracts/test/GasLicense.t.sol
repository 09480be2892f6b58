// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {License} from "../src/License.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IERC7432} from "../src/interfaces/IERC7432.sol";
import {Base} from "./Base.sol";

/// @notice What a holder does with a licence, as transactions of their own; kept in snapshots/license.json.
/// forge-config: default.isolate = true
contract GasLicenseTest is Base {
    function test_gas_holder() external {
        uint256 tokenId = _buy(_createPlan(_terms()), buyer);
        IERC7432.Role memory role = IERC7432.Role(
            license.USER_ROLE(), address(license), tokenId, stranger, uint64(block.timestamp) + 1 days, true, ""
        );
        vm.startPrank(buyer);
        license.grantRole(role);
        vm.snapshotGasLastCall("license", "License.grantRole");
        license.revokeRole(address(license), tokenId, role.roleId);
        vm.snapshotGasLastCall("license", "License.revokeRole");
        license.lock(tokenId);
        vm.snapshotGasLastCall("license", "License.lock");
        license.unlockToken(address(license), tokenId);
        vm.snapshotGasLastCall("license", "License.unlockToken");
        license.grantRole(role);
        license.transferFrom(buyer, payer, tokenId);
        vm.snapshotGasLastCall("license", "License.transferFrom delegated");
        vm.stopPrank();
        vm.prank(payer);
        license.burn(tokenId);
        vm.snapshotGasLastCall("license", "License.burn");
    }

    function test_gas_migrate() external {
        uint256 tokenId = _buy(_createPlan(_terms()), buyer);
        License next = new License(directory);
        _advance(address(license), IDirectory.Status.Retiring);
        directory.list("License", address(next));
        vm.prank(buyer);
        license.migrate(tokenId);
        vm.snapshotGasLastCall("license", "License.migrate");
    }
}
