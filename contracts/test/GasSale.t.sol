// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ILicenseSale} from "../src/interfaces/ILicenseSale.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {Purchases} from "../src/libraries/Purchases.sol";
import {SignedBase} from "./SignedBase.sol";

/// @notice What buying costs, whole transactions with their calldata; kept in snapshots/sale.json. The plan has been
/// bought from before by somebody else; the buyer has neither a licence nor an earlier signature.
/// forge-config: default.isolate = true
contract GasSaleTest is SignedBase {
    uint256 private constant SECOND_PERMIT_GAS = 220_000;

    function setUp() public override {
        super.setUp();
        _buy(planId, buyer);
    }

    function test_gas_permit() external {
        ILicenseSale.PermitSignature memory permit = _permit(PRICE);
        vm.prank(signer);
        sale.purchaseWithPermit(planId, signer, PRICE, permit);
        vm.snapshotGasLastCall("sale", "LicenseSale.purchaseWithPermit new buyer");
        permit = _permit(PRICE);
        vm.prank(signer);
        sale.purchaseWithPermit(planId, signer, PRICE, permit);
        uint256 used = vm.snapshotGasLastCall("sale", "LicenseSale.purchaseWithPermit again");
        assertLe(used, SECOND_PERMIT_GAS);
        permit = _permit(PRICE);
        vm.prank(signer);
        sale.renewWithPermit(2, PRICE, permit);
        vm.snapshotGasLastCall("sale", "LicenseSale.renewWithPermit");
    }

    function test_gas_limited() external {
        IPlanBook.PlanTerms memory terms = _terms();
        (terms.supply, terms.perRecipient) = (100, 10);
        (terms.trialPeriod, terms.trialUnits) = (7 days, 20);
        planId = _createPlan(terms);
        _buy(planId, buyer);
        vm.startPrank(signer);
        sale.purchaseWithPermit(planId, signer, PRICE, _permit(PRICE));
        sale.purchaseWithPermit(planId, signer, PRICE, _permit(PRICE));
        uint256 used = vm.snapshotGasLastCall("sale", "LicenseSale.purchaseWithPermit again, limited plan");
        assertLe(used, SECOND_PERMIT_GAS);
        sale.startTrial(planId);
        vm.snapshotGasLastCall("sale", "LicenseSale.startTrial");
        vm.stopPrank();
    }

    function test_gas_allowance() external {
        vm.startPrank(signer);
        usd.approve(address(sale), type(uint256).max);
        sale.purchase(planId, signer, PRICE);
        vm.snapshotGasLastCall("sale", "LicenseSale.purchase new buyer");
        sale.purchase(planId, signer, PRICE);
        vm.snapshotGasLastCall("sale", "LicenseSale.purchase again");
    }

    function test_gas_intent() external {
        Purchases.PurchaseIntent memory intent = _intent();
        bytes memory authorization = _authorize(intent);
        bytes memory witness = _witness(intent);
        _approvePermit2();
        _relay(intent, authorization);
        vm.snapshotGasLastCall("sale", "LicenseSale.purchaseWithAuthorization");
        _relay2(intent, witness);
        vm.snapshotGasLastCall("sale", "LicenseSale.purchaseWithPermit2");
    }
}
