"""TLS below a client's connection, with an exact account of which bytes of it have left for the socket.

The loop's own TLS says how much it holds back before encryption, and not what its socket still keeps: a caller would be
charged for what never left.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, cast

from licet_gateway.dataplane.acknowledged import PAYLOAD_OF
from licet_gateway.dataplane.clock import SECOND, now_ns
from licet_gateway.dataplane.refusals import TOO_MANY_CLIENTS

if TYPE_CHECKING:
    from licet_gateway.dataplane.plane import DataPlane

HANDSHAKE_TIMEOUT_NS: Final = 10 * SECOND
# A TLS record holds no more; a part of one cannot be read.
RECORD_MAX: Final = 16384
# Records on their way are looked through when there are more, so that they do not pile up.
MARKS_MAX: Final = 64


class TlsTransport(asyncio.Transport):
    """A transport of plaintext. What counts as having left is what the client can decrypt: whole records."""

    def __init__(self, raw: asyncio.Transport, context: ssl.SSLContext) -> None:
        super().__init__()
        self._raw = raw
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._closed = False
        # Bytes of plaintext written, those of them that have left, and bytes of ciphertext given to the socket.
        self._written = self._left = self._sealed = 0
        # Where each record that may not have left ends: in the ciphertext, in the plaintext.
        self._marks: deque[tuple[int, int]] = deque()

    # --- for the protocol below

    def feed(self, sealed: bytes) -> None:
        self._incoming.write(sealed)

    def read(self) -> tuple[bytes, bool]:
        """What can be decrypted, and whether the client has said that it sends no more. Raises ssl.SSLError."""
        parts = []
        ended = False
        try:
            while part := self.tls.read(RECORD_MAX):
                parts.append(part)
            ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        self.flush()
        return b"".join(parts), ended

    def flush(self) -> None:
        """Gives the socket what TLS has to say."""
        if sealed := self._outgoing.read():
            self._sealed += len(sealed)
            self._raw.write(sealed)

    # --- for the protocol above

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closed or self._raw.is_closing():
            return
        view = memoryview(data)
        for start in range(0, len(view), RECORD_MAX):
            record = view[start : start + RECORD_MAX]
            self.tls.write(record)
            self._written += len(record)
            self._marks.append((self._sealed + self._outgoing.pending, self._written))
        self.flush()
        if len(self._marks) > MARKS_MAX:
            self.get_write_buffer_size()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        """Bytes of plaintext that have not left; 0 also where the loop has dropped them after a failure."""
        waiting = self._raw.get_write_buffer_size()
        if not waiting and self._raw.is_closing():
            return 0
        left = self._sealed - waiting
        marks = self._marks
        while marks and marks[0][0] <= left:
            self._left = marks.popleft()[1]
        return self._written - self._left

    def payload_of(self, sealed: int) -> int:
        """Bytes of plaintext in so many bytes of ciphertext, or that are known to have left."""
        payload = self._left
        for end, written in self._marks:
            if end > sealed:
                break
            payload = written
        return payload

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.payload_of if name == PAYLOAD_OF else self._raw.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)

    def pause_reading(self) -> None:
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._raw.resume_reading()

    def is_closing(self) -> bool:
        return self._closed or self._raw.is_closing()

    def close(self) -> None:
        """Says that this is the end, behind all that was written."""
        if self._closed:
            return
        self._closed = True
        if not self._raw.is_closing():
            # It waits for the client's own end, which nobody needs.
            with contextlib.suppress(ssl.SSLError):
                self.tls.unwrap()
            self.flush()
        self._raw.close()

    def abort(self) -> None:
        self._closed = True
        self._raw.abort()


class TlsConnection(asyncio.Protocol):
    """Shakes hands, then hands the connection to the protocol inside. Until then it is one of the plane's clients."""

    __slots__ = ("_context", "_inside", "_make", "_plane", "_protocol", "_raw", "_since_ns", "_transport")

    _raw: asyncio.Transport
    _transport: TlsTransport

    def __init__(
        self,
        plane: DataPlane,
        context: ssl.SSLContext,
        make: Callable[[], asyncio.Protocol],
        *,
        protocol: str = "",
    ) -> None:
        """`protocol`: what must be agreed on by ALPN; empty where a client need not."""
        self._plane = plane
        self._context = context
        self._make = make
        self._protocol = protocol
        self._inside: asyncio.Protocol | None = None
        self._since_ns = now_ns()

    # --- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do everything of asyncio.Transport without being one.
        self._raw = cast(asyncio.Transport, transport)
        self._transport = TlsTransport(self._raw, self._context)
        if len(self._plane.connections) >= self._plane.client_connections:
            # Words cost a handshake.
            self._plane.counters.refused(TOO_MANY_CLIENTS.code)
            self._raw.abort()
            return
        self._plane.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._plane.connections.discard(self)
        if self._inside is not None:
            self._inside.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        transport.feed(data)
        try:
            if self._inside is None and not self._shake_hands():
                return
            payload, ended = transport.read()
        except ssl.SSLError:
            # The alert that says why; whoever breaks TLS has left.
            transport.flush()
            self._end()
            return
        inside = self._inside
        if payload and inside is not None:
            inside.data_received(payload)
        if ended:
            self._end()

    def eof_received(self) -> bool:
        if self._inside is not None and not self._transport.is_closing():
            self._inside.eof_received()
        return False

    def pause_writing(self) -> None:
        if self._inside is not None:
            self._inside.pause_writing()

    def resume_writing(self) -> None:
        if self._inside is not None:
            self._inside.resume_writing()

    # --- what the plane tells, before there is anybody inside

    def sweep(self, now: int) -> None:
        if now - self._since_ns > HANDSHAKE_TIMEOUT_NS:
            self._raw.abort()

    def close_if_idle(self) -> None:
        self._raw.close()

    def abort(self) -> None:
        self._raw.abort()

    # --- inside

    def _end(self) -> None:
        if self._inside is not None and not self._transport.is_closing():
            self._inside.eof_received()
        self._transport.close()

    def _shake_hands(self) -> bool:
        """Whether it is done, and somebody serves the connection. Raises ssl.SSLError."""
        tls = self._transport.tls
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            self._transport.flush()
            return False
        self._transport.flush()
        if self._protocol and tls.selected_alpn_protocol() != self._protocol:
            self._transport.close()
            return False
        self._plane.connections.discard(self)
        self._inside = self._make()
        self._inside.connection_made(self._transport)
        return True
