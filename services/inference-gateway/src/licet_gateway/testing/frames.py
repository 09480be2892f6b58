"""A transport that keeps what is written, and what of it says in frames: connections without a socket and a loop."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from licet_gateway.dataplane.h2 import blocks, wire
from licet_gateway.dataplane.h2.heads import RequestHead2
from licet_gateway.dataplane.h2.limits import Limits
from licet_gateway.dataplane.h2.server import ServerConnection, ServerStream

GREETING = wire.PREFACE + wire.settings_frame({}) + wire.frame(wire.SETTINGS, wire.ACK, 0)


REQUEST = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/s/M"),
    (b":authority", b"gateway"),
    (b"te", b"trailers"),
)
HEAD = blocks.encode_fields(REQUEST)
ALL = wire.END_HEADERS | wire.END_STREAM
TRAILERS = blocks.trailers(0)


def head(stream_id: int = 1, *extra: tuple[bytes, bytes], flags: int = wire.END_HEADERS) -> bytes:
    return wire.frame(wire.HEADERS, flags, stream_id, HEAD + blocks.encode_fields(extra))


def data(payload: bytes, stream_id: int = 1, flags: int = 0) -> bytes:
    return wire.frame(wire.DATA, flags, stream_id, payload)


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


class Frame(NamedTuple):
    """One frame as it was written."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes


def frames(data: bytes | bytearray) -> list[Frame]:
    """All frames of it; it ends with a whole one."""
    found, at = [], 0
    while at < len(data):
        high, low, kind, flags, stream_id = wire.FRAME_HEAD.unpack_from(data, at)
        end = at + wire.FRAME_HEAD_SIZE + (high << 8 | low)
        assert end <= len(data)
        found.append(Frame(kind, flags, stream_id, bytes(data[at + wire.FRAME_HEAD_SIZE : end])))
        at = end
    return found


class KeptTransport(asyncio.Transport):
    """Takes all that is written at once, or holds it where `holds` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.held = b""
        self.holds = False
        self.closed = self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.holds:
            self.held += bytes(data)
        else:
            self.sent += data

    def writelines(self, list_of_data: object) -> None:
        assert isinstance(list_of_data, list)
        self.write(b"".join(list_of_data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The test decides when it is full."""

    def get_write_buffer_size(self) -> int:
        return len(self.held)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True
        self.held = b""

    def get_extra_info(self, name: str, default: object = None) -> object:
        """There is no socket: `fileno` of it fails as that of a lost one."""
        return _Lost()


class _Lost:
    def fileno(self) -> int:
        raise OSError

    def getsockopt(self, *_: int) -> bytes:
        raise OSError


@dataclass
class Turns:
    """Stands for the loop: what is to be called soon is called when the test turns it."""

    waiting: list[Callable[[], None]] = field(default_factory=list)

    def soon(self, call: Callable[[], None]) -> None:
        self.waiting.append(call)

    def turn(self) -> None:
        """Until nothing is left to be called; bounded, so that two that call each other are found."""
        for _ in range(10_000):
            if not self.waiting:
                return
            self.waiting.pop(0)()
        raise AssertionError("it never comes to rest")


@dataclass
class Heard:
    """A stream's handler that keeps what it is told."""

    stream: ServerStream
    head: RequestHead2
    told: list[str] = field(default_factory=list)
    body: bytes = b""

    def on_data(self, data: bytes) -> None:
        self.body += data

    def on_end(self) -> None:
        self.told.append("end")

    def on_gone(self) -> None:
        self.told.append("gone")

    def on_drained(self) -> None:
        self.told.append("drained")

    def on_finished(self) -> None:
        self.told.append("finished")


class Served:
    """A client's connection, from the other side of its transport."""

    def __init__(self, limits: Limits | None = None, greeting: bytes = GREETING) -> None:
        self.turns = Turns()
        self.transport = KeptTransport()
        self.calls: list[Heard] = []
        self.connection = ServerConnection(self, limits, self.turns.soon)
        self.connection.connection_made(self.transport)
        self.turns.turn()
        self._seen = len(self.transport.sent)
        if greeting:
            self.feed(greeting)
            self.took()

    def open(self, stream: ServerStream, head: RequestHead2) -> Heard:
        call = Heard(stream, head)
        self.calls.append(call)
        return call

    def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.connection.data_received(piece)
            self.turns.turn()

    def took(self) -> list[Frame]:
        """What was sent since it was asked last."""
        self.turns.turn()
        new = self.transport.sent[self._seen :]
        self._seen += len(new)
        return frames(new)

    def sees(self, kind: int) -> list[Frame]:
        return [frame for frame in self.took() if frame.kind == kind]

    def closed(self) -> bool:
        return self.transport.closed

    def aborted(self) -> bool:
        return self.transport.aborted

    def fault(self) -> tuple[int, str] | None:
        """The code and the text with which the connection was ended, if it was."""
        for frame in reversed(frames(self.transport.sent)):
            if frame.kind == wire.GOAWAY and self.transport.closed:
                return wire.read_u32(frame.payload, 4), frame.payload[8:].decode()
        return None
