// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC7432} from "../src/interfaces/IERC7432.sol";
import {ILicense} from "../src/interfaces/ILicense.sol";
import {LicenseStatesBase} from "./LicenseStatesBase.sol";

/// @notice The table of states and actions of contracts/README.md, cell by cell. A cell is named test_STATE_ACTION.
contract LicenseStatesTest is LicenseStatesBase {
    // Live

    function test_live_transfer() external {
        _assertTransfers(true, "");
    }

    function test_live_list() external {
        _assertLists(true, "");
    }

    function test_live_delegate() external {
        _assertDelegates(true, "");
    }

    function test_live_undelegate() external {
        _assertUndelegates(false, _notDelegated());
    }

    function test_live_renew() external {
        _assertRenews(true);
    }

    function test_live_use() external view {
        assertTrue(license.isUsable(ID));
        assertEq(license.userOf(ID), address(0));
    }

    function test_live_lock() external {
        _assertLocks(true, "");
    }

    function test_live_unlock() external {
        _assertUnlocks(false, _notLocked());
    }

    function test_live_burn() external {
        _assertBurns(true, "");
    }

    // Expired

    function test_expired_transfer() external {
        _expire();
        _assertTransfers(true, "");
        assertFalse(license.isUsable(ID));
    }

    function test_expired_list() external {
        _expire();
        _assertLists(true, "");
    }

    function test_expired_delegate() external {
        _expire();
        _assertDelegates(false, abi.encodeWithSelector(ILicense.License_InvalidDelegation.selector, ID, agent, _soon()));
    }

    function test_expired_undelegate() external {
        _delegate(end, true);
        _expire();
        _assertUndelegates(false, _notDelegated());
    }

    function test_expired_renew() external {
        _expire();
        _assertRenews(true);
    }

    function test_expired_use() external {
        _delegate(end, true);
        _expire();
        assertFalse(license.isUsable(ID));
        assertEq(license.userOf(ID), address(0));
    }

    function test_expired_lock() external {
        _expire();
        _assertLocks(true, "");
    }

    function test_expired_unlock() external {
        _delegate(end, false);
        _expire();
        _assertUnlocks(true, "");
    }

    function test_expired_burn() external {
        _expire();
        _assertBurns(true, "");
    }

    // Locked

    function test_locked_transfer() external {
        _lock();
        _assertTransfers(false, _locked());
    }

    function test_locked_list() external {
        vm.startPrank(buyer);
        license.approve(agent, ID);
        license.setApprovalForAll(agent, true);
        vm.stopPrank();
        _lock();
        _assertLists(false, _locked());
        // Nor is a listing from before worth anything.
        vm.expectRevert(_locked());
        vm.prank(agent);
        license.transferFrom(buyer, stranger, ID);
    }

    function test_locked_delegate() external {
        _lock();
        _assertDelegates(true, "");
    }

    function test_locked_undelegate() external {
        _delegate(_soon(), true);
        _lock();
        _assertUndelegates(true, "");
    }

    function test_locked_renew() external {
        _lock();
        _assertRenews(true);
    }

    function test_locked_use() external {
        _lock();
        assertTrue(license.isUsable(ID));
    }

    function test_locked_lock() external {
        _lock();
        _assertLocks(false, _locked());
    }

    function test_locked_unlock() external {
        _lock();
        _assertUnlocks(true, "");
        _assertTransfers(true, "");
    }

    function test_locked_burn() external {
        _lock();
        _assertBurns(false, _locked());
    }

    // Delegated

    function test_delegated_transfer() external {
        _delegate(end, true);
        vm.expectEmit(address(license));
        emit IERC7432.RoleRevoked(address(license), ID, userRole);
        vm.expectEmit(address(license));
        emit ILicense.UpdateUser(ID, address(0), 0);
        _assertTransfers(true, "");
        assertTrue(license.isUsable(ID));
    }

    function test_delegated_list() external {
        _delegate(end, true);
        _assertLists(true, "");
        assertEq(license.userOf(ID), address(0));
    }

    function test_delegated_delegate() external {
        _delegate(end, true);
        _assertDelegates(true, "");
    }

    function test_delegated_undelegate() external {
        _delegate(end, true);
        _assertUndelegates(true, "");
    }

    function test_delegated_renew() external {
        _delegate(end, true);
        _assertRenews(true);
        // The delegation keeps its own end.
        assertEq(license.userExpires(ID), end);
    }

    function test_delegated_use() external {
        _delegate(_soon(), true);
        assertTrue(license.isUsable(ID));
        assertEq(license.userOf(ID), user);
        vm.warp(_soon() - 1);
        assertEq(license.userOf(ID), user);
        skip(1);
        assertEq(license.userOf(ID), address(0));
        assertTrue(license.isUsable(ID));
    }

    function test_delegated_lock() external {
        _delegate(end, true);
        _assertLocks(true, "");
    }

    function test_delegated_unlock() external {
        _delegate(end, true);
        _assertUnlocks(false, _notLocked());
    }

    function test_delegated_burn() external {
        _delegate(end, true);
        _assertBurns(true, "");
    }

    // Bound: delegated irrevocably, which locks

    function test_bound_transfer() external {
        _delegate(end, false);
        _assertTransfers(false, _locked());
    }

    function test_bound_list() external {
        _delegate(end, false);
        _assertLists(false, _locked());
    }

    function test_bound_delegate() external {
        _delegate(end, false);
        _assertDelegates(false, _bound(end));
        assertEq(license.userOf(ID), user);
    }

    function test_bound_undelegate() external {
        _delegate(end, false);
        _assertUndelegates(false, _bound(end));
        assertEq(license.userOf(ID), user);
    }

    function test_bound_renew() external {
        _delegate(end, false);
        _assertRenews(true);
    }

    function test_bound_use() external {
        _delegate(end, false);
        assertTrue(license.isUsable(ID));
        assertEq(license.userOf(ID), user);
        assertTrue(license.locked(ID));
    }

    function test_bound_lock() external {
        _delegate(end, false);
        _assertLocks(false, _locked());
    }

    function test_bound_unlock() external {
        uint64 until = _soon();
        _delegate(until, false);
        vm.warp(until - 1);
        _assertUnlocks(false, _bound(until));
        skip(1);
        _assertUnlocks(true, "");
        _assertTransfers(true, "");
    }

    function test_bound_burn() external {
        _delegate(end, false);
        _assertBurns(false, _locked());
    }

    // Burned

    function test_burned_transfer() external {
        _burn();
        _assertTransfers(false, abi.encodeWithSignature("ERC721NonexistentToken(uint256)", ID));
    }

    function test_burned_list() external {
        _burn();
        _assertLists(false, abi.encodeWithSignature("ERC721NonexistentToken(uint256)", ID));
    }

    function test_burned_delegate() external {
        _burn();
        _assertDelegates(false, _unknown());
    }

    function test_burned_undelegate() external {
        _delegate(end, true);
        _burn();
        _assertUndelegates(false, _notDelegated());
    }

    function test_burned_renew() external {
        _burn();
        _assertRenews(false);
    }

    function test_burned_use() external {
        _delegate(end, true);
        _burn();
        assertFalse(license.isUsable(ID));
        assertEq(license.userOf(ID), address(0));
    }

    function test_burned_lock() external {
        _burn();
        _assertLocks(false, _unknown());
    }

    function test_burned_unlock() external {
        _burn();
        _assertUnlocks(false, _unknown());
    }

    function test_burned_burn() external {
        _burn();
        _assertBurns(false, _unknown());
    }
}
