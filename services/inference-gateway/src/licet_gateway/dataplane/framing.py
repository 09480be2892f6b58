"""Message bodies, read incrementally and without I/O: by length, by chunks, or until the connection ends."""

from __future__ import annotations

import enum
import re
from typing import Final, Protocol

from licet_gateway.dataplane.http import HttpError

# Longest chunk-size line (with its extensions) and longest trailer section: nobody needs either.
LINE_MAX: Final = 256
TRAILER_MAX: Final = 4096

_NAME: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
# RFC 9112, section 7.1.1: what is no extension may be a chunk's end or its data to somebody else.
_SIZE_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,8})(?:[\t ]*;[\t ]*%s(?:[\t ]*=[\t ]*(?:%s|%s))?)*" % (_NAME, _NAME, _QUOTED)
)
# Framing behind the body (RFC 9110, section 6.5.1, forbids it) is an attempt to have it read in two ways.
_TRAILER_LINE: Final = re.compile(
    rb"(?!(?i:content-length|transfer-encoding):)%s:[\t\x20-\x7e\x80-\xff]*" % _NAME
)


class BodyDecoder(Protocol):
    """Takes the bytes of one body in any split; gives its payload, and what lies behind the body."""

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Payload in `data`, and, once the body is complete, the bytes behind it (None before)."""
        ...


class LengthDecoder:
    """A body of a known number of bytes."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        size = len(data)
        if size < self._left:
            self._left -= size
            return data, None
        left, self._left = self._left, 0
        return (data, b"") if size == left else (data[:left], data[left:])


class EndlessDecoder:
    """A body that ends with its connection."""

    __slots__ = ()

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        return data, None


class _State(enum.Enum):
    SIZE = enum.auto()
    DATA = enum.auto()
    DATA_END = enum.auto()
    TRAILER = enum.auto()


class ChunkedDecoder:
    """A chunked body. Extensions and trailers are checked, bounded and dropped. Errors carry `status`."""

    __slots__ = ("_held", "_left", "_state", "_status", "_trailer")

    def __init__(self, status: int = 400) -> None:
        self._state = _State.SIZE
        self._held = b""
        self._left = 0
        self._trailer = 0
        self._status = status

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        if self._held:
            data, self._held = self._held + data, b""
        pieces: list[bytes] = []
        at = 0
        while True:
            if self._state is _State.DATA:
                taken = data[at : at + self._left]
                pieces.append(taken)
                at += len(taken)
                self._left -= len(taken)
                if self._left:
                    return b"".join(pieces), None
                self._state = _State.DATA_END
            end = data.find(b"\r\n", at, at + LINE_MAX)
            if end < 0:
                self._hold(data, at)
                return b"".join(pieces), None
            line, at = data[at:end], end + 2
            if self._finish_line(line):
                return b"".join(pieces), data[at:]

    def _hold(self, data: bytes, at: int) -> None:
        held = data[at:]
        if len(held) >= LINE_MAX or (self._state is _State.DATA_END and held not in (b"", b"\r")):
            raise HttpError(self._status, "a chunk of the body is malformed")
        self._held = held

    def _finish_line(self, line: bytes) -> bool:
        """Acts on one line; true at the end of the body."""
        match self._state:
            case _State.SIZE:
                size = _SIZE_LINE.fullmatch(line)
                if size is None:
                    raise HttpError(self._status, "a chunk size of the body is malformed")
                self._left = int(size.group(1), 16)
                self._state = _State.DATA if self._left else _State.TRAILER
            case _State.DATA_END:
                if line:
                    raise HttpError(self._status, "a chunk of the body is longer than it says")
                self._state = _State.SIZE
            case _:
                return self._finish_trailer(line)
        return False

    def _finish_trailer(self, line: bytes) -> bool:
        if not line:
            return True
        self._trailer += len(line)
        if _TRAILER_LINE.fullmatch(line) is None or self._trailer > TRAILER_MAX:
            raise HttpError(self._status, "the trailer of the body is malformed")
        return False
