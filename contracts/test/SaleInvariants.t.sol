// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Purchases} from "../src/libraries/Purchases.sol";
import {IDigests, SaleHandler} from "./SaleHandler.sol";
import {SignedBase} from "./SignedBase.sol";

/// @notice The numbers are those of contracts/README.md.
contract SaleInvariantsTest is SignedBase, IDigests {
    SaleHandler private handler;

    function setUp() public override {
        super.setUp();
        handler = new SaleHandler(license, sale, usd, this, planId, PERMIT2);
        targetContract(address(handler));
    }

    function receiveDigest(address payer_, uint256 value, Purchases.PurchaseIntent calldata intent)
        external
        view
        returns (bytes32)
    {
        return _receiveDigest(payer_, value, intent);
    }

    function permit2Digest(Purchases.PurchaseIntent calldata intent) external view returns (bytes32) {
        return _permit2Digest(address(usd), intent);
    }

    function permitDigest(address owner, uint256 value, uint256 deadline) external view returns (bytes32) {
        return _permitDigest(owner, value, deadline);
    }

    /// @dev 13
    function invariant_theSaleHoldsNoMoney() external view {
        assertEq(usd.balanceOf(address(sale)), 0);
    }

    /// @dev 13
    function invariant_everyLicenseAndRenewalIsPaidOnce() external view {
        uint256 paid = (handler.sold() + handler.renewed()) * PRICE;
        assertEq(router.owedOf(address(usd)), paid);
        assertEq(usd.balanceOf(address(router)), paid);
        assertFalse(handler.wrongHolder());
    }

    /// @dev 14
    function invariant_aUsedSignatureBuysNothingMore() external view {
        assertFalse(handler.replayed());
    }

    /// @dev Shows that the handler does what it is for.
    function test_handlerReachesEveryAction() external {
        handler.buy(0, 1, false, false);
        handler.buy(0, 1, true, false);
        handler.buy(1, 2, true, true);
        handler.renew(2, 1, false);
        handler.renew(2, 1, true);
        handler.relay(0, 1, false);
        handler.relay(1, 1, true);
        handler.wait(1 days);
        handler.replay(0, 0, false);
        handler.replay(1, 0, true);
        assertEq(handler.sold(), 5);
        assertEq(handler.renewed(), 2);
    }
}
