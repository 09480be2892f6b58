"""API keys and replica keys of the tests."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass

from licet_schemas import eip712

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHAIN_ID = 31337
ESCROW = "0x00000000000000000000000000000000000000ee"
OPERATOR_KEY = bytes.fromhex("11" * 32)
REPLICA_KEY = bytes.fromhex("22" * 32)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as licensing would have issued it."""

    text: str

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.text.encode()).digest()

    @property
    def header(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.text}"}


def api_key(number: int) -> ApiKey:
    """The key with this secret."""
    body = f"licet_live_{_base62(number, 43)}"
    return ApiKey(f"{body}_{_base62(zlib.crc32(body.encode()), 6)}")


def certificates() -> str:
    """GATEWAY_REPLICA_CERTIFICATES for REPLICA_KEY, signed by OPERATOR_KEY."""
    certificate = eip712.ReplicaCertificate(
        operator="0x00000000000000000000000000000000000000dd",
        replica=eip712.address_of(REPLICA_KEY),
        valid_from=0,
        valid_until=2**40,
    )
    domain = eip712.domain_separator(CHAIN_ID, ESCROW)
    signature = eip712.sign(eip712.certificate_digest(domain, certificate), OPERATOR_KEY)
    entry = {
        "chain_id": CHAIN_ID,
        "escrow": ESCROW,
        "operator": certificate.operator,
        "replica": certificate.replica,
        "valid_from": certificate.valid_from,
        "valid_until": certificate.valid_until,
        "signature": "0x" + signature.hex(),
    }
    return json.dumps([entry])


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
