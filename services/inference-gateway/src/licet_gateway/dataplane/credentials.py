"""From a request's headers to a credential: forged keys are refused here, without asking anyone."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping
from typing import Final

from licet_gateway.dataplane.refusals import CREDENTIAL_INVALID, CREDENTIAL_MISSING
from licet_gateway.domain import Credential, Refusal

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_API_KEY: Final = re.compile(rb"(licet_live_[0-9A-Za-z]{43})_([0-9A-Za-z]{6})")
_SESSION: Final = re.compile(rb"licet_session_[0-9A-Za-z]{43}")
_BEARER: Final = re.compile(rb"[Bb]earer +([\x21-\x7e]+)")


def read_credential(fields: Mapping[bytes, bytes]) -> Credential | Refusal:
    """The credential that the headers carry. A key whose check digits are wrong is refused at once."""
    bare = fields.get(b"x-api-key")
    authorization = fields.get(b"authorization")
    if authorization is None:
        return CREDENTIAL_MISSING if bare is None else _credential_of(bare)
    bearer = _BEARER.fullmatch(authorization)
    # Two credentials that differ leave open who calls.
    if bearer is None or bare not in (None, bearer.group(1)):
        return CREDENTIAL_INVALID
    return _credential_of(bearer.group(1))


def _credential_of(key: bytes) -> Credential | Refusal:
    match = _API_KEY.fullmatch(key)
    if match is not None:
        if _base62(zlib.crc32(match.group(1))) != match.group(2):
            return CREDENTIAL_INVALID
        return Credential(api_key_hash=hashlib.sha256(key).digest())
    if _SESSION.fullmatch(key) is not None:
        return Credential(session=key.decode())
    return CREDENTIAL_INVALID


def _base62(number: int) -> bytes:
    digits = []
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits)).encode()
