"""The client's side: a connection that serves streams, each by a handler that is chosen by its head."""

from __future__ import annotations

from typing import Final, Protocol

from licet_gateway.dataplane.clock import now_ns
from licet_gateway.dataplane.h2 import wire
from licet_gateway.dataplane.h2.connection import Connection
from licet_gateway.dataplane.h2.heads import HeadDecoder, RequestHead2, Trailers2, parse_request
from licet_gateway.dataplane.h2.limits import FRAME_MAX, HEADER_LIST_MAX, IDLE_NS, LAST_CALL_NS, Limits
from licet_gateway.dataplane.h2.output import Soon
from licet_gateway.dataplane.h2.stream import Stream
from licet_gateway.dataplane.h2.wire import PREFACE, Code, ConnectionFault, Setting

_LAST_CALL: Final = b"lastcall"


class StreamHandler(Protocol):
    """Who serves one client's stream."""

    def on_data(self, data: bytes) -> None:
        """Payload, in order, without padding."""

    def on_end(self) -> None:
        """The client has sent all."""

    def on_gone(self) -> None:
        """The client reset it, or the connection is lost: nothing more is framed. Told at most once, never after
        `on_finished`."""

    def on_drained(self) -> None:
        """What was buffered for it went down below the low-water mark."""

    def on_finished(self) -> None:
        """All of the answer is framed and `sent_at` is final. Told within `finish` where nothing is kept, and not at
        all for what `open` itself answered."""


class Handlers(Protocol):
    """Who makes handlers."""

    def open(self, stream: ServerStream, head: RequestHead2) -> StreamHandler: ...


class ServerStream(Stream):
    """One call of a client."""

    __slots__ = ("connection", "expected", "handler")

    connection: ServerConnection

    def __init__(self, connection: ServerConnection, stream_id: int, head: RequestHead2) -> None:
        super().__init__(connection, stream_id)
        self.connection = connection
        self.handler: StreamHandler | None = None
        # Bytes that a content-length still promises.
        self.expected = head.content_length

    def send_head(self, block: bytes) -> None:
        """Sends an encoded header block."""
        if not self.closed and self._end_block is None:
            self.connection.send_block(self, block, end=False)

    def finish(self, trailer_block: bytes) -> None:
        """Sends trailers behind all data. What the client still sends then is thrown away."""
        if self.closed or self._end_block is not None:
            return
        self._end_block = trailer_block
        if not self._queue:
            self._send_end()

    def refuse(self, block: bytes) -> None:
        """Sends a whole answer of one block."""
        self.finish(block)

    def _send_end(self) -> None:
        if self._end_block:
            self.connection.send_block(self, self._end_block, end=True)
            self.on_sent()
        else:
            super()._send_end()

    def on_sent(self) -> None:
        if not self.ended_there:
            # RFC 9113, section 8.1: the client may stop sending, its answer is whole.
            self.sent_at = self.connection.control(wire.rst_stream(self.id, Code.NO_ERROR))
        self.connection.forget(self)
        if self.handler is not None:
            self.handler.on_finished()

    def on_drained(self) -> None:
        if self.handler is not None:
            self.handler.on_drained()

    def lose(self, reason: str, *, refused: bool = False) -> None:
        if self.handler is not None:
            self.handler.on_gone()


