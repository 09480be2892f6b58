"""Triton's side: a connection that carries the streams of many clients. One client's reset ends one stream of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from licet_gateway.dataplane.h2 import wire
from licet_gateway.dataplane.h2.connection import Connection
from licet_gateway.dataplane.h2.heads import HeadDecoder, ResponseHead2, parse_response
from licet_gateway.dataplane.h2.limits import FRAME_MAX, HEADER_LIST_MAX, Limits
from licet_gateway.dataplane.h2.output import Soon
from licet_gateway.dataplane.h2.stream import Stream
from licet_gateway.dataplane.h2.wire import PREFACE, Code, ConnectionFault, Setting

# Streams of many clients share it: what one of them does not take must not hold up the others.
UPSTREAM_LIMITS: Final = Limits(streams=1_000, paused_streams_count=False)
_NO_FIELDS: Final[Mapping[bytes, bytes]] = {}


class UpstreamHandler(Protocol):
    """Who sent the request of a stream, and gets its answer."""

    def on_head(self, fields: Mapping[bytes, bytes]) -> None:
        """The head, with its `:status`; interim ones are passed over."""

    def on_data(self, data: bytes) -> None: ...

    def on_trailers(self, fields: Mapping[bytes, bytes]) -> None:
        """The answer is complete; where it has one block alone, this is all that is told. Empty where the stream just
        ended, which gRPC calls an error."""

    def on_lost(self, reason: str, *, refused: bool) -> None:
        """There is no more to come. `refused`: the server surely did not begin with it, and it may be tried again."""

    def on_drained(self) -> None:
        """What was buffered for it went down below the low-water mark."""


class UpstreamStream(Stream):
    """One call to Triton."""

    __slots__ = ("_begun_at", "channel", "handler", "headed")

    channel: UpstreamChannel

    def __init__(self, channel: UpstreamChannel, stream_id: int, handler: UpstreamHandler) -> None:
        super().__init__(channel, stream_id)
        self.channel = channel
        self.handler = handler
        # Whether the answer's head came.
        self.headed = False
        # Where its first frame begins in what the channel writes.
        self._begun_at = channel.written

    def on_sent(self) -> None:
        """The request is framed whole; its answer is still to come."""

    def on_drained(self) -> None:
        self.handler.on_drained()

    def lose(self, reason: str, *, refused: bool = False) -> None:
        # What the transport was never given cannot have arrived.
        unsent = self.channel.closing and self._begun_at >= self.channel.flushed
        self.handler.on_lost(reason, refused=refused or unsent)


class UpstreamChannel(Connection[UpstreamStream]):
    """Owns one socket to Triton. `on_change` is told when there may be room for a stream, and when it takes no more."""

    __slots__ = ("_heads", "_last_id", "_next_id", "_on_change", "_streams_max", "draining")

    def __init__(
        self,
        on_change: Callable[[UpstreamChannel], None] = lambda _: None,
        limits: Limits = UPSTREAM_LIMITS,
        soon: Soon | None = None,
    ) -> None:
        super().__init__(limits, soon)
        self._heads = HeadDecoder(parse_response)
        self._next_id = 1
        # What the other side allows at a time.
        self._streams_max = limits.streams
        # Whether it takes no more streams.
        self.draining = False
        self._on_change = on_change

    @property
    def room(self) -> bool:
        """Whether a stream may be opened now."""
        return (
            self.greeted and not self.draining and not self.closing and len(self.streams) < self._streams_max
        )

    def open(self, handler: UpstreamHandler, block: bytes) -> UpstreamStream | None:
        """Begins a call with an encoded head; None where there is no room for it."""
        if not self.room:
            return None
        stream = UpstreamStream(self, self._next_id, handler)
        self.streams[self._next_id] = stream
        self._next_id += 2
        if self._next_id > wire.STREAM_ID_MAX:
            self.draining = True
        self.idle_frames = 0
        self.send_block(stream, block, end=False)
        return stream

    def drain(self) -> None:
        """Takes no more streams, and closes when the last has ended."""
        self.draining = True
        if not self.streams and not self.closing:
            self.finish()

    def abort(self) -> None:
        """Ends it with all its streams."""
        self.draining = self.closing = True
        self.cut()
        self.leave("the gateway is stopping")

    def greet(self) -> None:
        settings = {
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: self.limits.stream_window,
            Setting.MAX_FRAME_SIZE: FRAME_MAX,
            Setting.MAX_HEADER_LIST_SIZE: HEADER_LIST_MAX,
        }
        self.control(PREFACE + wire.settings_frame(settings))
        if self.limits.connection_window > wire.WINDOW_DEFAULT:
            self.control(wire.window_update(0, self.limits.connection_window - wire.WINDOW_DEFAULT))

    # --- what the frames say

    def on_greeted(self) -> None:
        self._on_change(self)

    def on_setting(self, name: int, value: int) -> None:
        if name == Setting.MAX_CONCURRENT_STREAMS:
            self._streams_max = min(value, self.limits.streams)
        elif name == Setting.ENABLE_PUSH and value:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a server cannot ask for pushes")
        else:
            super().on_setting(name, value)

    def on_block(self, stream_id: int, block: bytes, end: bool) -> None:
        head = self._heads.decode(block)
        stream = self.streams.get(stream_id)
        if stream is None or stream.ended_there:
            self._on_stray(stream_id, "HEADERS")
        elif not isinstance(head, ResponseHead2) or not self._in_place(stream, head, end):
            self.fault_stream(stream_id, Code.PROTOCOL_ERROR)
        elif end:
            self._end(stream, head.fields)
        elif head.status is not None and head.status >= 200:
            stream.headed = True
            stream.handler.on_head(head.fields)

    @staticmethod
    def _in_place(stream: UpstreamStream, head: ResponseHead2, end: bool) -> bool:
        """A head has a status and comes once; trailers have none and end the stream."""
        return (head.status is None and end) if stream.headed else head.status is not None

    def on_payload(self, stream: UpstreamStream, payload: bytes, end: bool) -> None:
        if not stream.headed:
            self.fault_stream(stream.id, Code.PROTOCOL_ERROR)
            return
        if payload:
            stream.handler.on_data(payload)
        if end and not stream.closed:
            self._end(stream, _NO_FIELDS)

    def _end(self, stream: UpstreamStream, fields: Mapping[bytes, bytes]) -> None:
        stream.ended_there = True
        if stream.sends:
            # The answer is whole before the request is: the rest of it is of no use.
            self.control(wire.rst_stream(stream.id, Code.NO_ERROR))
        self.forget(stream)
        stream.handler.on_trailers(fields)

    def on_goaway(self, last_id: int, code: int) -> None:
        self.draining = True
        for stream in [stream for stream in self.streams.values() if stream.id > last_id]:
            # What is on its way for it is late, not wrong: its end is no frame.
            stream.gone = True
            self.forget(stream)
            stream.lose(f"the inference server takes no more calls ({code})", refused=True)
        self._on_change(self)
        if not self.streams and not self.closing:
            self.finish()

    def on_pong(self, payload: bytes) -> None:
        """We send no PING: Triton would take many for abuse."""

    def is_idle(self, stream_id: int) -> bool:
        return stream_id >= self._next_id or not stream_id & 1

    # --- the end

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._on_change(self)

    def last_id_there(self) -> int:
        return 0

    def on_empty(self) -> None:
        if self.draining and not self.closing:
            self.finish()

    def forget(self, stream: Stream) -> None:
        super().forget(stream)
        self._on_change(self)

    def count_reset(self) -> None:
        """A server that resets streams is not abused by us, and abuses nobody."""
