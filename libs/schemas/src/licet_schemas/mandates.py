"""EIP-712 hashes of mandates, the spending authorities that payers sign.

The same hashes as contracts/src/libraries/Mandates.sol; proto/vectors holds the vectors that both are checked against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from licet_schemas.words import address_word, bytes32, keccak, uint_word

__all__ = ["Mandate", "mandate_digest", "mandate_domain"]

_DOMAIN_TYPEHASH: Final = keccak(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_NAME_HASH: Final = keccak(b"Licet Mandate")
_VERSION_HASH: Final = keccak(b"1")
_MANDATE_TYPEHASH: Final = keccak(
    b"Mandate(address payer,address operator,address token,uint128 windowAmount,uint128 totalAmount,"
    b"uint128 inFlightCap,uint32 windowLength,uint32 windowRecords,uint32 grace,uint64 validFrom,"
    b"uint64 validUntil,bytes32[] assets,uint256 nonce)"
)


@dataclass(frozen=True, slots=True)
class Mandate:
    """What a payer lets one operator draw from one deposit.

    Amounts in the token's smallest unit, lengths and times in seconds; `assets` holds 32 bytes each, none means any.
    """

    payer: str
    operator: str
    token: str
    window_amount: int
    total_amount: int
    in_flight_cap: int
    window_length: int
    window_records: int
    grace: int
    valid_from: int
    valid_until: int
    assets: tuple[bytes, ...]
    nonce: int


def mandate_domain(chain_id: int, escrow: str) -> bytes:
    """Domain `Licet Mandate`, version 1, of one chain and its UsageEscrow."""
    words = (_DOMAIN_TYPEHASH, _NAME_HASH, _VERSION_HASH, uint_word(chain_id, 256), address_word(escrow))
    return keccak(b"".join(words))


def mandate_digest(domain: bytes, mandate: Mandate) -> bytes:
    """The digest that a payer signs; the mandate's id on chain."""
    m = mandate
    words = (
        _MANDATE_TYPEHASH,
        address_word(m.payer),
        address_word(m.operator),
        address_word(m.token),
        uint_word(m.window_amount, 128),
        uint_word(m.total_amount, 128),
        uint_word(m.in_flight_cap, 128),
        uint_word(m.window_length, 32),
        uint_word(m.window_records, 32),
        uint_word(m.grace, 32),
        uint_word(m.valid_from, 64),
        uint_word(m.valid_until, 64),
        keccak(b"".join(bytes32(asset) for asset in m.assets)),
        uint_word(m.nonce, 256),
    )
    return keccak(b"\x19\x01" + domain + keccak(b"".join(words)))
