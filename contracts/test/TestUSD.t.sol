// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";
import {TestUSD} from "../src/TestUSD.sol";

contract TestUSDTest is Test {
    TestUSD private immutable usd = new TestUSD();

    function testFuzz_anyoneMints(address caller, uint128 amount) external {
        vm.assume(caller != address(0));
        vm.prank(caller);
        usd.mint(caller, amount);
        assertEq(usd.balanceOf(caller), amount);
        assertEq(usd.totalSupply(), amount);
    }

    function test_hasSixDecimals() external view {
        assertEq(usd.decimals(), 6);
    }
}
