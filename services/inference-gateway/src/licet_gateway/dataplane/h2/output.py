"""What a connection writes: everything of one turn of the loop at once, and no more than the socket takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from licet_gateway.dataplane.acknowledged import acknowledged_bytes, stop_sending
from licet_gateway.dataplane.clock import now_ns
from licet_gateway.dataplane.h2.limits import WRITE_HIGH_WATER
from licet_gateway.dataplane.h2.wire import FRAME_SIZE_DEFAULT, WINDOW_DEFAULT

if TYPE_CHECKING:
    from licet_gateway.dataplane.h2.stream import Stream

# Has a function called in the next turn of the loop.
Soon = Callable[[Callable[[], None]], object]


class Output(asyncio.Protocol):
    """The sending half. Frames gather in `out`; streams that could not send all take turns, frame by frame."""

    __slots__ = (
        "_ready",
        "_scheduled",
        "_soon",
        "_transport",
        "flushed",
        "frame_max",
        "full",
        "full_ns",
        "gone",
        "handed_before",
        "idle_frames",
        "out",
        "peer_window",
        "send_left",
        "written",
    )

    _transport: asyncio.Transport

    def __init__(self, soon: Soon | None = None) -> None:
        self._soon: Soon = soon or asyncio.get_running_loop().call_soon
        self.out: list[bytes | memoryview] = []
        # Bytes framed, of which so many were given to the transport, and of those so many had left when it ended.
        self.written = self.flushed = self.handed_before = 0
        # Whether nothing more will leave.
        self.gone = False
        self._scheduled = False
        # Whether the socket does not take more, and since when.
        self.full, self.full_ns = False, 0
        # What the other side lets us send: on all streams, on a new stream, in a frame.
        self.send_left = self.peer_window = WINDOW_DEFAULT
        self.frame_max = FRAME_SIZE_DEFAULT
        # Streams that have data and window; a dict, for its order.
        self._ready: dict[Stream, None] = {}
        # Frames since the last that moved a message.
        self.idle_frames = 0

    # --- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do everything of asyncio.Transport without being one.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)

    def pause_writing(self) -> None:
        self.full, self.full_ns = True, now_ns()

    def resume_writing(self) -> None:
        self.full = False
        self.pump()

    # --- what streams tell

    def takes(self, size: int) -> bool:
        """Whether a frame of this size may be sent now."""
        return (
            size <= self.send_left
            and size <= self.frame_max
            and not self.full
            and self.written - self.flushed < WRITE_HIGH_WATER
        )

    def wrote(self, size: int) -> int:
        """So much was put into `out`; where that ends in all that was written."""
        self.written += size
        if not self._scheduled:
            self._scheduled = True
            self._soon(self.flush)
        return self.written

    def control(self, frame: bytes) -> int:
        """Sends a frame that no window holds back."""
        self.out.append(frame)
        self.written += len(frame)
        if not self._scheduled:
            self._scheduled = True
            self._soon(self.flush)
        return self.written

    def sends_more(self, stream: Stream) -> None:
        """The stream keeps data: it takes its turn when there is room."""
        if stream.sendable():
            self._ready[stream] = None
            if not self._scheduled and self.send_left > 0 and not self.full:
                self._scheduled = True
                self._soon(self.flush)

    # --- sending

    def flush(self) -> None:
        """Gives the transport what was framed, and frames more of what waits."""
        self._scheduled = False
        if self._ready:
            self.pump()
        self._scheduled = False
        out, self.out = self.out, []
        if not out or self._transport.is_closing():
            return
        size, self.flushed = self.written - self.flushed, self.written
        if size <= WRITE_HIGH_WATER:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
        else:
            self._transport.writelines(out)
        if self._ready and not self.full and self.send_left > 0:
            self._scheduled = True
            self._soon(self.flush)

    def pump(self) -> None:
        """Lets the streams that wait send, a frame each in turn, while the socket takes it."""
        ready = self._ready
        while ready and self.send_left > 0 and not self.full:
            if self.written - self.flushed >= WRITE_HIGH_WATER:
                break
            stream = next(iter(ready))
            del ready[stream]
            if stream.sendable() and stream.push():
                ready[stream] = None

    def handed(self) -> int:
        """Bytes of those written that have left for the socket."""
        if not self.gone and not self.ending:
            self.handed_before = self.flushed - self._transport.get_write_buffer_size()
        return self.handed_before

    @property
    def ending(self) -> bool:
        """Whether all that was given has left, or was dropped after a failure: `connection_lost` is about to tell."""
        return self._transport.is_closing() and not self._transport.get_write_buffer_size()

    def cut(self) -> None:
        """Ends the connection at once; what the socket has not taken never arrives."""
        if self.gone:
            return
        acknowledged = acknowledged_bytes(self._transport) if self.ending else 0
        stop_sending(self._transport)
        self.handed_before, self.gone = max(self.handed(), min(acknowledged, self.flushed)), True
        self.out.clear()
        self._transport.abort()

    def close_transport(self) -> None:
        """Closes after what was framed so far."""
        self.flush()
        self._transport.close()

    def lost(self, exc: Exception | None) -> None:
        """Settles what had left of a connection that is no more."""
        if not self.gone:
            # After a failure the loop has dropped what it held, and forgotten how much that was.
            took = self.flushed if exc is None else min(acknowledged_bytes(self._transport), self.flushed)
            self.handed_before, self.gone = max(self.handed_before, took), True
        self.out.clear()
        self._ready.clear()
