// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC5192} from "../src/interfaces/IERC5192.sol";
import {IERC7432} from "../src/interfaces/IERC7432.sol";
import {ILicense} from "../src/interfaces/ILicense.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {Base} from "./Base.sol";

contract LicenseRolesTest is Base {
    uint256 private constant ID = 1;

    bytes32 private userRole;
    address private user = makeAddr("user");
    address private agent = makeAddr("agent");
    uint64 private end;

    function setUp() public override {
        super.setUp();
        userRole = license.USER_ROLE();
        _buy(_createPlan(_terms()), buyer);
        end = uint64(license.endTime(ID));
    }

    function _role(bool revocable) private view returns (IERC7432.Role memory) {
        return IERC7432.Role(userRole, address(license), ID, user, end, revocable, "");
    }

    function _delegate(bool revocable) private {
        IERC7432.Role memory role = _role(revocable);
        vm.prank(buyer);
        license.grantRole(role);
    }

    function test_grantRole_RevertWhen_CallerIsNotTheHolder() external {
        address[3] memory callers = [stranger, publisher, agent];
        vm.prank(buyer);
        license.setApprovalForAll(agent, true);
        for (uint256 i = 0; i < callers.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ILicense.License_NotHolder.selector, ID, callers[i]));
            vm.prank(callers[i]);
            license.grantRole(_role(true));
        }
    }

    function test_grantRole_ByAnAccountThatActsForTheHolder() external {
        vm.expectEmit(address(license));
        emit IERC7432.RoleApprovalForAll(address(license), agent, true);
        vm.prank(buyer);
        license.setRoleApprovalForAll(address(license), agent, true);
        assertTrue(license.isRoleApprovedForAll(address(license), buyer, agent));
        vm.startPrank(agent);
        license.grantRole(_role(true));
        assertEq(license.userOf(ID), user);
        license.revokeRole(address(license), ID, userRole);
        assertEq(license.userOf(ID), address(0));
        // Roles only: it neither moves, locks nor burns.
        vm.expectRevert(abi.encodeWithSignature("ERC721InsufficientApproval(address,uint256)", agent, ID));
        license.transferFrom(buyer, agent, ID);
        bytes memory refusal = abi.encodeWithSelector(ILicense.License_NotHolder.selector, ID, agent);
        vm.expectRevert(refusal);
        license.lock(ID);
        vm.expectRevert(refusal);
        license.burn(ID);
        vm.stopPrank();
        // The approval was the old holder's.
        vm.prank(buyer);
        license.transferFrom(buyer, stranger, ID);
        vm.expectRevert(refusal);
        vm.prank(agent);
        license.grantRole(_role(true));
        vm.prank(buyer);
        license.setRoleApprovalForAll(address(license), agent, false);
        assertFalse(license.isRoleApprovedForAll(address(license), buyer, agent));
    }

    function test_grantRole_RevertWhen_RoleOrTokenIsAnother() external {
        vm.startPrank(buyer);
        IERC7432.Role memory role = _role(true);
        role.roleId = keccak256("ADMIN");
        vm.expectRevert(
            abi.encodeWithSelector(ILicense.License_UnknownRole.selector, address(license), keccak256("ADMIN"))
        );
        license.grantRole(role);
        role = _role(true);
        role.tokenAddress = address(registry);
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_UnknownRole.selector, address(registry), userRole));
        license.grantRole(role);
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_UnknownRole.selector, address(registry), userRole));
        license.ownerOf(address(registry), ID);
        assertEq(license.ownerOf(address(license), ID), buyer);
    }

    function testFuzz_grantRole_NeverOutlivesTheTerm(uint64 expires, uint64 at) external {
        at = uint64(bound(at, block.timestamp, end + 1));
        vm.warp(at);
        IERC7432.Role memory role = _role(true);
        role.expirationDate = expires;
        bool isInside = expires > at && expires <= end;
        if (!isInside) {
            vm.expectRevert(abi.encodeWithSelector(ILicense.License_InvalidDelegation.selector, ID, user, expires));
        }
        vm.prank(buyer);
        license.grantRole(role);
        assertEq(license.userOf(ID), isInside ? user : address(0));
    }

    function test_grantRole_RevertWhen_RecipientIsNobodyOrDataIsGiven() external {
        vm.startPrank(buyer);
        IERC7432.Role memory role = _role(true);
        role.recipient = address(0);
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_InvalidDelegation.selector, ID, address(0), end));
        license.grantRole(role);
        role = _role(true);
        role.data = "x";
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_InvalidDelegation.selector, ID, user, end));
        license.grantRole(role);
    }

    function test_revokeRole_ByItsUserOrWhoActsForIt() external {
        _delegate(false);
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_NotHolder.selector, ID, stranger));
        vm.prank(stranger);
        license.revokeRole(address(license), ID, userRole);
        vm.prank(user);
        license.revokeRole(address(license), ID, userRole);
        assertEq(license.userOf(ID), address(0));
        vm.prank(buyer);
        license.unlockToken(address(license), ID);
        _delegate(false);
        vm.prank(user);
        license.setRoleApprovalForAll(address(license), agent, true);
        vm.prank(agent);
        license.revokeRole(address(license), ID, userRole);
        assertEq(license.userOf(ID), address(0));
    }

    function test_unlockToken_RevertWhen_CallerIsNotTheHolder() external {
        _delegate(true);
        vm.prank(buyer);
        license.lock(ID);
        address[2] memory callers = [stranger, user];
        for (uint256 i = 0; i < 2; ++i) {
            bytes memory refusal = abi.encodeWithSelector(ILicense.License_NotHolder.selector, ID, callers[i]);
            vm.startPrank(callers[i]);
            vm.expectRevert(refusal);
            license.unlockToken(address(license), ID);
            vm.expectRevert(refusal);
            license.lock(ID);
            vm.expectRevert(refusal);
            license.burn(ID);
            vm.stopPrank();
        }
        assertTrue(license.locked(ID));
    }

    function test_views_SayWhatRuns() external {
        _delegate(true);
        assertEq(license.recipientOf(address(license), ID, userRole), user);
        assertEq(license.roleExpirationDate(address(license), ID, userRole), end);
        assertTrue(license.isRoleRevocable(address(license), ID, userRole));
        assertEq(license.roleData(address(license), ID, userRole), "");
        vm.warp(end);
        assertEq(license.recipientOf(address(license), ID, userRole), address(0));
        assertEq(license.roleExpirationDate(address(license), ID, userRole), 0);
        assertFalse(license.isRoleRevocable(address(license), ID, userRole));
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_UnknownRole.selector, address(license), bytes32(0)));
        license.recipientOf(address(license), ID, 0);
    }

    /// @dev A plan that forbids transfers: ERC-5192 calls its licences locked, and they can still be burned.
    function test_locked_WhenThePlanForbidsTransfers() external {
        IPlanBook.PlanTerms memory terms = _terms();
        terms.transferable = false;
        uint256 planId = _createPlan(terms);
        _fund(buyer, address(sale), PRICE);
        vm.expectEmit(address(license));
        emit IERC5192.Locked(2);
        vm.prank(buyer);
        uint256 tokenId = sale.purchase(planId, buyer, PRICE);
        assertTrue(license.locked(tokenId));
        vm.startPrank(buyer);
        license.lock(tokenId);
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_Locked.selector, tokenId));
        license.burn(tokenId);
        license.unlockToken(address(license), tokenId);
        assertTrue(license.locked(tokenId));
        license.burn(tokenId);
        assertFalse(license.isUsable(tokenId));
    }

    function test_locked_RevertWhen_LicenseIsUnknown() external {
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_Unknown.selector, 9));
        license.locked(9);
    }

    function test_interfaces_AreSupportedByTheirIdentifiers() external view {
        assertEq(type(IERC5192).interfaceId, bytes4(0xb45a3c0e));
        assertEq(type(IERC7432).interfaceId, bytes4(0xd00ca5cf));
        assertTrue(license.supportsInterface(0xb45a3c0e));
        assertTrue(license.supportsInterface(0xd00ca5cf));
        // The views of ERC-4907, not its setter.
        assertFalse(license.supportsInterface(0xad092b5c));
    }
}
