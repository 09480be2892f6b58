"""What one connection may take: sizes, counts and times, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from licet_gateway.dataplane.clock import SECOND, now_ns

KIB: Final = 1024
MIB: Final = 1024 * KIB
# What one frame may hold that we take: fewer frames for a large tensor, and no more than this waits for its end.
FRAME_MAX: Final = 64 * KIB
# And that we send, whatever the other side would take: other streams wait behind a frame.
SEND_FRAME_MAX: Final = 64 * KIB
# Fields of one head as RFC 9113 counts them (name, value, 32), and the encoded bytes that can hold them.
HEADER_LIST_MAX: Final = 16 * KIB
BLOCK_MAX: Final = 16 * KIB
CONTINUATIONS_MAX: Final = 8
# Bytes that wait for the socket before streams keep what they have to send.
WRITE_HIGH_WATER: Final = 256 * KIB
# A stream that buffered more tells its owner when no more than this is left.
LOW_WATER: Final = 64 * KIB
# Ids of streams that we ended and the other side did not: what it still sent for them is no fault.
DROPPED_MAX: Final = 1024

GREETING_NS: Final = 10 * SECOND
HALF_BLOCK_NS: Final = 10 * SECOND
HALF_FRAME_NS: Final = 30 * SECOND
STALL_NS: Final = 30 * SECOND
IDLE_NS: Final = 600 * SECOND
# Between the two GOAWAYs of a graceful end, where the other side does not answer our PING.
LAST_CALL_NS: Final = 1 * SECOND


@dataclass(frozen=True, slots=True)
class Limits:
    """What differs from one side to the other, and what tests make small."""

    stream_window: int = 4 * MIB
    connection_window: int = 16 * MIB
    streams: int = 256
    # Whether what a paused stream was sent stays taken from the connection's window too. It bounds what all streams of
    # one client can make us hold; where one connection serves many clients, none may hold up the others.
    paused_streams_count: bool = True


class Burst:
    """At most `limit` events in `span_ns`, counted from the first of them."""

    __slots__ = ("_count", "_limit", "_since_ns", "_span_ns")

    def __init__(self, limit: int, span_ns: int) -> None:
        self._limit = limit
        self._span_ns = span_ns
        self._count = self._since_ns = 0

    def exceeded(self) -> bool:
        """Counts one more."""
        self._count += 1
        if self._count == 1:
            self._since_ns = now_ns()
        elif self._count > self._limit:
            if now_ns() - self._since_ns < self._span_ns:
                return True
            self._count = 0
        return False

    def forgive(self) -> None:
        self._count = 0
