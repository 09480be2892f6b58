// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title EIP-712 hashes of usage receipts and of what signs them
/// @notice `proto/vectors/README.md` specifies the same hashes for every language.
library Receipts {
    /// @notice What an operator states about one metered call. `planId` and ids are as in the usage record; `outcome`
    /// is its number there (1 OK, 2 cancelled, 3 upstream error, 4 client gone, 5 aborted).
    struct Receipt {
        string requestId;
        string accountId;
        uint64 accountLease;
        uint64 sequence;
        bool last;
        string grantId;
        bytes32 assetId;
        bytes32 versionDigest;
        uint256 planId;
        string meteringRule;
        uint64 units;
        string priceBookVersion;
        uint8 outcome;
        uint64 startedAtMs;
        uint64 endedAtMs;
        bytes32 requestCommitment;
        bytes32 responseCommitment;
    }

    /// @notice An operator's receipt key says that a replica signs for it while `validFrom <= t < validUntil`, Unix
    /// seconds.
    struct ReplicaCertificate {
        address operator;
        address replica;
        uint64 validFrom;
        uint64 validUntil;
    }

    /// @notice A batch of receipts: the root over their digests (OpenZeppelin's standard Merkle tree with unsorted
    /// leaves `keccak256(keccak256(digest))`) and their number.
    struct Segment {
        bytes32 root;
        uint32 receipts;
    }

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("Licet Receipt");
    bytes32 private constant VERSION_HASH = keccak256("1");
    bytes32 private constant RECEIPT_TYPEHASH = keccak256(
        "Receipt(string requestId,string accountId,uint64 accountLease,uint64 sequence,bool last,string grantId,"
        "bytes32 assetId,bytes32 versionDigest,uint256 planId,string meteringRule,uint64 units,"
        "string priceBookVersion,uint8 outcome,uint64 startedAtMs,uint64 endedAtMs,bytes32 requestCommitment,"
        "bytes32 responseCommitment)"
    );
    bytes32 private constant CERTIFICATE_TYPEHASH =
        keccak256("ReplicaCertificate(address operator,address replica,uint64 validFrom,uint64 validUntil)");
    bytes32 private constant SEGMENT_TYPEHASH = keccak256("Segment(bytes32 root,uint32 receipts)");

    /// @notice Domain separator for receipts of the operator contract `escrow` on this chain.
    /// @dev Computed at each call: a cached one would make the code differ from chain to chain.
    function domainSeparator(address escrow) internal view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, escrow));
    }

    /// @notice EIP-712 struct hash of a receipt.
    function hash(Receipt memory r) internal pure returns (bytes32) {
        // In two halves, because the compiler's stack does not hold all the fields at once.
        bytes memory head = abi.encode(
            RECEIPT_TYPEHASH,
            keccak256(bytes(r.requestId)),
            keccak256(bytes(r.accountId)),
            r.accountLease,
            r.sequence,
            r.last,
            keccak256(bytes(r.grantId)),
            r.assetId,
            r.versionDigest
        );
        bytes memory tail = abi.encode(
            r.planId,
            keccak256(bytes(r.meteringRule)),
            r.units,
            keccak256(bytes(r.priceBookVersion)),
            r.outcome,
            r.startedAtMs,
            r.endedAtMs,
            r.requestCommitment,
            r.responseCommitment
        );
        return keccak256(bytes.concat(head, tail));
    }

    /// @notice EIP-712 struct hash of a replica certificate.
    function hash(ReplicaCertificate memory c) internal pure returns (bytes32) {
        return keccak256(abi.encode(CERTIFICATE_TYPEHASH, c.operator, c.replica, c.validFrom, c.validUntil));
    }

    /// @notice EIP-712 struct hash of a segment.
    function hash(Segment memory s) internal pure returns (bytes32) {
        return keccak256(abi.encode(SEGMENT_TYPEHASH, s.root, s.receipts));
    }

    /// @notice EIP-712 digest of a struct hash.
    function digest(address escrow, bytes32 structHash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domainSeparator(escrow), structHash));
    }
}
