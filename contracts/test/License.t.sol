// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {IERC7858} from "../src/interfaces/IERC7858.sol";
import {ILicense} from "../src/interfaces/ILicense.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {Base} from "./Base.sol";

contract LicenseTest is Base {
    function _mint(uint64 from, uint64 until, bool transferable) private returns (uint256) {
        vm.prank(address(sale));
        return license.mint(buyer, 1, from, until, transferable, false);
    }

    function test_mint_RevertWhen_CallerIsNotAnActiveSale() external {
        address[3] memory callers = [stranger, address(escrow), address(this)];
        for (uint256 i = 0; i < callers.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ILicense.License_NotSale.selector, callers[i]));
            vm.prank(callers[i]);
            license.mint(stranger, 1, 1, 2, true, false);
            vm.expectRevert(abi.encodeWithSelector(ILicense.License_NotSale.selector, callers[i]));
            vm.prank(callers[i]);
            license.renew(1, type(uint64).max);
        }
        _advance(address(sale), IDirectory.Status.Retiring);
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_NotSale.selector, address(sale)));
        _mint(1, 2, true);
    }

    function testFuzz_mint_RevertWhen_TermIsEmpty(uint64 from, uint64 until) external {
        until = uint64(bound(until, 0, from));
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_InvalidTerm.selector, from, until));
        _mint(from, until, true);
    }

    function test_mint_RefusesTheEndThatMeansNever() external {
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_InvalidTerm.selector, 0, 0));
        _mint(0, 0, true);
    }

    function testFuzz_mint_KeepsTheTerm(uint64 from, uint64 until, bool transferable) external {
        from = uint64(bound(from, 0, type(uint64).max - 1));
        until = uint64(bound(until, from + 1, type(uint64).max));
        vm.expectEmit(address(license));
        emit IERC7858.TokenExpiryUpdated(1, from, until);
        uint256 tokenId = _mint(from, until, transferable);
        ILicense.Terms memory terms = license.licenseOf(tokenId);
        assertEq(abi.encode(terms), abi.encode(ILicense.Terms(1, from, until, 0, transferable, false)));
        assertEq(license.ownerOf(tokenId), buyer);
        assertEq(license.startTime(tokenId), from);
        assertEq(license.endTime(tokenId), until);
    }

    function test_renew_RevertWhen_EndDoesNotMove() external {
        uint256 tokenId = _mint(1, 100, true);
        vm.startPrank(address(sale));
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_InvalidTerm.selector, 1, 100));
        license.renew(tokenId, 100);
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_Unknown.selector, 9));
        license.renew(9, 200);
        assertEq(license.renew(tokenId, 101), 1);
        assertEq(license.renew(tokenId, 102), 2);
        assertEq(license.licenseOf(tokenId).ordinal, 2);
    }

    function test_transfer_RevertWhen_PlanForbidsIt() external {
        uint256 tokenId = _mint(1, 100, false);
        vm.startPrank(buyer);
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_NotTransferable.selector, tokenId, 1));
        license.transferFrom(buyer, stranger, tokenId);
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_NotTransferable.selector, tokenId, 1));
        license.safeTransferFrom(buyer, stranger, tokenId);
        license.approve(stranger, tokenId);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(ILicense.License_NotTransferable.selector, tokenId, 1));
        vm.prank(stranger);
        license.transferFrom(buyer, stranger, tokenId);
    }

    function test_transfer_MovesAnExpiredLicense() external {
        uint256 tokenId = _mint(1, 100, true);
        assertTrue(license.isTokenExpired(tokenId));
        vm.prank(buyer);
        license.transferFrom(buyer, stranger, tokenId);
        assertEq(license.ownerOf(tokenId), stranger);
        assertFalse(license.isUsable(tokenId));
    }

    function testFuzz_isUsable_HoldsInsideTheTermAlone(uint64 from, uint64 length, uint64 at) external {
        from = uint64(bound(from, 1, 1e12));
        length = uint64(bound(length, 1, 1e12));
        uint64 until = from + length;
        uint256 tokenId = _mint(from, until, true);
        vm.warp(bound(at, from - 1, until + 1));
        assertEq(license.isUsable(tokenId), block.timestamp >= from && block.timestamp < until);
        assertEq(license.isTokenExpired(tokenId), block.timestamp >= until);
    }

    function test_isUsable_IsFalseForAnUnknownLicense() external view {
        assertFalse(license.isUsable(1));
    }

    function test_erc7858_RevertWhen_LicenseIsUnknown() external {
        bytes memory unknown = abi.encodeWithSelector(ILicense.License_Unknown.selector, 7);
        vm.expectRevert(unknown);
        license.isTokenExpired(7);
        vm.expectRevert(unknown);
        license.startTime(7);
        vm.expectRevert(unknown);
        license.endTime(7);
        vm.expectRevert(unknown);
        license.licenseOf(7);
    }

    function test_erc7858_IsSupportedByItsIdentifier() external view {
        assertEq(type(IERC7858).interfaceId, bytes4(0x3ebdfa31));
        assertTrue(license.supportsInterface(0x3ebdfa31));
        assertTrue(license.supportsInterface(0x80ac58cd));
        assertEq(uint8(license.expiryType()), uint8(IERC7858.EXPIRY_TYPE.TIME_BASED));
    }

    function test_mint_TakesTransferabilityFromThePlan() external {
        IPlanBook.PlanTerms memory terms = _terms();
        terms.transferable = false;
        uint256 tokenId = _buy(_createPlan(terms), buyer);
        assertFalse(license.licenseOf(tokenId).transferable);
        assertTrue(license.licenseOf(_buy(_createPlan(_terms()), buyer)).transferable);
    }
}
