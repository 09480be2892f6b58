"""EIP-712 hashes of usage receipts, and secp256k1 signatures over them.

The same hashes as contracts/src/libraries/Receipts.sol; proto/vectors holds the vectors that both are checked
against. Hand-built encoding over a C keccak, because the gateway hashes one receipt for each call.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from typing import Final

import coincurve

from licet_schemas.words import address_word, bytes32, keccak, uint_word

__all__ = [
    "SIGNATURE_BYTES",
    "LeaseOfReceipts",
    "Receipt",
    "ReceiptForm",
    "ReplicaCertificate",
    "Segment",
    "SignatureInvalid",
    "address_of",
    "certificate_digest",
    "domain_separator",
    "keccak",
    "receipt_digest",
    "recover",
    "segment_digest",
    "sign",
]

SIGNATURE_BYTES: Final = 65
# Ethereum's recovery id counts from 27 (yellow paper, appendix F).
_V_OFFSET: Final = 27


class SignatureInvalid(ValueError):
    """The bytes are not a recoverable signature of this digest."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an operator states about one metered call; ids are as in the usage record.

    `asset_id`, `version_digest` and the commitments are 32 bytes; `outcome` is its protobuf number; times are
    Unix milliseconds.
    """

    request_id: str
    account_id: str
    account_lease: int
    sequence: int
    last: bool
    grant_id: str
    asset_id: bytes
    version_digest: bytes
    plan_id: int
    metering_rule: str
    units: int
    price_book_version: str
    outcome: int
    started_at_ms: int
    ended_at_ms: int
    request_commitment: bytes
    response_commitment: bytes


@dataclass(frozen=True, slots=True)
class LeaseOfReceipts:
    """The fields of a receipt that all receipts of one lease have in common."""

    account_id: str
    account_lease: int
    grant_id: str
    asset_id: bytes
    version_digest: bytes
    plan_id: int
    metering_rule: str
    price_book_version: str


@dataclass(frozen=True, slots=True)
class ReplicaCertificate:
    """`operator` lets `replica` sign its receipts while `valid_from <= t < valid_until` (Unix seconds)."""

    operator: str
    replica: str
    valid_from: int
    valid_until: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A batch of receipts: the Merkle root over their digests, and their number."""

    root: bytes
    receipts: int


