// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title EIP-712 hashes of mandates
/// @notice `proto/vectors/README.md` specifies the same hashes for every language.
library Mandates {
    /// @notice What a payer lets one operator draw from one deposit. Windows count from 0 and last `windowLength`
    /// seconds each, the first from `validFrom` on; the last ends with `validUntil`.
    /// @param windowAmount Most that is drawn for the use of one window, in the token's smallest unit.
    /// @param totalAmount Most that is drawn in all.
    /// @param inFlightCap Most that is still drawn after the mandate was revoked.
    /// @param windowLength Seconds of a window.
    /// @param windowRecords Most calls of one window.
    /// @param grace Seconds after the end of a window in which its use is still settled.
    /// @param validFrom Begin of the first window, Unix seconds.
    /// @param validUntil From when on nothing is used, Unix seconds.
    /// @param assets What may be used; empty: anything.
    /// @param nonce Any number that this payer has not used in a mandate.
    struct Mandate {
        address payer;
        address operator;
        address token;
        uint128 windowAmount;
        uint128 totalAmount;
        uint128 inFlightCap;
        uint32 windowLength;
        uint32 windowRecords;
        uint32 grace;
        uint64 validFrom;
        uint64 validUntil;
        bytes32[] assets;
        uint256 nonce;
    }

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("Licet Mandate");
    bytes32 private constant VERSION_HASH = keccak256("1");
    bytes32 private constant MANDATE_TYPEHASH = keccak256(
        "Mandate(address payer,address operator,address token,uint128 windowAmount,uint128 totalAmount,"
        "uint128 inFlightCap,uint32 windowLength,uint32 windowRecords,uint32 grace,uint64 validFrom,"
        "uint64 validUntil,bytes32[] assets,uint256 nonce)"
    );

    /// @notice EIP-712 struct hash of a mandate.
    function hash(Mandate calldata m) internal pure returns (bytes32) {
        // In two halves, because the compiler's stack does not hold all the fields at once.
        bytes memory head =
            abi.encode(MANDATE_TYPEHASH, m.payer, m.operator, m.token, m.windowAmount, m.totalAmount, m.inFlightCap);
        bytes memory tail = abi.encode(
            m.windowLength,
            m.windowRecords,
            m.grace,
            m.validFrom,
            m.validUntil,
            keccak256(abi.encodePacked(m.assets)),
            m.nonce
        );
        return keccak256(bytes.concat(head, tail));
    }

    /// @notice EIP-712 digest of a mandate of this chain and of `escrow`; its id.
    /// @dev The domain is computed at each call: a cached one would make the code differ from chain to chain.
    function digest(address escrow, Mandate calldata m) internal view returns (bytes32) {
        bytes32 domain = keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, escrow));
        return keccak256(abi.encodePacked(hex"1901", domain, hash(m)));
    }
}
