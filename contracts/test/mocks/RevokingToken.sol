// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {Vm} from "forge-std/Vm.sol";
import {IMandates} from "../../src/interfaces/IMandates.sol";

/// @notice Revokes its holder's mandate while it is paid.
contract RevokingToken is ERC20("Revoking", "REV") {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    address private _holder;
    IMandates private _escrow;
    bytes32 private _mandateId;
    bool public refused;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function arm(address holder, IMandates escrow, bytes32 mandateId) external {
        (_holder, _escrow, _mandateId) = (holder, escrow, mandateId);
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (address(_escrow) == address(0)) return;
        vm.prank(_holder);
        try _escrow.revokeMandate(_mandateId) {}
        catch {
            refused = true;
        }
    }
}
