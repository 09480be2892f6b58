"""As much of protobuf's wire format as messages of KServe's gRPC need."""

from __future__ import annotations

from typing import Final

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES: Final = 10


class Malformed(ValueError):
    """The bytes are no message, or not of this kind."""


def varint(value: int) -> bytes:
    """A whole number; a negative one takes ten bytes, as protobuf has it."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, body: bytes) -> bytes:
    """A field of text, bytes or a message."""
    if number < 16 and len(body) < 0x80:
        return bytes((number << 3 | BYTES, len(body))) + body
    return varint(number << 3 | BYTES) + varint(len(body)) + body


def read_varint(buffer: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place after it."""
    value = shift = 0
    for _ in range(_MAX_VARINT_BYTES):
        if at >= len(buffer):
            break
        byte = buffer[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & ((1 << 64) - 1), at
        shift += 7
    raise Malformed("a number without an end")


def read_field(buffer: bytes, at: int, end: int) -> tuple[int, int, int, int, int]:
    """The field at a place: its number, its wire type, where its value begins and ends, and its value if a varint.

    The value of any other type is 0. Raises Malformed where it reaches beyond `end`.
    """
    tag, at = (buffer[at], at + 1) if buffer[at] < 0x80 else read_varint(buffer, at)
    kind, value, begin = tag & 7, 0, at
    if kind == BYTES:
        size, begin = read_varint(buffer, at)
        after = begin + size
    elif kind == VARINT:
        value, after = read_varint(buffer, at)
    elif kind in (FIXED32, FIXED64):
        after = at + (4 if kind == FIXED32 else 8)
    else:
        raise Malformed(f"wire type {kind}")
    if after > end:
        raise Malformed("a field reaches beyond its message")
    return tag >> 3, kind, begin, after, value


def signed32(value: int) -> int:
    """The int32 that a varint stands for."""
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value
