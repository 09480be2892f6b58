// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {Base} from "./Base.sol";

contract DirectoryTest is Base {
    function test_list_RevertWhen_CallerLacksRole() external {
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, stranger));
        vm.prank(stranger);
        directory.list("Bazaar", address(usd));
    }

    function test_list_RevertWhen_EntryIsInvalid() external {
        vm.expectRevert(abi.encodeWithSelector(IDirectory.Directory_InvalidEntry.selector, bytes32(0), address(usd)));
        directory.list(bytes32(0), address(usd));
        vm.expectRevert(abi.encodeWithSelector(IDirectory.Directory_InvalidEntry.selector, bytes32("Bazaar"), stranger));
        directory.list("Bazaar", stranger);
    }

    function test_list_RevertWhen_TargetWasListedBefore() external {
        vm.expectRevert(abi.encodeWithSelector(IDirectory.Directory_AlreadyListed.selector, address(sale)));
        directory.list("Bazaar", address(sale));
        _advance(address(sale), IDirectory.Status.Retiring);
        _advance(address(sale), IDirectory.Status.Retired);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.Directory_AlreadyListed.selector, address(sale)));
        directory.list("LicenseSale", address(sale));
    }

    function test_list_RevertWhen_NameHasActiveContract() external {
        vm.expectRevert(
            abi.encodeWithSelector(IDirectory.Directory_NameTaken.selector, bytes32("LicenseSale"), address(sale))
        );
        directory.list("LicenseSale", address(usd));
    }

    function test_list_MakesTheContractActive() external {
        vm.expectEmit(address(directory));
        emit IDirectory.StatusChanged("Bazaar", address(usd), IDirectory.Status.Active);
        directory.list("Bazaar", address(usd));
        assertEq(uint8(directory.statusOf(address(usd))), uint8(IDirectory.Status.Active));
        assertEq(directory.nameOf(address(usd)), "Bazaar");
        assertEq(directory.activeOf("Bazaar"), address(usd));
    }

    function test_advance_RevertWhen_CallerLacksRole() external {
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, stranger));
        vm.prank(stranger);
        directory.advance(address(sale), IDirectory.Status.Retiring);
    }

    function testFuzz_advance_RevertWhen_StepIsNotTheNext(uint8 reached, uint8 to) external {
        reached = uint8(bound(reached, 1, 3));
        to = uint8(bound(to, 0, 3));
        vm.assume(to != reached + 1);
        for (uint8 step = 2; step <= reached; ++step) {
            _advance(address(sale), IDirectory.Status(step));
        }
        vm.expectRevert(abi.encodeWithSelector(IDirectory.Directory_InvalidStep.selector, address(sale), reached, to));
        directory.advance(address(sale), IDirectory.Status(to));
    }

    function test_advance_RevertWhen_TargetIsUnknown() external {
        vm.expectRevert(
            abi.encodeWithSelector(
                IDirectory.Directory_InvalidStep.selector,
                address(usd),
                IDirectory.Status.None,
                IDirectory.Status.Active
            )
        );
        directory.advance(address(usd), IDirectory.Status.Active);
    }

    function test_advance_FreesTheNameForTheNextGeneration() external {
        vm.expectEmit(address(directory));
        emit IDirectory.StatusChanged("LicenseSale", address(sale), IDirectory.Status.Retiring);
        directory.advance(address(sale), IDirectory.Status.Retiring);
        assertEq(directory.activeOf("LicenseSale"), address(0));
        directory.list("LicenseSale", address(usd));
        assertEq(directory.activeOf("LicenseSale"), address(usd));
        // The last step of the old generation leaves the new one active.
        directory.advance(address(sale), IDirectory.Status.Retired);
        assertEq(uint8(directory.statusOf(address(sale))), uint8(IDirectory.Status.Retired));
        assertEq(directory.activeOf("LicenseSale"), address(usd));
    }

    function test_requireActive_RevertsWithTheStatus() external {
        directory.requireActive(address(sale));
        _advance(address(sale), IDirectory.Status.Retiring);
        vm.expectRevert(
            abi.encodeWithSelector(IDirectory.Directory_NotActive.selector, address(sale), IDirectory.Status.Retiring)
        );
        directory.requireActive(address(sale));
    }
}
