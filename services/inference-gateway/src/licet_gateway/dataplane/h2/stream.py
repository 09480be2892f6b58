"""One stream of a connection: what waits to be sent on it, and both of its windows."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from licet_gateway.dataplane.clock import now_ns
from licet_gateway.dataplane.h2.limits import LOW_WATER
from licet_gateway.dataplane.h2.wire import DATA, END_STREAM, FRAME_HEAD, FRAME_HEAD_SIZE, Code, window_update

if TYPE_CHECKING:
    from licet_gateway.dataplane.h2.session import Session

# Marks an end that is a flag on the last DATA frame.
BARE_END: Final = b""


class Stream:
    """What both sides have in common. `end_block` is what ends it: trailers, or BARE_END."""

    __slots__ = (
        "_at",
        "_connection",
        "_end_block",
        "_queue",
        "buffered",
        "closed",
        "ended_there",
        "gone",
        "id",
        "kept",
        "owed",
        "paused",
        "recv_left",
        "send_left",
        "sent_at",
        "stalled_ns",
        "told_full",
    )

    def __init__(self, connection: Session[Any], stream_id: int) -> None:
        self._connection = connection
        self.id = stream_id
        self.send_left = connection.peer_window
        self.recv_left = connection.limits.stream_window
        # Received bytes that are not granted again: to the stream, and those that are kept from the connection too.
        self.owed = self.kept = 0
        self.paused = False
        self._queue: deque[memoryview] = deque()
        # Where the first of the queue is to be cut next.
        self._at = 0
        self._end_block: bytes | None = None
        # Bytes accepted and not framed: what waits for a window or for the socket.
        self.buffered = 0
        self.told_full = False
        # Offset in what the connection wrote at which the frames of this stream end, so far.
        self.sent_at = 0
        # Whether the other side has ended it, and whether it is over: gone where the other side, or a loss, ended it.
        self.ended_there = self.closed = self.gone = False
        # When something last moved while data waits.
        self.stalled_ns = 0

    # --- to be sent

    def send_data(self, data: bytes, end: bool = False) -> None:
        """Sends what the windows allow and keeps the rest."""
        if self.closed or self._end_block is not None:
            return
        size = len(data)
        connection = self._connection
        if not self._queue and size <= self.send_left and connection.takes(size):
            if size or end:
                self._frame(data, size, END_STREAM if end else 0)
            if end:
                self._end_block = BARE_END
                self.on_sent()
            return
        if end:
            self._end_block = BARE_END
        if size:
            self._keep(data, size)
        elif end and not self._queue:
            self._send_end()

    def push(self) -> bool:
        """Sends one frame of what is kept; whether more of it could go now."""
        connection, first = self._connection, self._queue[0]
        size = min(len(first) - self._at, self.send_left, connection.send_left, connection.frame_max)
        if size <= 0:
            return False
        piece = first[self._at : self._at + size]
        self._at += size
        if self._at == len(first):
            self._queue.popleft()
            self._at = 0
        last = not self._queue
        self.buffered -= size
        self.stalled_ns = now_ns()
        bare_end = last and self._end_block == BARE_END
        self._frame(piece, size, END_STREAM if bare_end else 0)
        if bare_end:
            self.on_sent()
            return False
        if last and self._end_block is not None:
            self._send_end()
            return False
        if self.told_full and self.buffered <= LOW_WATER:
            self.told_full = False
            self.on_drained()
        return bool(self._queue) and self.send_left > 0

    def sendable(self) -> bool:
        return bool(self._queue) and self.send_left > 0

    @property
    def waits(self) -> bool:
        """Whether something of it is kept."""
        return bool(self._queue)

    @property
    def sends(self) -> bool:
        """Whether something may still be sent on it, or waits for it."""
        return bool(self._queue) or self._end_block is None

    def widen(self, increment: int) -> None:
        self.send_left += increment
        if self._queue and self.send_left > 0:
            self._connection.sends_more(self)

    def _frame(self, data: bytes | memoryview, size: int, flags: int) -> None:
        connection = self._connection
        frame_head = FRAME_HEAD.pack(size >> 8, size & 0xFF, DATA, flags, self.id)
        connection.out.append(frame_head)
        if size:
            connection.out.append(data)
            self.send_left -= size
            connection.send_left -= size
        connection.idle_frames = 0
        self.sent_at = connection.wrote(FRAME_HEAD_SIZE + size)

    def _keep(self, data: bytes, size: int) -> None:
        if not self._queue:
            self.stalled_ns = now_ns()
        self._queue.append(memoryview(data))
        self.buffered += size
        if self.buffered > LOW_WATER:
            self.told_full = True
        self._connection.sends_more(self)

    def _send_end(self) -> None:
        """Sends what comes behind all data."""
        if self._end_block == BARE_END:
            self._frame(b"", 0, END_STREAM)
        self.on_sent()

    # --- received

    def received(self, size: int, *, more: bool) -> None:
        """Accounts for a DATA frame that was handed on."""
        connection = self._connection
        if self.closed:
            connection.credit(size)
            return
        self.owed += size
        if not self.paused:
            connection.credit(size)
            if more:
                self._grant()
        elif connection.limits.paused_streams_count:
            self.kept += size
        else:
            connection.credit(size)

    def pause(self) -> None:
        """Grants the other side no more than it has: at most a window of it still comes."""
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        if self.closed:
            return
        kept, self.kept = self.kept, 0
        self._connection.credit(kept)
        if not self.ended_there:
            self._grant()

    def _grant(self) -> None:
        if self.owed * 2 >= self._connection.limits.stream_window:
            self.recv_left += self.owed
            self._connection.control(window_update(self.id, self.owed))
            self.owed = 0

    # --- its end

    def drop(self) -> None:
        """Forgets what waits; the connection has forgotten the stream."""
        self.closed = True
        self._queue.clear()
        self.buffered = 0
        if self.kept:
            self._connection.credit(self.kept)
            self.kept = 0

    def reset(self, code: int = Code.CANCEL) -> None:
        """Ends it at once, in both directions; its handler hears no more."""
        if not self.closed:
            self._connection.reset_stream(self, code)

    # --- what the sides make of it

    def on_sent(self) -> None:
        """All of it is framed."""
        raise NotImplementedError

    def on_drained(self) -> None:
        raise NotImplementedError

    def lose(self, reason: str, *, refused: bool = False) -> None:
        """Tells its handler that the other side, or the connection, ended it."""
        raise NotImplementedError
