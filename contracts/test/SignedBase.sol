// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ILicenseSale} from "../src/interfaces/ILicenseSale.sol";
import {IPermit2} from "../src/interfaces/IPermit2.sol";
import {Purchases} from "../src/libraries/Purchases.sol";
import {Base} from "./Base.sol";
import {Permit2} from "./mocks/Permit2.sol";

/// @notice A buyer with a key, and everything that it signs, written down a second time from the standards.
abstract contract SignedBase is Base {
    address internal constant PERMIT2 = 0x000000000022D473030F116dDEE9F6B43aC78BA3;
    bytes32 private constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
    bytes32 private constant RECEIVE_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,"
        "bytes32 nonce)"
    );
    string private constant WITNESS_TYPE = "PurchaseIntent witness)PurchaseIntent(uint256 planId,address recipient,"
        "uint128 maxPrice,uint64 deadline,uint256 nonce)TokenPermissions(address token,uint256 amount)";

    address internal signer;
    uint256 internal signerKey;
    address internal relayer = makeAddr("relayer");
    uint256 internal planId;

    function setUp() public virtual override {
        super.setUp();
        (signer, signerKey) = makeAddrAndKey("signer");
        deployCodeTo("Permit2.sol:Permit2", PERMIT2);
        planId = _createPlan(_terms());
        usd.mint(signer, 100 * PRICE);
    }

    function _intent() internal view returns (Purchases.PurchaseIntent memory) {
        return Purchases.PurchaseIntent({
            planId: planId, recipient: signer, maxPrice: PRICE, deadline: uint64(block.timestamp) + 1 hours, nonce: 7
        });
    }

    function _sign(bytes32 digest) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(signerKey, digest);
        return abi.encodePacked(r, s, v);
    }

    function _permitDigest(address owner, uint256 value, uint256 deadline) internal view returns (bytes32) {
        bytes32 structHash =
            keccak256(abi.encode(PERMIT_TYPEHASH, owner, address(sale), value, usd.nonces(owner), deadline));
        return keccak256(abi.encodePacked(hex"1901", usd.DOMAIN_SEPARATOR(), structHash));
    }

    function _permit(uint256 value) internal view returns (ILicenseSale.PermitSignature memory permit) {
        permit.deadline = block.timestamp + 1 hours;
        (permit.v, permit.r, permit.s) = vm.sign(signerKey, _permitDigest(signer, value, permit.deadline));
    }

    /// @dev What EIP-3009 has `payer` sign for an intent.
    function _receiveDigest(address payer_, uint256 value, Purchases.PurchaseIntent memory intent)
        internal
        view
        returns (bytes32)
    {
        bytes32 nonce = sale.intentDigest(intent);
        bytes32 structHash =
            keccak256(abi.encode(RECEIVE_TYPEHASH, payer_, address(sale), value, 0, intent.deadline, nonce));
        return keccak256(abi.encodePacked(hex"1901", usd.DOMAIN_SEPARATOR(), structHash));
    }

    function _authorize(Purchases.PurchaseIntent memory intent) internal view returns (bytes memory) {
        return _sign(_receiveDigest(signer, PRICE, intent));
    }

    function _permit2Digest(address token, Purchases.PurchaseIntent memory intent) internal view returns (bytes32) {
        bytes32 witness = keccak256(
            abi.encode(
                keccak256(
                    "PurchaseIntent(uint256 planId,address recipient,uint128 maxPrice,uint64 deadline,uint256 nonce)"
                ),
                intent.planId,
                intent.recipient,
                intent.maxPrice,
                intent.deadline,
                intent.nonce
            )
        );
        IPermit2.PermitTransferFrom memory permit = IPermit2.PermitTransferFrom(
            IPermit2.TokenPermissions(token, intent.maxPrice), intent.nonce, intent.deadline
        );
        return Permit2(PERMIT2).digestOf(permit, address(sale), witness, WITNESS_TYPE);
    }

    function _witness(Purchases.PurchaseIntent memory intent) internal view returns (bytes memory) {
        return _sign(_permit2Digest(address(usd), intent));
    }

    function _relay(Purchases.PurchaseIntent memory intent, bytes memory signature) internal returns (uint256) {
        vm.prank(relayer);
        return sale.purchaseWithAuthorization(signer, intent, signature);
    }

    function _relay2(Purchases.PurchaseIntent memory intent, bytes memory signature) internal returns (uint256) {
        vm.prank(relayer);
        return sale.purchaseWithPermit2(signer, intent, signature);
    }

    function _approvePermit2() internal {
        vm.prank(signer);
        usd.approve(PERMIT2, type(uint256).max);
    }
}
