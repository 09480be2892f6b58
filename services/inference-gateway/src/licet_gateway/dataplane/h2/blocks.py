"""Header blocks of our own, encoded without a dynamic table: a block is the same bytes on every connection."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from hpack.table import HeaderTable

Fields = tuple[tuple[bytes, bytes], ...]

_STATIC: Final[dict[tuple[bytes, bytes], int]] = {
    (bytes(name), bytes(value)): index for index, (name, value) in enumerate(HeaderTable.STATIC_TABLE, 1)
}
_STATIC_NAMES: Final[dict[bytes, int]] = {
    bytes(name): len(HeaderTable.STATIC_TABLE) - behind
    for behind, (name, _) in enumerate(reversed(HeaderTable.STATIC_TABLE))
}
# Printable ASCII but for the percent sign stands for itself in grpc-message.
_PLAIN: Final = frozenset(range(0x20, 0x7F)) - {0x25}
# Says that the table is not used (RFC 7541, section 6.3): due after the other side made it smaller.
TABLE_EMPTY: Final = b"\x20"


def encode_fields(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Indexed where the static table has the whole field, a literal without indexing otherwise (RFC 7541, 6.2.2)."""
    return b"".join(map(_encode_field, fields))


def _encode_field(field: tuple[bytes, bytes]) -> bytes:
    index = _STATIC.get(field)
    if index is not None:
        return _integer(index, 7, 0x80)
    name, value = field
    index = _STATIC_NAMES.get(name, 0)
    head = _integer(index, 4, 0) if index else b"\0" + _integer(len(name), 7, 0) + name
    return head + _integer(len(value), 7, 0) + value


def _integer(value: int, bits: int, pattern: int) -> bytes:
    """RFC 7541, section 5.1."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes((pattern | value,))
    encoded = bytearray((pattern | limit,))
    value -= limit
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_RESPONSE: Final = ((b":status", b"200"), (b"content-type", b"application/grpc"))
RESPONSE_HEAD: Final = encode_fields(_RESPONSE)
_OK: Final = encode_fields(((b"grpc-status", b"0"),))


def response_head(extra: Fields = ()) -> bytes:
    """The head of an answer, before its messages."""
    return RESPONSE_HEAD + encode_fields(extra) if extra else RESPONSE_HEAD


def trailers(status: int, message: str = "", extra: Fields = ()) -> bytes:
    """What ends an answer that has a head."""
    if not status and not message:
        return _OK + encode_fields(extra) if extra else _OK
    return _status(status, message) + encode_fields(extra)


def trailers_only(status: int, message: str = "", extra: Fields = ()) -> bytes:
    """A whole answer in one block, for a refusal."""
    return RESPONSE_HEAD + trailers(status, message, extra)


@lru_cache(maxsize=256)
def _status(status: int, message: str) -> bytes:
    fields = [(b"grpc-status", b"%d" % status)]
    if message:
        fields.append((b"grpc-message", percent_encode(message)))
    return encode_fields(fields)


def percent_encode(message: str) -> bytes:
    """As gRPC asks for it: UTF-8, with everything that is not printable ASCII as %XX."""
    return b"".join(
        bytes((byte,)) if byte in _PLAIN else b"%%%02X" % byte for byte in message.encode("utf-8", "replace")
    )


@lru_cache(maxsize=1024)
def _request(authority: bytes, path: bytes) -> bytes:
    return encode_fields(
        (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path),
            (b":authority", authority),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        )
    )


def request_head(authority: bytes, path: bytes, extra: Fields = ()) -> bytes:
    """The head of a call to Triton."""
    head = _request(authority, path)
    return head + encode_fields(extra) if extra else head


_UNITS_NS: Final = {
    b"H": 3_600_000_000_000,
    b"M": 60_000_000_000,
    b"S": 1_000_000_000,
    b"m": 1_000_000,
    b"u": 1_000,
    b"n": 1,
}


def timeout_ns(value: bytes) -> int | None:
    """What `grpc-timeout` allows, None where it cannot be read: at most eight digits and a unit."""
    unit = _UNITS_NS.get(value[-1:])
    digits = value[:-1]
    if unit is None or not 1 <= len(digits) <= 8 or not digits.isdigit():
        return None
    return int(digits) * unit
