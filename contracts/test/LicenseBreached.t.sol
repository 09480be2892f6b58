// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IBreachBook} from "../src/interfaces/IBreachBook.sol";
import {IERC5192} from "../src/interfaces/IERC5192.sol";
import {ILicense} from "../src/interfaces/ILicense.sol";
import {BreachBase} from "./BreachBase.sol";

/// @notice The column `breached` of the table in contracts/README.md. A cell is named test_breached_ACTION.
contract LicenseBreachedTest is BreachBase {
    function _breached() private pure returns (bytes memory) {
        return abi.encodeWithSelector(ILicense.License_Breached.selector, ID);
    }

    /// @dev Revoked right still moving.
    function test_breached_transfer() external {
        _breach();
        _assertTransfers(false, _breached());
    }

    function test_breached_list() external {
        vm.startPrank(buyer);
        license.approve(agent, ID);
        license.setApprovalForAll(agent, true);
        vm.stopPrank();
        _breach();
        _assertLists(false, _breached());
        vm.expectRevert(_breached());
        vm.prank(agent);
        license.transferFrom(buyer, stranger, ID);
    }

    function test_breached_delegate() external {
        _breach();
        _assertDelegates(false, abi.encodeWithSelector(ILicense.License_InvalidDelegation.selector, ID, agent, _soon()));
    }

    function test_breached_undelegate() external {
        _delegate(end, true);
        _breach();
        _assertUndelegates(false, _notDelegated());
    }

    function test_breached_renew() external {
        _breach();
        vm.expectRevert(_breached());
        vm.prank(payer);
        sale.renew(ID, PRICE);
        assertEq(usd.balanceOf(payer), 10 * PRICE);
    }

    function test_breached_revoke() external {
        _breach();
        vm.expectRevert(abi.encodeWithSelector(IBreachBook.BreachBook_Ended.selector, ID, block.timestamp));
        vm.prank(publisher);
        breachBook.announce(ID, EVIDENCE);
    }

    function test_breached_use() external {
        assertFalse(license.isRevoked(ID));
        _breach();
        assertFalse(license.isUsable(ID));
        assertTrue(license.isRevoked(ID));
        assertTrue(license.isTokenExpired(ID));
        assertEq(license.endTime(ID), block.timestamp);
    }

    function test_breached_lock() external {
        _announce();
        skip(NOTICE);
        _fund(publisher, address(breachBook), PRICE);
        vm.expectEmit(address(license));
        emit IERC5192.Locked(ID);
        vm.prank(publisher);
        breachBook.revoke(ID, PRICE);
        assertTrue(license.locked(ID));
        _assertLocks(false, _breached());
    }

    function test_breached_unlock() external {
        _lock();
        _breach();
        vm.prank(buyer);
        license.unlockToken(address(license), ID);
        // It is bound for good all the same.
        assertTrue(license.locked(ID));
        _assertTransfers(false, _breached());
    }

    function test_breached_burn() external {
        _breach();
        _assertBurns(true, "");
    }

    // The row `revoke` of the other columns

    function test_live_revoke() external {
        _breach();
        assertTrue(license.isRevoked(ID));
    }

    function test_expired_revoke() external {
        _announce();
        _expire();
        vm.expectRevert(abi.encodeWithSelector(IBreachBook.BreachBook_NotAnnounced.selector, ID));
        vm.prank(publisher);
        breachBook.revoke(ID, PRICE);
        assertFalse(license.isRevoked(ID));
    }

    function test_locked_revoke() external {
        _lock();
        _breach();
        assertTrue(license.isRevoked(ID));
    }

    function test_delegated_revoke() external {
        _delegate(end, true);
        _breach();
        assertEq(license.userOf(ID), address(0));
    }

    function test_bound_revoke() external {
        _delegate(end, false);
        _breach();
        assertEq(license.userOf(ID), address(0));
        assertTrue(license.isRevoked(ID));
    }

    function test_burned_revoke() external {
        _announce();
        _burn();
        skip(NOTICE);
        vm.expectRevert(_unknown());
        vm.prank(publisher);
        breachBook.revoke(ID, PRICE);
    }
}
