"""The streams of a connection: how they end, one by one or all together, and what time ends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from licet_gateway.dataplane.clock import SECOND, now_ns
from licet_gateway.dataplane.h2 import wire
from licet_gateway.dataplane.h2.blocks import TABLE_EMPTY
from licet_gateway.dataplane.h2.header_block import HeaderBlock
from licet_gateway.dataplane.h2.limits import (
    DROPPED_MAX,
    GREETING_NS,
    HALF_BLOCK_NS,
    HALF_FRAME_NS,
    STALL_NS,
    Burst,
    Limits,
)
from licet_gateway.dataplane.h2.output import Output, Soon
from licet_gateway.dataplane.h2.stream import Stream
from licet_gateway.dataplane.h2.wire import (
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    HEADERS,
    Code,
    ConnectionFault,
)

S = TypeVar("S", bound=Stream)

# Streams that the other side reset, or broke so that we did: beginning and dropping them costs it nothing and us work.
RESETS_MAX: Final = 1_000
RESETS_SPAN_NS: Final = 10 * SECOND
ALL_FLAGS: Final = END_HEADERS | END_STREAM


class Session(Output, Generic[S]):
    """What both directions need of the streams and of the clock."""

    __slots__ = (
        "_block",
        "_dropped",
        "_farewell_ns",
        "_held",
        "_held_ns",
        "_made_ns",
        "_owed",
        "_read_ns",
        "_recv_left",
        "_resets",
        "_settings_acked",
        "_table_update",
        "closing",
        "greeted",
        "limits",
        "streams",
    )

    def __init__(self, limits: Limits, soon: Soon | None = None) -> None:
        super().__init__(soon)
        self.limits = limits
        self.streams: dict[int, S] = {}
        # Streams that we ended and the other side did not, as far as remembered.
        self._dropped: dict[int, None] = {}
        self._resets = Burst(RESETS_MAX, RESETS_SPAN_NS)
        self._block = HeaderBlock()
        # The beginning of a frame, and since when it waits for the rest.
        self._held, self._held_ns = b"", 0
        self._made_ns = self._read_ns = now_ns()
        # When the last thing was said to a connection that ends.
        self._farewell_ns = 0
        self._recv_left = limits.connection_window
        self._owed = 0
        # Whether the first SETTINGS came, and whether ours were acknowledged.
        self.greeted = self._settings_acked = False
        # Whether the next header block must say that our table is empty.
        self._table_update = False
        # Nothing that comes is read any more.
        self.closing = False

    # --- windows and heads

    def credit(self, size: int) -> None:
        """These bytes of the connection's window are free again; the other side is told when they are half of it."""
        self._owed += size
        if self._owed * 2 >= self.limits.connection_window and not self.closing:
            self.control(wire.window_update(0, self._owed))
            self._recv_left += self._owed
            self._owed = 0

    def send_block(self, stream: Stream, block: bytes, *, end: bool) -> None:
        """Sends a head or trailers."""
        if self._table_update:
            self._table_update = False
            block = TABLE_EMPTY + block
        size = len(block)
        if size <= self.frame_max:
            flags = ALL_FLAGS if end else END_HEADERS
            head = FRAME_HEAD.pack(size >> 8, size & 0xFF, HEADERS, flags, stream.id)
            stream.sent_at = self.control(head + block)
        else:
            stream.sent_at = self.control(
                wire.header_frames(stream.id, block, end=end, frame_max=self.frame_max)
            )

    # --- one stream ends

    def forget(self, stream: Stream) -> None:
        """It is over. What the other side still sends on it is late, not wrong."""
        if self.streams.pop(stream.id, None) is None:
            return
        if not stream.ended_there:
            self._drop_late(stream.id)
        stream.drop()
        if not self.streams:
            self.on_empty()

    def reset_stream(self, stream: Stream, code: int) -> None:
        """We end it; its handler knows."""
        self.control(wire.rst_stream(stream.id, code))
        self.forget(stream)

    def fault_stream(self, stream_id: int, code: Code) -> None:
        """The other side broke a rule of one stream. Raises ConnectionFault where that goes on and on."""
        self.control(wire.rst_stream(stream_id, code))
        stream = self.streams.get(stream_id)
        if stream is None:
            self._drop_late(stream_id)
        else:
            self.forget(stream)
            stream.gone = True
            stream.lose(f"the stream broke a rule of HTTP/2 ({code.name})")
        self.count_reset()

    def on_reset(self, stream: S, code: int) -> None:
        """The other side ended it."""
        stream.ended_there = stream.gone = True
        self.forget(stream)
        stream.lose(f"the stream was reset ({code})", refused=code == Code.REFUSED_STREAM)
        self.count_reset()

    def count_reset(self) -> None:
        if self._resets.exceeded():
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many streams were reset")

    def _drop_late(self, stream_id: int) -> None:
        self._dropped[stream_id] = None
        if len(self._dropped) > DROPPED_MAX:
            del self._dropped[next(iter(self._dropped))]

    # --- the connection ends

    def fail(self, code: Code, text: str) -> None:
        """Says why and closes. What was framed and not handed over is dropped: nobody would be charged for it."""
        if self.closing:
            return
        self.closing = True
        self._farewell_ns = now_ns()
        if self._transport.get_write_buffer_size():
            self.cut()
        elif not self._transport.is_closing():
            self.handed_before, self.gone = self.flushed, True
            self.out.clear()
            self._transport.write(wire.goaway(self.last_id_there(), code, text))
            self._transport.close()
        self.leave(text)

    def finish(self) -> None:
        """Closes after what was framed; no stream is open."""
        self.closing = True
        self._farewell_ns = now_ns()
        self.close_transport()

    def leave(self, reason: str) -> None:
        """Every stream is lost."""
        streams = list(self.streams.values())
        self.streams.clear()
        self._ready.clear()
        for stream in streams:
            stream.drop()
            stream.gone = True
        for stream in streams:
            stream.lose(reason)

    # --- time

    def sweep(self, now: int) -> None:
        """Ends what stalls: a greeting, half a frame, half a header block, a window or a socket that takes nothing."""
        if self.full and now - self.full_ns > STALL_NS:
            self.closing = True
            self.cut()
            self.leave("the other side stopped reading")
        elif self.closing:
            if now - self._farewell_ns > STALL_NS:
                # It does not take what it is still owed, which a close waits for.
                self.cut()
                self._transport.abort()
        elif not (self.greeted and self._settings_acked) and now - self._made_ns > GREETING_NS:
            self.fail(Code.SETTINGS_TIMEOUT, "no SETTINGS in time")
        elif self._block.stream_id and now - self._block.begun_ns > HALF_BLOCK_NS:
            self.fail(Code.PROTOCOL_ERROR, "half a header block")
        elif self._held and now - self._held_ns > HALF_FRAME_NS:
            self.fail(Code.PROTOCOL_ERROR, "half a frame")
        else:
            self._sweep_streams(self._stalled(now))

    def _stalled(self, now: int) -> list[S]:
        return [
            stream for stream in self.streams.values() if stream.waits and now - stream.stalled_ns > STALL_NS
        ]

    def _sweep_streams(self, stalled: Iterable[S]) -> None:
        for stream in stalled:
            if not stream.closed:
                self.control(wire.rst_stream(stream.id, Code.CANCEL))
                self.forget(stream)
                stream.gone = True
                stream.lose("the other side granted no window")

    # --- what a side says

    def last_id_there(self) -> int:
        """The last stream that the other side began and we took."""
        raise NotImplementedError

    def on_empty(self) -> None:
        """No stream is open any more."""
        raise NotImplementedError
