// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {CreditToken} from "../src/CreditToken.sol";
import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {Base} from "./Base.sol";

/// @notice A series of 1,000 units that end in 30 days and may move.
abstract contract CreditsBase is Base {
    uint64 internal constant SUPPLY = 1000;
    uint64 internal constant TERM = 30 days;

    address internal holder = makeAddr("holder");
    uint256 internal planId;
    uint64 internal end;
    CreditToken internal units;

    function setUp() public virtual override {
        super.setUp();
        planId = _createPlan(_terms());
        end = uint64(block.timestamp) + TERM;
        units = _open(SUPPLY, true);
    }

    function _open(uint64 supply, bool transferable) internal returns (CreditToken) {
        vm.prank(publisher);
        return CreditToken(credits.openSeries(planId, UNIT_PRICE, supply, end, transferable));
    }

    function _id(CreditToken token) internal pure returns (uint256) {
        return uint160(address(token));
    }

    function _issue(CreditToken token, address to, uint64 amount) internal {
        uint128 price = amount * UNIT_PRICE;
        _fund(buyer, address(credits), price);
        vm.prank(buyer);
        credits.issue(address(token), to, amount, price);
    }

    function _lock(CreditToken token, address from, uint128 amount) internal returns (bytes32) {
        vm.startPrank(from);
        token.approve(address(escrow), amount);
        bytes32 depositId = escrow.deposit(operator, address(token), amount);
        vm.stopPrank();
        _setCap(address(token), type(uint128).max);
        return depositId;
    }

    /// @dev What a batch holds of the series.
    function _hold(uint64 batch) internal view returns (IDisputes.HoldName memory name) {
        name = _held(batch);
        name.token = address(units);
    }

    function _usd(address account) internal view returns (uint256) {
        return IERC20(address(usd)).balanceOf(account);
    }
}
