"""What frames are made of (RFC 9113): kinds, flags, codes, and the few frames that are built from parts."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Length (16 + 8 bits), kind, flags, stream.
FRAME_HEAD: Final = struct.Struct(">HBBBI")
FRAME_HEAD_SIZE: Final = 9
STREAM_MASK: Final = 0x7FFF_FFFF
STREAM_ID_MAX: Final = 0x7FFF_FFFF
WINDOW_MAX: Final = 0x7FFF_FFFF
WINDOW_DEFAULT: Final = 65_535
FRAME_SIZE_DEFAULT: Final = 16_384
FRAME_SIZE_MAX: Final = 0xFF_FFFF
HEADER_TABLE_DEFAULT: Final = 4_096

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITIZED: Final = 0x20

_U32: Final = struct.Struct(">I")
_SETTING: Final = struct.Struct(">HI")


class Code(IntEnum):
    """Why a stream or a connection ends (RFC 9113, section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Setting(IntEnum):
    """What one side tells the other of itself (RFC 9113, section 6.5.2)."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ConnectionFault(Exception):
    """The other side broke a rule of the whole connection; `text` goes out with the GOAWAY."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return FRAME_HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream_id) + payload


def settings_frame(values: dict[Setting, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in values.items()))


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, _U32.pack(increment))


def rst_stream(stream_id: int, code: int) -> bytes:
    return frame(RST_STREAM, 0, stream_id, _U32.pack(code))


def goaway(last_id: int, code: int, text: str = "") -> bytes:
    return frame(GOAWAY, 0, 0, _U32.pack(last_id) + _U32.pack(code) + text.encode())


def read_u32(payload: bytes, at: int = 0) -> int:
    value: int = _U32.unpack_from(payload, at)[0]
    return value


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """In the order in which they came, which is the order in which they count."""
    if len(payload) % _SETTING.size:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, "SETTINGS of a wrong length")
    return list(_SETTING.iter_unpack(payload))


def header_frames(stream_id: int, block: bytes, *, end: bool, frame_max: int) -> bytes:
    """A block that is longer than a frame may be: a HEADERS frame and CONTINUATION frames behind it."""
    flags = END_STREAM if end else 0
    pieces = [block[at : at + frame_max] for at in range(0, len(block), frame_max)]
    frames = [frame(HEADERS, flags, stream_id, pieces[0])]
    frames += [frame(CONTINUATION, 0, stream_id, piece) for piece in pieces[1:-1]]
    frames.append(frame(CONTINUATION, END_HEADERS, stream_id, pieces[-1]))
    return b"".join(frames)


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload of a HEADERS frame without padding and without priority, which nobody here reads."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a padded frame without its padding length")
        start, end = 1, end - payload[0]
    if flags & PRIORITIZED:
        start += 5
    if start > end:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "a frame shorter than its padding")
    return payload[start:end] if start or end != len(payload) else payload
