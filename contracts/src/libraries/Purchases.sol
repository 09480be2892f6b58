// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title EIP-712 hashes of purchase intents
library Purchases {
    /// @notice What a buyer signs. The token's payment signature is bound to it, so it pays for nothing else.
    /// @param planId Plan to buy from.
    /// @param recipient First holder of the licence.
    /// @param maxPrice The most the buyer pays, in the plan's currency.
    /// @param deadline Unix seconds from which the intent buys nothing any more.
    /// @param nonce Any number that the buyer has not used before; for Permit2, one that is free in its bitmap.
    struct PurchaseIntent {
        uint256 planId;
        address recipient;
        uint128 maxPrice;
        uint64 deadline;
        uint256 nonce;
    }

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("Licet Purchase");
    bytes32 private constant VERSION_HASH = keccak256("1");
    bytes32 private constant INTENT_TYPEHASH =
        keccak256("PurchaseIntent(uint256 planId,address recipient,uint128 maxPrice,uint64 deadline,uint256 nonce)");

    /// @notice EIP-712 struct hash of an intent.
    function hash(PurchaseIntent memory intent) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(INTENT_TYPEHASH, intent.planId, intent.recipient, intent.maxPrice, intent.deadline, intent.nonce)
        );
    }

    /// @notice EIP-712 digest of an intent for the LicenseSale `sale` on this chain.
    /// @dev The domain is computed at each call: a cached one would make the code differ from chain to chain.
    function digest(address sale, PurchaseIntent memory intent) internal view returns (bytes32) {
        bytes32 domain = keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, sale));
        return keccak256(abi.encodePacked(hex"1901", domain, hash(intent)));
    }
}
