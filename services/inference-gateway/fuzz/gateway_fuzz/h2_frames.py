"""HTTP/2 as others read it: frames put together and taken apart without the gateway's code."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import hpack

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x4, 0x8, 0x20
Headers = list[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload


def frames_of(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and payload of every whole frame."""
    at = 0
    while at + 9 <= len(data):
        size = int.from_bytes(data[at : at + 3], "big")
        kind, flags, stream_id = struct.unpack_from(">BBI", data, at + 3)
        if at + 9 + size > len(data):
            return
        yield kind, flags, stream_id & 0x7FFF_FFFF, data[at + 9 : at + 9 + size]
        at += 9 + size


@dataclass
class Heard:
    """What one side said on one stream."""

    blocks: list[Headers] = field(default_factory=list)
    data: bytes = b""
    ended: bool = False
    reset: bool = False

    def field(self, name: bytes) -> bytes | None:
        """Of the first block that has it; repeated ones are joined by commas."""
        for block in self.blocks:
            found = [value for given, value in block if given == name]
            if found:
                return b",".join(found)
        return None


@dataclass
class Side:
    """What one side said on all streams, as far as it can be read."""

    streams: dict[int, Heard] = field(default_factory=dict)
    goaways: list[int] = field(default_factory=list)
    # Why it cannot be read to its end.
    fault: str = ""


def side_of(data: bytes) -> Side:
    """Takes everything that has any meaning; whether it was allowed is not asked."""
    reader = _SideReader()
    for each in frames_of(data):
        reader.take(*each)
        if reader.side.fault:
            break
    return reader.side


class _SideReader:
    """One side's table, and the block that is not whole."""

    def __init__(self) -> None:
        self.side = Side()
        # As many fields as a peer may say, and more than the gateway takes.
        self._decoder = hpack.Decoder(max_header_list_size=1 << 24)
        self._block, self._block_of, self._block_ends = b"", 0, False

    def take(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        heard = self.side.streams.setdefault(stream_id, Heard())
        said = _unpadded(kind, flags, payload) if kind in (DATA, HEADERS) else payload
        if said is None:
            self.side.fault = "padding"
        elif kind == DATA:
            heard.data += said
            heard.ended |= bool(flags & END_STREAM)
        elif kind in (HEADERS, CONTINUATION):
            if kind == HEADERS:
                self._block, self._block_of, self._block_ends = b"", stream_id, bool(flags & END_STREAM)
            self._block += said
            if flags & END_HEADERS:
                self._decode()
        elif kind == RST_STREAM:
            heard.reset = True
        elif kind == GOAWAY:
            self.side.goaways.append(int.from_bytes(said[4:8], "big"))

    def _decode(self) -> None:
        try:
            fields = self._decoder.decode(self._block, raw=True)
        except hpack.HPACKError as error:
            self.side.fault = f"hpack: {error}"
            return
        heard = self.side.streams.setdefault(self._block_of, Heard())
        heard.blocks.append([(bytes(name), bytes(value)) for name, value in fields])
        heard.ended |= self._block_ends
        self._block = b""


def _unpadded(kind: int, flags: int, payload: bytes) -> bytes | None:
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            return None
        start, end = 1, end - payload[0]
    if kind == HEADERS and flags & PRIORITIZED:
        start += 5
    return payload[start:end] if start <= end else None


def messages_of(data: bytes) -> list[bytes]:
    """The whole gRPC messages in a stream's data, up to the first that is compressed or none."""
    found, at = [], 0
    while at + 5 <= len(data) and data[at] == 0:
        size = int.from_bytes(data[at + 1 : at + 5], "big")
        if at + 5 + size > len(data):
            break
        found.append(data[at + 5 : at + 5 + size])
        at += 5 + size
    return found
