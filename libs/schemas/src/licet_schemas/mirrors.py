"""EIP-712 hashes of mirror statements, by which an asset's owner lets it be sold on another chain; its lineage's hash.

The same hashes as contracts/src/libraries/Mirrors.sol; proto/vectors holds the vectors that both are checked against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from licet_schemas.words import address_word, bytes32, keccak, uint_word

__all__ = ["MirrorStatement", "lineage_hash", "mirror_digest", "mirror_domain"]

_DOMAIN_TYPEHASH: Final = keccak(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_NAME_HASH: Final = keccak(b"Licet Mirror")
_VERSION_HASH: Final = keccak(b"1")
_MIRROR_TYPEHASH: Final = keccak(
    b"Mirror(string slug,uint256 homeChainId,address homeRegistry,address homeOwner,uint64 epoch,address owner,"
    b"uint64 validUntil,uint64 nonce)"
)


@dataclass(frozen=True, slots=True)
class MirrorStatement:
    """What an asset's owner at home signs for one other chain; `valid_until` in Unix seconds."""

    slug: str
    home_chain_id: int
    home_registry: str
    home_owner: str
    epoch: int
    owner: str
    valid_until: int
    nonce: int


def mirror_domain(chain_id: int, book: str) -> bytes:
    """Domain `Licet Mirror`, version 1, of the chain that the mirror is on and its MirrorBook."""
    words = (_DOMAIN_TYPEHASH, _NAME_HASH, _VERSION_HASH, uint_word(chain_id, 256), address_word(book))
    return keccak(b"".join(words))


def mirror_digest(domain: bytes, statement: MirrorStatement) -> bytes:
    """The digest that an asset's owner signs."""
    s = statement
    words = (
        _MIRROR_TYPEHASH,
        keccak(s.slug.encode()),
        uint_word(s.home_chain_id, 256),
        address_word(s.home_registry),
        address_word(s.home_owner),
        uint_word(s.epoch, 64),
        address_word(s.owner),
        uint_word(s.valid_until, 64),
        uint_word(s.nonce, 64),
    )
    return keccak(b"\x19\x01" + domain + keccak(b"".join(words)))


def lineage_hash(parents: tuple[tuple[bytes, int], ...]) -> bytes:
    """`keccak256(abi.encode(parents))` of pairs of asset id and royalty in basis points, as reporters state it."""
    words = [uint_word(32, 256), uint_word(len(parents), 256)]
    for asset_id, royalty_bp in parents:
        words += [bytes32(asset_id), uint_word(royalty_bp, 16)]
    return keccak(b"".join(words))