class ServerConnection(Connection[ServerStream]):
    """Owns a client's socket. Subclass it to learn of `connection_made` and `connection_lost`."""

    __slots__ = ("_draining_ns", "_handlers", "_heads", "_last_call", "_preface_left", "_used_ns", "last_id")

    def __init__(self, handlers: Handlers, limits: Limits | None = None, soon: Soon | None = None) -> None:
        super().__init__(limits or Limits(), soon)
        self._handlers = handlers
        self._heads = HeadDecoder(parse_request)
        self._preface_left = PREFACE
        # The last stream that was taken.
        self.last_id = 0
        # Since when no more streams are wanted, and whether the client was told which was the last.
        self._draining_ns = 0
        self._last_call = False
        # When the last stream ended.
        self._used_ns = now_ns()

    def greet(self) -> None:
        settings = {
            Setting.MAX_CONCURRENT_STREAMS: self.limits.streams,
            Setting.INITIAL_WINDOW_SIZE: self.limits.stream_window,
            Setting.MAX_FRAME_SIZE: FRAME_MAX,
            Setting.MAX_HEADER_LIST_SIZE: HEADER_LIST_MAX,
        }
        self.control(wire.settings_frame(settings))
        if self.limits.connection_window > wire.WINDOW_DEFAULT:
            self.control(wire.window_update(0, self.limits.connection_window - wire.WINDOW_DEFAULT))

    def read(self, data: bytes) -> None:
        expected = self._preface_left
        if expected:
            size = min(len(expected), len(data))
            if data[:size] != expected[:size]:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "not the preface of HTTP/2")
            self._preface_left = expected[size:]
            data = data[size:]
        super().read(data)

    def shut_down(self) -> None:
        """Asks for no more streams (RFC 9113, section 6.8), then closes when those that came are done."""
        if self._draining_ns or self.closing:
            return
        self._draining_ns = now_ns()
        self.control(wire.goaway(wire.STREAM_ID_MAX, Code.NO_ERROR))
        self.control(wire.frame(wire.PING, 0, 0, _LAST_CALL))

    def sweep(self, now: int) -> None:
        super().sweep(now)
        if self.closing:
            return
        if self._draining_ns:
            if now - self._draining_ns > LAST_CALL_NS:
                self._say_last()
        elif not self.streams and now - self._used_ns > IDLE_NS:
            self.shut_down()

    # --- what the frames say

    def on_greeted(self) -> None:
        """Nothing waits for it: streams come behind it."""

    def on_block(self, stream_id: int, block: bytes, end: bool) -> None:
        head = self._heads.decode(block)
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._on_trailers(stream, head, end)
        elif not stream_id & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a client's stream has an odd number")
        elif stream_id > self.last_id:
            self._on_request(stream_id, head, end)
        elif stream_id not in self._dropped:
            raise ConnectionFault(Code.STREAM_CLOSED, "HEADERS on a stream that is over")

    def _on_request(self, stream_id: int, head: object, end: bool) -> None:
        self.last_id = stream_id
        if self._last_call:
            # It was sent before the client knew; it may try it elsewhere, as our GOAWAY says.
            self._drop_late(stream_id)
        elif not isinstance(head, RequestHead2) or (end and head.content_length):
            self.fault_stream(stream_id, Code.PROTOCOL_ERROR)
        elif len(self.streams) >= self.limits.streams:
            self.fault_stream(stream_id, Code.REFUSED_STREAM)
        else:
            self._open(stream_id, head, end)

    def _open(self, stream_id: int, head: RequestHead2, end: bool) -> None:
        stream = ServerStream(self, stream_id, head)
        stream.ended_there = end
        self.streams[stream_id] = stream
        stream.handler = handler = self._handlers.open(stream, head)
        self.idle_frames = 0
        if end and not stream.closed:
            handler.on_end()

    def _on_trailers(self, stream: ServerStream, head: object, end: bool) -> None:
        """What a client says behind its messages is not read; gRPC has nothing there."""
        if stream.ended_there:
            self.fault_stream(stream.id, Code.STREAM_CLOSED)
        elif not end or not isinstance(head, Trailers2) or stream.expected:
            self.fault_stream(stream.id, Code.PROTOCOL_ERROR)
        else:
            self._end(stream)

    def on_payload(self, stream: ServerStream, payload: bytes, end: bool) -> None:
        if stream.expected is not None:
            stream.expected -= len(payload)
            if stream.expected < 0 or (end and stream.expected):
                self.fault_stream(stream.id, Code.PROTOCOL_ERROR)
                return
        handler = stream.handler
        if handler is None:
            return
        if payload:
            handler.on_data(payload)
        if end and not stream.closed:
            self._end(stream)

    def _end(self, stream: ServerStream) -> None:
        stream.ended_there = True
        if stream.handler is not None:
            stream.handler.on_end()

    def on_goaway(self, last_id: int, code: int) -> None:
        """The client leaves; it closes when its streams are done."""

    def on_pong(self, payload: bytes) -> None:
        if payload == _LAST_CALL and self._draining_ns:
            self._say_last()

    def is_idle(self, stream_id: int) -> bool:
        return stream_id > self.last_id or not stream_id & 1

    # --- the end

    def last_id_there(self) -> int:
        return self.last_id

    def _say_last(self) -> None:
        if self._last_call:
            return
        self._last_call = True
        self.control(wire.goaway(self.last_id, Code.NO_ERROR))
        if not self.streams:
            self.finish()

    def on_empty(self) -> None:
        self._used_ns = now_ns()
        if self._last_call and not self.closing:
            self.finish()
