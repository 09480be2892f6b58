// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC5192} from "../src/interfaces/IERC5192.sol";
import {IERC7432} from "../src/interfaces/IERC7432.sol";
import {ILicense} from "../src/interfaces/ILicense.sol";
import {Base} from "./Base.sol";

/// @notice One licence, the states that it can be brought into, and the actions that somebody tries on it.
abstract contract LicenseStatesBase is Base {
    uint256 internal constant ID = 1;

    bytes32 internal userRole;
    address internal user = makeAddr("user");
    address internal agent = makeAddr("agent");
    uint64 internal end;

    function setUp() public virtual override {
        super.setUp();
        userRole = license.USER_ROLE();
        assertEq(_buy(_createPlan(_terms()), buyer), ID);
        end = uint64(license.endTime(ID));
        _fund(payer, address(sale), 10 * PRICE);
    }

    function _role(address recipient, uint64 expires, bool revocable) internal view returns (IERC7432.Role memory) {
        return IERC7432.Role(userRole, address(license), ID, recipient, expires, revocable, "");
    }

    function _delegate(uint64 expires, bool revocable) internal {
        IERC7432.Role memory role = _role(user, expires, revocable);
        vm.prank(buyer);
        license.grantRole(role);
    }

    // States

    function _expire() internal {
        vm.warp(end);
    }

    function _lock() internal {
        vm.prank(buyer);
        license.lock(ID);
    }

    function _burn() internal {
        vm.prank(buyer);
        license.burn(ID);
    }

    function _soon() internal view returns (uint64) {
        return uint64(block.timestamp) + 1 days;
    }

    // Actions

    function _assertTransfers(bool moves, bytes memory refusal) internal {
        if (!moves) vm.expectRevert(refusal);
        vm.prank(buyer);
        license.transferFrom(buyer, stranger, ID);
        if (!moves) return;
        assertEq(license.ownerOf(ID), stranger);
        assertEq(license.userOf(ID), address(0));
        assertEq(license.userExpires(ID), 0);
    }

    function _assertLists(bool lists, bytes memory refusal) internal {
        if (!lists) vm.expectRevert(refusal);
        vm.prank(buyer);
        license.approve(agent, ID);
        if (!lists) return;
        vm.prank(agent);
        license.transferFrom(buyer, stranger, ID);
        assertEq(license.ownerOf(ID), stranger);
    }

    function _assertDelegates(bool delegates, bytes memory refusal) internal {
        IERC7432.Role memory role = _role(agent, _soon(), true);
        if (!delegates) {
            vm.expectRevert(refusal);
        } else {
            vm.expectEmit(address(license));
            emit IERC7432.RoleGranted(address(license), ID, userRole, buyer, agent, _soon(), true, "");
            vm.expectEmit(address(license));
            emit ILicense.UpdateUser(ID, agent, _soon());
        }
        vm.prank(buyer);
        license.grantRole(role);
        if (!delegates) return;
        assertEq(license.userOf(ID), agent);
        assertEq(license.userExpires(ID), _soon());
    }

    function _assertUndelegates(bool ends, bytes memory refusal) internal {
        if (!ends) {
            vm.expectRevert(refusal);
        } else {
            vm.expectEmit(address(license));
            emit IERC7432.RoleRevoked(address(license), ID, userRole);
            vm.expectEmit(address(license));
            emit ILicense.UpdateUser(ID, address(0), 0);
        }
        vm.prank(buyer);
        license.revokeRole(address(license), ID, userRole);
        if (ends) assertEq(license.userOf(ID), address(0));
    }

    function _assertRenews(bool renews) internal {
        if (!renews) vm.expectRevert(abi.encodeWithSelector(ILicense.License_Unknown.selector, ID));
        vm.prank(payer);
        sale.renew(ID, PRICE);
        if (!renews) assertEq(usd.balanceOf(payer), 10 * PRICE);
        assertEq(license.isUsable(ID), renews);
    }

    function _assertLocks(bool locks, bytes memory refusal) internal {
        if (!locks) {
            vm.expectRevert(refusal);
        } else {
            vm.expectEmit(address(license));
            emit IERC7432.TokenLocked(buyer, address(license), ID);
            vm.expectEmit(address(license));
            emit IERC5192.Locked(ID);
        }
        vm.prank(buyer);
        license.lock(ID);
        if (locks) assertTrue(license.locked(ID));
    }

    function _assertUnlocks(bool unlocks, bytes memory refusal) internal {
        if (!unlocks) {
            vm.expectRevert(refusal);
        } else {
            vm.expectEmit(address(license));
            emit IERC7432.TokenUnlocked(buyer, address(license), ID);
            vm.expectEmit(address(license));
            emit IERC5192.Unlocked(ID);
        }
        vm.prank(buyer);
        license.unlockToken(address(license), ID);
        if (unlocks) assertFalse(license.locked(ID));
    }

    function _assertBurns(bool burns, bytes memory refusal) internal {
        if (!burns) vm.expectRevert(refusal);
        vm.prank(buyer);
        license.burn(ID);
        if (!burns) return;
        assertFalse(license.isUsable(ID));
        assertEq(license.userOf(ID), address(0));
        assertEq(license.balanceOf(buyer), 0);
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_Unknown.selector, ID));
        license.licenseOf(ID);
    }

    function _locked() internal pure returns (bytes memory) {
        return abi.encodeWithSelector(ILicense.License_Locked.selector, ID);
    }

    function _notLocked() internal pure returns (bytes memory) {
        return abi.encodeWithSelector(ILicense.License_NotLocked.selector, ID);
    }

    function _notDelegated() internal pure returns (bytes memory) {
        return abi.encodeWithSelector(ILicense.License_NotDelegated.selector, ID);
    }

    function _unknown() internal pure returns (bytes memory) {
        return abi.encodeWithSelector(ILicense.License_Unknown.selector, ID);
    }

    function _bound(uint64 until) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(ILicense.License_Delegated.selector, ID, until);
    }
}
