// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {ILicenseSale} from "../src/interfaces/ILicenseSale.sol";
import {IPlanBook} from "../src/interfaces/IPlanBook.sol";
import {Payments} from "../src/libraries/Payments.sol";
import {Purchases} from "../src/libraries/Purchases.sol";
import {SignedBase} from "./SignedBase.sol";
import {Permit2} from "./mocks/Permit2.sol";
import {FeeToken, HookToken} from "./mocks/Tokens.sol";
import {ContractWallet} from "./mocks/Wallets.sol";

contract SignedPurchaseTest is SignedBase {
    function _assertSold(uint256 tokenId, address holder, uint256 count) private view {
        assertEq(license.ownerOf(tokenId), holder);
        assertTrue(license.isUsable(tokenId));
        assertEq(usd.balanceOf(address(sale)), 0);
        assertEq(router.owedOf(address(usd)), count * PRICE);
        assertEq(usd.balanceOf(address(router)), count * PRICE);
    }

    // Permit

    function test_permit_BuysWithoutAnApproval() external {
        ILicenseSale.PermitSignature memory permit = _permit(PRICE);
        uint64 end = uint64(block.timestamp) + PERIOD;
        vm.expectEmit(address(sale));
        emit ILicenseSale.LicensePurchased(
            1, planId, assetId, signer, stranger, PRICE, uint64(block.timestamp), end, false
        );
        vm.prank(signer);
        _assertSold(sale.purchaseWithPermit(planId, stranger, PRICE, permit), stranger, 1);
        assertEq(usd.allowance(signer, address(sale)), 0);
        assertEq(usd.balanceOf(signer), 99 * PRICE);
    }

    function test_permit_RevertWhen_ItIsInvalidAndNothingIsAllowed() external {
        ILicenseSale.PermitSignature memory permit = _permit(PRICE);
        permit.s = bytes32(uint256(permit.s) ^ 1);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(sale), 0, PRICE)
        );
        vm.prank(signer);
        sale.purchaseWithPermit(planId, signer, PRICE, permit);
        assertFalse(license.isUsable(1));
    }

    function test_permit_RevertWhen_ItIsOfAnotherAccount() external {
        ILicenseSale.PermitSignature memory permit = _permit(PRICE);
        usd.mint(stranger, PRICE);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(sale), 0, PRICE)
        );
        vm.prank(stranger);
        sale.purchaseWithPermit(planId, stranger, PRICE, permit);
    }

    function test_permit_RevertWhen_PriceIsAboveTheLimit() external {
        ILicenseSale.PermitSignature memory permit = _permit(PRICE - 1);
        vm.expectRevert(abi.encodeWithSelector(ILicenseSale.LicenseSale_PriceAboveMax.selector, PRICE, PRICE - 1));
        vm.prank(signer);
        sale.purchaseWithPermit(planId, signer, PRICE - 1, permit);
    }

    function testFuzz_permit_Renews(uint64 wait) external {
        wait = uint64(bound(wait, 0, 10 * PERIOD));
        uint256 tokenId = _buy(planId, stranger);
        uint256 end = license.endTime(tokenId);
        skip(wait);
        uint64 expected = uint64((end > block.timestamp ? end : block.timestamp) + PERIOD);
        ILicenseSale.PermitSignature memory permit = _permit(PRICE);
        vm.expectEmit(address(sale));
        emit ILicenseSale.LicenseRenewed(tokenId, planId, assetId, signer, PRICE, expected, 1);
        vm.prank(signer);
        assertEq(sale.renewWithPermit(tokenId, PRICE, permit), 1);
        assertEq(license.endTime(tokenId), expected);
        _assertSold(tokenId, stranger, 2);
    }

    // EIP-3009

    function testFuzz_authorization_TheSignerPaysAndNeedsNoGas(address recipient, uint256 nonce, uint64 life) external {
        vm.assume(recipient != address(0));
        Purchases.PurchaseIntent memory intent = _intent();
        (intent.recipient, intent.nonce) = (recipient, nonce);
        intent.deadline = uint64(bound(life, block.timestamp + 1, type(uint64).max));
        bytes memory signature = _authorize(intent);
        uint64 end = uint64(block.timestamp) + PERIOD;
        vm.expectEmit(address(sale));
        emit ILicenseSale.LicensePurchased(
            1, planId, assetId, signer, recipient, PRICE, uint64(block.timestamp), end, false
        );
        _assertSold(_relay(intent, signature), recipient, 1);
        assertEq(usd.balanceOf(signer), 99 * PRICE);
        assertEq(usd.balanceOf(relayer), 0);
    }

    function test_authorization_RevertWhen_TheDeadlineIsReached() external {
        Purchases.PurchaseIntent memory intent = _intent();
        bytes memory signature = _authorize(intent);
        vm.warp(intent.deadline);
        vm.expectRevert(abi.encodeWithSelector(ILicenseSale.LicenseSale_IntentExpired.selector, intent.deadline));
        _relay(intent, signature);
        vm.warp(intent.deadline - 1);
        _assertSold(_relay(intent, signature), signer, 1);
    }

    function test_authorization_RevertWhen_TheLengthIsWrong() external {
        Purchases.PurchaseIntent memory intent = _intent();
        bytes memory signature = abi.encodePacked(_authorize(intent), uint8(0));
        vm.expectRevert(abi.encodeWithSelector(Payments.Payments_InvalidSignatureLength.selector, 66));
        _relay(intent, signature);
    }

    function test_authorization_RevertWhen_AmountOrSignerDiffer() external {
        Purchases.PurchaseIntent memory intent = _intent();
        intent.maxPrice = 2 * PRICE;
        bytes memory dear = _sign(_receiveDigest(signer, 2 * PRICE, intent));
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _relay(intent, dear);
        bytes memory ofAnother = _sign(_receiveDigest(buyer, PRICE, intent));
        usd.mint(buyer, PRICE);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        sale.purchaseWithAuthorization(buyer, intent, ofAnother);
    }

    function test_authorization_OfAFreePlanStillNeedsTheSignature() external {
        IPlanBook.PlanTerms memory terms = _terms();
        terms.price = 0;
        Purchases.PurchaseIntent memory intent = _intent();
        intent.planId = _createPlan(terms);
        bytes memory paid = _authorize(intent);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _relay(intent, paid);
        bytes memory free = _sign(_receiveDigest(signer, 0, intent));
        _assertSold(_relay(intent, free), signer, 0);
        vm.expectRevert();
        _relay(intent, free);
        assertEq(license.balanceOf(signer), 1);
    }

    function test_authorization_AsksAnAccountWithCode() external {
        address wallet = address(new ContractWallet(signer));
        usd.mint(wallet, PRICE);
        Purchases.PurchaseIntent memory intent = _intent();
        bytes memory signature = _sign(_receiveDigest(wallet, PRICE, intent));
        bytes memory wrong = _authorize(intent);
        vm.startPrank(relayer);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        sale.purchaseWithAuthorization(wallet, intent, wrong);
        _assertSold(sale.purchaseWithAuthorization(wallet, intent, signature), signer, 1);
        assertEq(usd.balanceOf(wallet), 0);
    }

    // Permit2

    function test_permit2_TakesThePriceAndNoMore() external {
        _approvePermit2();
        Purchases.PurchaseIntent memory intent = _intent();
        intent.maxPrice = 3 * PRICE;
        intent.recipient = stranger;
        _assertSold(_relay2(intent, _witness(intent)), stranger, 1);
        assertEq(usd.balanceOf(signer), 99 * PRICE);
    }

    function test_permit2_RevertWhen_DeadlineIsReachedOrPriceTooHigh() external {
        _approvePermit2();
        Purchases.PurchaseIntent memory intent = _intent();
        intent.maxPrice = PRICE - 1;
        bytes memory signature = _witness(intent);
        vm.expectRevert(abi.encodeWithSelector(ILicenseSale.LicenseSale_PriceAboveMax.selector, PRICE, PRICE - 1));
        _relay2(intent, signature);
        intent.maxPrice = PRICE;
        signature = _witness(intent);
        vm.warp(intent.deadline);
        vm.expectRevert(abi.encodeWithSelector(ILicenseSale.LicenseSale_IntentExpired.selector, intent.deadline));
        _relay2(intent, signature);
    }

    function test_permit2_AsksAnAccountWithCode() external {
        ContractWallet wallet = new ContractWallet(signer);
        usd.mint(address(wallet), PRICE);
        wallet.approve(usd, PERMIT2, PRICE);
        Purchases.PurchaseIntent memory intent = _intent();
        bytes memory signature = _witness(intent);
        vm.prank(relayer);
        _assertSold(sale.purchaseWithPermit2(address(wallet), intent, signature), signer, 1);
    }

    function test_permit2_RevertWhen_TheTokenKeepsAFee() external {
        FeeToken token = new FeeToken();
        token.mint(signer, PRICE);
        vm.prank(signer);
        token.approve(PERMIT2, PRICE);
        IPlanBook.PlanTerms memory terms = _terms();
        terms.currency = address(token);
        Purchases.PurchaseIntent memory intent = _intent();
        intent.planId = _createPlan(terms);
        bytes memory signature = _sign(_permit2Digest(address(token), intent));
        uint256 short = PRICE - PRICE / 100;
        vm.expectRevert(
            abi.encodeWithSelector(ILicenseSale.LicenseSale_AmountMismatch.selector, address(token), PRICE, short)
        );
        _relay2(intent, signature);
    }

    // Attacks

    function test_priceFrontRun() external {
        // Plans are immutable, so a dearer plan is another one, and the intent names its own.
        IPlanBook.PlanTerms memory dear = _terms();
        dear.price = PRICE + 1;
        Purchases.PurchaseIntent memory intent = _intent();
        intent.planId = _createPlan(dear);
        bytes memory signature = _sign(_receiveDigest(signer, PRICE + 1, intent));
        vm.expectRevert(abi.encodeWithSelector(ILicenseSale.LicenseSale_PriceAboveMax.selector, PRICE + 1, PRICE));
        _relay(intent, signature);
    }

    function test_permitFrontRun() external {
        ILicenseSale.PermitSignature memory permit = _permit(PRICE);
        vm.prank(stranger);
        usd.permit(signer, address(sale), PRICE, permit.deadline, permit.v, permit.r, permit.s);
        // The allowance is nobody's but the signer's, and the purchase goes through.
        vm.expectRevert();
        vm.prank(stranger);
        sale.purchase(planId, stranger, PRICE);
        vm.prank(signer);
        _assertSold(sale.purchaseWithPermit(planId, signer, PRICE, permit), signer, 1);
    }

    function testFuzz_signatureSpentOnAnotherPlan(uint8 which, uint256 other) external {
        uint256 twin = _createPlan(_terms());
        Purchases.PurchaseIntent memory intent = _intent();
        bytes memory authorization = _authorize(intent);
        bytes memory witness = _witness(intent);
        _approvePermit2();
        if (which % 5 == 0) intent.planId = twin;
        if (which % 5 == 1) intent.recipient = address(uint160(bound(other, 1, type(uint160).max)));
        if (which % 5 == 2) intent.maxPrice = uint128(bound(other, PRICE + 1, type(uint128).max));
        if (which % 5 == 3) intent.deadline = uint64(bound(other, intent.deadline + 1, type(uint64).max));
        if (which % 5 == 4) intent.nonce = other;
        vm.assume(keccak256(abi.encode(intent)) != keccak256(abi.encode(_intent())));
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _relay(intent, authorization);
        vm.expectRevert(Permit2.InvalidSigner.selector);
        _relay2(intent, witness);
    }

    function test_signatureSpentAtTheToken() external {
        // Whoever sees the signature cannot take the money past the sale.
        Purchases.PurchaseIntent memory intent = _intent();
        bytes memory signature = _authorize(intent);
        bytes32 nonce = sale.intentDigest(intent);
        vm.startPrank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(sale)));
        usd.receiveWithAuthorization(signer, address(sale), PRICE, 0, intent.deadline, nonce, signature);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        usd.receiveWithAuthorization(signer, stranger, PRICE, 0, intent.deadline, nonce, signature);
    }

    function test_reentrancyIntoEachWayOfPaying() external {
        Purchases.PurchaseIntent memory intent = _intent();
        ILicenseSale.PermitSignature memory permit;
        bytes[6] memory calls = [
            abi.encodeCall(sale.purchase, (planId, signer, PRICE)),
            abi.encodeCall(sale.renew, (1, PRICE)),
            abi.encodeCall(sale.purchaseWithPermit, (planId, signer, PRICE, permit)),
            abi.encodeCall(sale.renewWithPermit, (1, PRICE, permit)),
            abi.encodeCall(sale.purchaseWithAuthorization, (signer, intent, "")),
            abi.encodeCall(sale.purchaseWithPermit2, (signer, intent, ""))
        ];
        HookToken token = new HookToken();
        IPlanBook.PlanTerms memory terms = _terms();
        terms.currency = address(token);
        intent.planId = _createPlan(terms);
        vm.prank(signer);
        token.approve(PERMIT2, type(uint256).max);
        token.mint(signer, calls.length * PRICE);
        for (uint256 i = 0; i < calls.length; ++i) {
            token.arm(address(sale), calls[i]);
            intent.nonce = i;
            _relay2(intent, _sign(_permit2Digest(address(token), intent)));
            assertFalse(token.succeeded());
            assertEq(bytes4(token.answer()), ReentrancyGuard.ReentrancyGuardReentrantCall.selector);
        }
        assertEq(license.balanceOf(signer), calls.length);
    }

    function test_replayOfAnIntent() external {
        _approvePermit2();
        Purchases.PurchaseIntent memory intent = _intent();
        bytes memory authorization = _authorize(intent);
        bytes memory witness = _witness(intent);
        _relay(intent, authorization);
        vm.expectRevert(
            abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, signer, sale.intentDigest(intent))
        );
        _relay(intent, authorization);
        _relay2(intent, witness);
        vm.expectRevert(Permit2.InvalidNonce.selector);
        _relay2(intent, witness);
        assertEq(license.balanceOf(signer), 2);
        assertEq(router.owedOf(address(usd)), 2 * PRICE);
    }

    function test_replayAcrossChainsAndContracts() external {
        Purchases.PurchaseIntent memory intent = _intent();
        bytes memory authorization = _authorize(intent);
        bytes memory witness = _witness(intent);
        _approvePermit2();
        bytes32 here = sale.intentDigest(intent);
        vm.chainId(31338);
        assertNotEq(sale.intentDigest(intent), here);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _relay(intent, authorization);
        vm.expectRevert(Permit2.InvalidSigner.selector);
        _relay2(intent, witness);
        vm.chainId(31337);
        ILicenseSale other = ILicenseSale(_secondSale());
        assertNotEq(other.intentDigest(intent), here);
        vm.startPrank(relayer);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        other.purchaseWithAuthorization(signer, intent, authorization);
        vm.expectRevert(Permit2.InvalidSigner.selector);
        other.purchaseWithPermit2(signer, intent, witness);
    }

    /// @dev The sale of the next generation, under the same name.
    function _secondSale() private returns (address second) {
        second = deployCode("LicenseSale.sol:LicenseSale", abi.encode(directory, planBook, license));
        _advance(address(sale), IDirectory.Status.Retiring);
        directory.list("LicenseSale", second);
    }

    function test_intentDigest_FollowsEip712() external view {
        Purchases.PurchaseIntent memory intent = _intent();
        string memory json = string.concat(
            '{"types":{"EIP712Domain":[{"name":"name","type":"string"},{"name":"version","type":"string"},',
            '{"name":"chainId","type":"uint256"},{"name":"verifyingContract","type":"address"}],',
            '"PurchaseIntent":[{"name":"planId","type":"uint256"},{"name":"recipient","type":"address"},',
            '{"name":"maxPrice","type":"uint128"},{"name":"deadline","type":"uint64"},',
            '{"name":"nonce","type":"uint256"}]},"primaryType":"PurchaseIntent","domain":{"name":"Licet Purchase",',
            '"version":"1","chainId":',
            vm.toString(block.chainid),
            ',"verifyingContract":"',
            vm.toString(address(sale)),
            '"},"message":{"planId":',
            vm.toString(intent.planId),
            ',"recipient":"',
            vm.toString(intent.recipient)
        );
        json = string.concat(
            json,
            '","maxPrice":',
            vm.toString(intent.maxPrice),
            ',"deadline":',
            vm.toString(intent.deadline),
            ',"nonce":',
            vm.toString(intent.nonce),
            "}}"
        );
        assertEq(sale.intentDigest(intent), vm.eip712HashTypedData(json));
    }
}
