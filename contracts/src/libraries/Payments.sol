// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC3009Bytes} from "../interfaces/IERC3009Bytes.sol";
import {IPermit2} from "../interfaces/IPermit2.sol";
import {Purchases} from "./Purchases.sol";

/// @title Payments by a signature that names what it pays for
library Payments {
    /// @notice Permit2, at the address that it has on every chain.
    IPermit2 internal constant PERMIT2 = IPermit2(0x000000000022D473030F116dDEE9F6B43aC78BA3);
    /// @notice End of Permit2's EIP-712 type, from the witness on.
    string internal constant WITNESS_TYPE = "PurchaseIntent witness)"
        "PurchaseIntent(uint256 planId,address recipient,uint128 maxPrice,uint64 deadline,uint256 nonce)"
        "TokenPermissions(address token,uint256 amount)";
    /// @notice Bytes of a signature as r, s and v.
    uint256 private constant ECDSA_BYTES = 65;

    /// @notice The signature is not the 65 bytes r, s, v that the token's function takes.
    error Payments_InvalidSignatureLength(uint256 length);

    /// @notice Takes `amount` by EIP-3009 into this contract. The nonce is `digest`, so a signature over anything else
    /// recovers another account.
    function receiveWithAuthorization(
        address token,
        address payer,
        uint128 amount,
        uint64 deadline,
        bytes32 digest,
        bytes calldata signature
    ) internal {
        if (payer.code.length != 0) {
            IERC3009Bytes(token).receiveWithAuthorization(payer, address(this), amount, 0, deadline, digest, signature);
            return;
        }
        if (signature.length != ECDSA_BYTES) revert Payments_InvalidSignatureLength(signature.length);
        IERC3009(token)
            .receiveWithAuthorization(
                payer,
                address(this),
                amount,
                0,
                deadline,
                digest,
                uint8(signature[64]),
                bytes32(signature[:32]),
                bytes32(signature[32:64])
            );
    }

    /// @notice Moves `amount` to `to` by Permit2, with the intent as witness.
    function transferWithPermit2(
        address token,
        address payer,
        address to,
        uint128 amount,
        Purchases.PurchaseIntent calldata intent,
        bytes calldata signature
    ) internal {
        PERMIT2.permitWitnessTransferFrom(
            IPermit2.PermitTransferFrom({
                permitted: IPermit2.TokenPermissions({token: token, amount: intent.maxPrice}),
                nonce: intent.nonce,
                deadline: intent.deadline
            }),
            IPermit2.SignatureTransferDetails({to: to, requestedAmount: amount}),
            payer,
            Purchases.hash(intent),
            WITNESS_TYPE,
            signature
        );
    }
}
