"""What a call costs by what was handed over of its answer: in full, by share of bytes, by tokens told, or by time."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from licet_gateway.domain import Measure

_SECOND: Final = 1_000_000_000


class Tally:
    """Units of one call, never more than were held.

    Of a stream whose model counts tokens, marks say how much it has come to cost at which offset of all that its client
    was ever sent: the last mark whose bytes have left counts.
    """

    __slots__ = ("_due", "_held", "_marks", "_measure", "_started_ns", "total")

    def __init__(self, measure: Measure, held: int, started_ns: int) -> None:
        self._measure = measure
        self._held = held
        self._started_ns = started_ns
        self._marks: deque[tuple[int, int]] | None = None
        self._due = 0
        # What the whole answer costs, as far as it is known.
        self.total = held

    def mark(self, end: int, tokens: int) -> None:
        """The answer up to offset `end` has cost so many tokens."""
        if self._marks is None:
            self._marks = deque()
        self.total = min(tokens, self._held)
        self._marks.append((end, self.total))

    def settle(self, tokens: int | None) -> None:
        """The answer has come to its end; its `tokens`, if it is counted by them."""
        if tokens is not None:
            self.total = min(tokens, self._held)
        elif self._measure is Measure.SECONDS:
            self.total = self.by_now()

    def by_now(self) -> int:
        """What the call costs if its answer, as far as it was sent, is all there is."""
        if self._measure is not Measure.SECONDS:
            return self.total
        begun = -(-(time.time_ns() - self._started_ns) // _SECOND)
        return min(max(1, begun), self._held)

    def part(self, offset: int, handed: int, size: int) -> int:
        """What a part costs: `handed` of `size` bytes, which ends at `offset` of all that the client was sent."""
        if self._marks is not None:
            while self._marks and self._marks[0][0] <= offset:
                self._due = self._marks.popleft()[1]
            return self._due
        if self._measure is Measure.SECONDS:
            return self.by_now()
        return -(-self.total * handed // size)
