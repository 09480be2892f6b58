"""What clients have sent over gRPC of messages that nobody has acted on yet: bounded in bytes and in time.

A call's message has to be whole before its units are known. Whoever sends beginnings of large messages, and no ends, is
not known to anybody at that time.
"""

from __future__ import annotations

from typing import Final

from licet_gateway.dataplane.clock import SECOND, now_ns
from licet_gateway.dataplane.h2.messages import RESOURCE_EXHAUSTED, MessageError, MessageReader

INVALID_ARGUMENT: Final = 3
# Whole messages of the largest size that a worker keeps at a time.
KEPT_MESSAGES: Final = 8
# Between two parts of a message, and for all of it.
SILENCE_NS: Final = 30 * SECOND
LONGEST_NS: Final = 120 * SECOND


class Keeping:
    """Bytes that are kept, over all connections of a worker."""

    __slots__ = ("_most", "kept")

    def __init__(self, most: int) -> None:
        self._most = most
        self.kept = 0

    def change(self, by: int) -> None:
        """More is kept, or less. Raises MessageError where there is no room for more, and counts it nevertheless: who
        is refused gives back all that it kept."""
        self.kept += by
        if by > 0 and self.kept > self._most:
            raise MessageError(RESOURCE_EXHAUSTED, "the gateway keeps too many unfinished messages")


class OneMessage:
    """The one message of a unary call, as it comes. `drop` it where the call does not come about."""

    __slots__ = ("_begun_ns", "_heard_ns", "_keeping", "_kept", "_messages", "_reader")

    def __init__(self, max_size: int, keeping: Keeping) -> None:
        self._reader = MessageReader(max_size)
        self._messages: list[bytes] = []
        self._keeping = keeping
        self._kept = 0
        self._begun_ns = self._heard_ns = now_ns()

    def add(self, data: bytes) -> None:
        """Raises MessageError: there is a second message, or no room."""
        self._heard_ns = now_ns()
        self._kept += len(data)
        self._keeping.change(len(data))
        self._messages += self._reader.feed(data)
        if len(self._messages) > 1 or (self._messages and self._reader.held):
            raise MessageError(INVALID_ARGUMENT, "a call has one message")

    def take(self) -> bytes:
        """The message, at the end of the client's side. Raises MessageError where it is not whole."""
        self.drop()
        if len(self._messages) != 1 or self._reader.held:
            raise MessageError(INVALID_ARGUMENT, "a call has one message")
        return self._messages[0]

    def drop(self) -> None:
        kept, self._kept = self._kept, 0
        self._keeping.change(-kept)

    def overdue(self, now: int) -> bool:
        """Whether it takes too long; not once it was taken or dropped."""
        return bool(self._kept) and (now - self._heard_ns > SILENCE_NS or now - self._begun_ns > LONGEST_NS)
