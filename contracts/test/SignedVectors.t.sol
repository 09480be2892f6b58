// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {stdJson} from "forge-std/StdJson.sol";
import {IComplianceGate} from "../src/interfaces/IComplianceGate.sol";
import {ILicenseSale} from "../src/interfaces/ILicenseSale.sol";
import {IMarket} from "../src/interfaces/IMarket.sol";
import {IVouchers} from "../src/interfaces/IVouchers.sol";
import {Purchases} from "../src/libraries/Purchases.sol";
import {Base} from "./Base.sol";

/// @notice Solidity agrees with proto/vectors, which another implementation wrote.
contract SignedVectorsTest is Base {
    using stdJson for string;

    uint256 private constant EXAMPLES = 3;

    string private json;
    address private verifier;

    function setUp() public override {
        super.setUp();
        json = vm.readFile("../proto/vectors/signed.json");
        verifier = json.readAddress(".domain.verifyingContract");
        assertEq(block.chainid, json.readUint(".domain.chainId"));
    }

    /// @dev The code of a contract at the address that the vectors name: a domain is of the place where it is asked for.
    function _standIn(address code) private {
        vm.etch(verifier, code.code);
    }

    function _at(string memory list, uint256 i) private pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(i), "]");
    }

    function _check(string memory list, uint256 i, bytes32 digest) private view {
        string memory at = _at(list, i);
        assertEq(digest, json.readBytes32(string.concat(at, ".digest")), at);
        bytes memory signature = json.readBytes(string.concat(at, ".signature"));
        assertEq(ECDSA.recover(digest, signature), json.readAddress(string.concat(at, ".signer")), at);
        assertFalse(vm.keyExistsJson(json, _at(list, EXAMPLES)));
    }

    function _address(string memory at, string memory name) private view returns (address) {
        return json.readAddress(string.concat(at, name));
    }

    function _uint(string memory at, string memory name) private view returns (uint256) {
        return json.readUint(string.concat(at, name));
    }

    function _word(string memory at, string memory name) private view returns (bytes32) {
        return json.readBytes32(string.concat(at, name));
    }

    function test_credentials() external {
        _standIn(address(complianceGate));
        for (uint256 i = 0; i < EXAMPLES; ++i) {
            string memory at = string.concat(_at("credentials", i), ".credential.");
            IComplianceGate.Credential memory c = IComplianceGate.Credential({
                assetId: _word(at, "assetId"),
                subject: _address(at, "subject"),
                class: uint8(_uint(at, "class")),
                jurisdiction: uint16(_uint(at, "jurisdiction")),
                expiresAt: uint64(_uint(at, "expiresAt")),
                nonce: _uint(at, "nonce")
            });
            _check("credentials", i, IComplianceGate(verifier).hashCredential(c));
        }
    }

    function test_orders() external {
        _standIn(address(market));
        for (uint256 i = 0; i < EXAMPLES; ++i) {
            _check("orders", i, IMarket(verifier).hashOrder(_order(string.concat(_at("orders", i), ".order."))));
        }
    }

    function _order(string memory at) private view returns (IMarket.Order memory order) {
        order.maker = _address(at, "maker");
        order.side = IMarket.Side(_uint(at, "side"));
        order.standard = IMarket.Standard(_uint(at, "standard"));
        order.token = _address(at, "token");
        order.tokenId = _uint(at, "tokenId");
        order.amount = uint128(_uint(at, "amount"));
        order.currency = _address(at, "currency");
        order.startPrice = uint128(_uint(at, "startPrice"));
        order.endPrice = uint128(_uint(at, "endPrice"));
        order.startTime = uint64(_uint(at, "startTime"));
        order.endTime = uint64(_uint(at, "endTime"));
        order.taker = _address(at, "taker");
        order.nonce = _uint(at, "nonce");
        order.epoch = uint64(_uint(at, "epoch"));
        order.stateHash = _word(at, "stateHash");
    }

    function test_purchases() external {
        _standIn(address(sale));
        for (uint256 i = 0; i < EXAMPLES; ++i) {
            string memory at = string.concat(_at("purchases", i), ".purchaseIntent.");
            Purchases.PurchaseIntent memory intent = Purchases.PurchaseIntent({
                planId: _uint(at, "planId"),
                recipient: _address(at, "recipient"),
                maxPrice: uint128(_uint(at, "maxPrice")),
                deadline: uint64(_uint(at, "deadline")),
                nonce: _uint(at, "nonce")
            });
            _check("purchases", i, ILicenseSale(verifier).intentDigest(intent));
        }
    }

    function test_vouchers() external {
        _standIn(address(escrow));
        for (uint256 i = 0; i < EXAMPLES; ++i) {
            string memory at = string.concat(_at("vouchers", i), ".voucher.");
            IVouchers.Voucher memory voucher = IVouchers.Voucher({
                payer: _address(at, "payer"),
                operator: _address(at, "operator"),
                token: _address(at, "token"),
                channel: _word(at, "channel"),
                cumulative: uint128(_uint(at, "cumulative"))
            });
            _check("vouchers", i, IVouchers(verifier).voucherDigest(voucher));
        }
    }
}
