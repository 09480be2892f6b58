// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

interface Cheats {
    function assume(bool condition) external pure;
    function warp(uint256 timestamp) external;
    function prank(address sender) external;
}

/// @notice What a proof may ask of the machine that runs it. `check_` functions hold for every argument.
abstract contract Prover {
    Cheats internal constant vm = Cheats(address(uint160(uint256(keccak256("hevm cheat code")))));
}
