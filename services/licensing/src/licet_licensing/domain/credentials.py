"""API keys and session tokens: their written form, and the hash under which they are stored.

An API key reads `licet_live_<secret>_<check>`:

- `secret`: 32 random bytes as one big-endian number in base 62, left-padded with `0` to 43 characters;
- `check`: CRC-32 (zlib, IEEE) of the ASCII bytes of everything before the last underscore, in base 62, left-padded
  with `0` to 6 characters. It lets a scanner or a gateway reject a mistyped key without asking anyone;
- base 62 counts `0-9`, then `A-Z`, then `a-z`.

A session token reads `licet_session_<secret>`, with the same 43 characters. Both are stored as the SHA-256 of their
ASCII bytes; 256 bits of randomness need no salt and no slow hash.
"""

from __future__ import annotations

import hashlib
import string
import zlib

from licet_licensing.domain.errors import CredentialInvalid

KEY_PREFIX = "licet_live_"
SESSION_PREFIX = "licet_session_"
SECRET_BYTES = 32
SECRET_CHARS = 43
CHECK_CHARS = 6
# Longer than any id, slug or hash that this platform makes.
MAX_ID_CHARS = 200
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase


def base62(number: int, width: int) -> str:
    """`number` in base 62, most significant digit first, left-padded with `0` to `width`."""
    digits: list[str] = []
    while number:
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits)).rjust(width, "0")


def _encode_secret(secret: bytes) -> str:
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes")
    return base62(int.from_bytes(secret, "big"), SECRET_CHARS)


def _check(body: str) -> str:
    return base62(zlib.crc32(body.encode("ascii")), CHECK_CHARS)


def format_api_key(secret: bytes) -> str:
    """The API key of 32 random bytes."""
    body = KEY_PREFIX + _encode_secret(secret)
    return f"{body}_{_check(body)}"


def format_session_token(secret: bytes) -> str:
    """The session token of 32 random bytes."""
    return SESSION_PREFIX + _encode_secret(secret)


def parse_api_key(text: str) -> bytes:
    """The SHA-256 hash under which a well-formed key is stored, 32 bytes.

    Raises `CredentialInvalid` when prefix, lengths, alphabet or check do not fit; says nothing about whether the key
    was ever issued.
    """
    body, _, check = text.rpartition("_")
    secret = body.removeprefix(KEY_PREFIX)
    if not body.startswith(KEY_PREFIX) or not _is_secret(secret) or check != _check(body):
        raise CredentialInvalid("the API key is malformed")
    return hash_token(text)


def parse_session_token(text: str) -> bytes:
    """The SHA-256 hash under which a well-formed session token is stored, 32 bytes; else `CredentialInvalid`."""
    if not text.startswith(SESSION_PREFIX) or not _is_secret(text.removeprefix(SESSION_PREFIX)):
        raise CredentialInvalid("the session token is malformed")
    return hash_token(text)


def _is_secret(text: str) -> bool:
    return len(text) == SECRET_CHARS and all(char in _ALPHABET for char in text)


def is_id(text: str) -> bool:
    """Whether a text from outside can name anything here; a database must not be asked about the rest."""
    return 0 < len(text) <= MAX_ID_CHARS and text.isascii() and text.isprintable()


def hash_token(text: str) -> bytes:
    """SHA-256 of the token's ASCII bytes."""
    return hashlib.sha256(text.encode("ascii")).digest()