_DOMAIN_TYPEHASH: Final = keccak(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_NAME_HASH: Final = keccak(b"Licet Receipt")
_VERSION_HASH: Final = keccak(b"1")
_RECEIPT_TYPEHASH: Final = keccak(
    b"Receipt(string requestId,string accountId,uint64 accountLease,uint64 sequence,bool last,string grantId,"
    b"bytes32 assetId,bytes32 versionDigest,uint256 planId,string meteringRule,uint64 units,"
    b"string priceBookVersion,uint8 outcome,uint64 startedAtMs,uint64 endedAtMs,bytes32 requestCommitment,"
    b"bytes32 responseCommitment)"
)
# Words of a receipt that change from call to call: unsigned numbers at the right of 32 bytes each.
_SEQUENCE_LAST: Final = struct.Struct(">24xQ31x?").pack
_UNITS: Final = struct.Struct(">24xQ").pack
_OUTCOME_TIMES: Final = struct.Struct(">31xB24xQ24xQ").pack
_CERTIFICATE_TYPEHASH: Final = keccak(
    b"ReplicaCertificate(address operator,address replica,uint64 validFrom,uint64 validUntil)"
)
_SEGMENT_TYPEHASH: Final = keccak(b"Segment(bytes32 root,uint32 receipts)")


@functools.lru_cache(maxsize=4096)
def _text(value: str) -> bytes:
    """Hash of a string field. Cached: grant, account, rule and price book repeat from call to call."""
    return keccak(value.encode())


@functools.lru_cache(maxsize=64)
def domain_separator(chain_id: int, escrow: str) -> bytes:
    """Domain `Licet Receipt`, version 1, of one chain and its UsageEscrow."""
    words = (_DOMAIN_TYPEHASH, _NAME_HASH, _VERSION_HASH, uint_word(chain_id, 256), address_word(escrow))
    return keccak(b"".join(words))


def _digest(domain: bytes, struct_hash: bytes) -> bytes:
    return keccak(b"\x19\x01" + domain + struct_hash)


class ReceiptForm:
    """What all receipts of one lease repeat, encoded once: an operator hashes one receipt for each call."""

    __slots__ = ("_before_sequence", "_before_units", "_domain", "_price_book")

    def __init__(self, domain: bytes, lease: LeaseOfReceipts) -> None:
        self._domain = b"\x19\x01" + domain
        self._before_sequence = _text(lease.account_id) + uint_word(lease.account_lease, 64)
        self._before_units = b"".join(
            (
                _text(lease.grant_id),
                bytes32(lease.asset_id),
                bytes32(lease.version_digest),
                uint_word(lease.plan_id, 256),
                _text(lease.metering_rule),
            )
        )
        self._price_book = _text(lease.price_book_version)

    def digest(  # noqa: PLR0913  the fields of a receipt that differ, in their order
        self,
        request_id: str,
        sequence: int,
        last: bool,
        units: int,
        outcome: int,
        started_at_ms: int,
        ended_at_ms: int,
        request_commitment: bytes,
        response_commitment: bytes,
    ) -> bytes:
        """The receipt's EIP-712 digest: what "the hash of the receipt" means everywhere. Raises ValueError."""
        try:
            words = (
                _RECEIPT_TYPEHASH,
                keccak(request_id.encode()),
                self._before_sequence,
                _SEQUENCE_LAST(sequence, last),
                self._before_units,
                _UNITS(units),
                self._price_book,
                _OUTCOME_TIMES(outcome, started_at_ms, ended_at_ms),
                bytes32(request_commitment),
                bytes32(response_commitment),
            )
        except struct.error as error:
            raise ValueError(f"no receipt can state this: {error}") from None
        return keccak(self._domain + keccak(b"".join(words)))


def receipt_digest(domain: bytes, receipt: Receipt) -> bytes:
    """The receipt's EIP-712 digest. Raises ValueError for what no receipt can state."""
    r = receipt
    lease = LeaseOfReceipts(
        r.account_id,
        r.account_lease,
        r.grant_id,
        r.asset_id,
        r.version_digest,
        r.plan_id,
        r.metering_rule,
        r.price_book_version,
    )
    return ReceiptForm(domain, lease).digest(
        r.request_id,
        r.sequence,
        r.last,
        r.units,
        r.outcome,
        r.started_at_ms,
        r.ended_at_ms,
        r.request_commitment,
        r.response_commitment,
    )


def certificate_digest(domain: bytes, certificate: ReplicaCertificate) -> bytes:
    """The digest that an operator's receipt key signs to let a replica sign."""
    c = certificate
    words = (
        _CERTIFICATE_TYPEHASH,
        address_word(c.operator),
        address_word(c.replica),
        uint_word(c.valid_from, 64),
        uint_word(c.valid_until, 64),
    )
    return _digest(domain, keccak(b"".join(words)))


def segment_digest(domain: bytes, segment: Segment) -> bytes:
    """The digest that a replica key signs for a batch of receipts."""
    words = (_SEGMENT_TYPEHASH, bytes32(segment.root), uint_word(segment.receipts, 32))
    return _digest(domain, keccak(b"".join(words)))


@functools.lru_cache(maxsize=64)
def _key(private_key: bytes) -> coincurve.PrivateKey:
    return coincurve.PrivateKey(private_key)


def _address_of(public: coincurve.PublicKey) -> str:
    return "0x" + keccak(public.format(compressed=False)[1:])[-20:].hex()


def address_of(private_key: bytes) -> str:
    """Lowercase address of a private key."""
    return _address_of(_key(private_key).public_key)


def sign(digest: bytes, private_key: bytes) -> bytes:
    """65 bytes `r ‖ s ‖ v` over the digest; deterministic (RFC 6979), `s` in the lower half, `v` 27 or 28."""
    compact = _key(private_key).sign_recoverable(bytes32(digest), hasher=None)
    return compact[:64] + bytes([compact[64] + _V_OFFSET])


# Order of secp256k1, halved: OpenZeppelin's ECDSA refuses the upper half, where each signature has a twin.
_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


def recover(digest: bytes, signature: bytes) -> str:
    """Lowercase address that signed the digest. Raises SignatureInvalid, also for the malleable twin."""
    if len(signature) != SIGNATURE_BYTES or signature[64] not in (_V_OFFSET, _V_OFFSET + 1):
        raise SignatureInvalid("a signature has 65 bytes and ends with 27 or 28")
    if int.from_bytes(signature[32:64], "big") > _HALF_ORDER:
        raise SignatureInvalid("s is in the upper half")
    bytes32(digest)
    compact = signature[:64] + bytes([signature[64] - _V_OFFSET])
    try:
        public = coincurve.PublicKey.from_signature_and_message(compact, digest, hasher=None)
    except ValueError as error:
        raise SignatureInvalid("no key signed this digest") from error
    return _address_of(public)
