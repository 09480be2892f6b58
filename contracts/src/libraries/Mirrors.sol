// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title EIP-712 hashes of mirror statements
/// @notice `proto/vectors/README.md` specifies the same hashes for every language.
library Mirrors {
    /// @notice What an asset's owner at home signs, so that it is sold on one other chain.
    /// @param slug Slug of the asset; its token id at home follows from it.
    /// @param homeChainId Chain on which the asset is owned.
    /// @param homeRegistry The AssetRegistry there.
    /// @param homeOwner Owner there, who signs. An account with a key: the same address here may be other code.
    /// @param epoch Owner's epoch there (`IAssetRegistry.epochOf`).
    /// @param owner Who makes plans for the asset here, and earns here.
    /// @param validUntil Unix seconds from which it sells nothing here.
    /// @param nonce Higher than in every statement of this owner for this asset that was used or cancelled here.
    struct Statement {
        string slug;
        uint256 homeChainId;
        address homeRegistry;
        address homeOwner;
        uint64 epoch;
        address owner;
        uint64 validUntil;
        uint64 nonce;
    }

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("Licet Mirror");
    bytes32 private constant VERSION_HASH = keccak256("1");
    bytes32 private constant STATEMENT_TYPEHASH = keccak256(
        "Mirror(string slug,uint256 homeChainId,address homeRegistry,address homeOwner,uint64 epoch,address owner,"
        "uint64 validUntil,uint64 nonce)"
    );

    /// @notice EIP-712 struct hash of a statement.
    function hash(Statement calldata s) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                STATEMENT_TYPEHASH,
                keccak256(bytes(s.slug)),
                s.homeChainId,
                s.homeRegistry,
                s.homeOwner,
                s.epoch,
                s.owner,
                s.validUntil,
                s.nonce
            )
        );
    }

    /// @notice EIP-712 digest of a statement for the MirrorBook `book` on this chain.
    /// @dev The domain is computed at each call: a cached one would make the code differ from chain to chain.
    function digest(address book, Statement calldata s) internal view returns (bytes32) {
        bytes32 domain = keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, book));
        return keccak256(abi.encodePacked(hex"1901", domain, hash(s)));
    }
}
