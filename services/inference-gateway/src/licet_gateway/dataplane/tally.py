"""What a call costs by what was handed over of its answer: in full, by share of bytes, by tokens told, or by time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from licet_gateway.dataplane.clock import SECOND, now_ns
from licet_gateway.domain import Measure


class Tally:
    """Units of one call whose request leaves now, never more than were held.

    Of a stream whose model counts tokens, marks say how much it has come to cost at which offset of all that its client
    was ever sent: the last mark whose bytes have left counts.
    """

    __slots__ = ("_begun_ns", "_clock", "_due", "_held", "_marks", "_measure", "_settled", "total")

    def __init__(self, measure: Measure, held: int, clock: Callable[[], int] = now_ns) -> None:
        self._measure = measure
        self._held = held
        self._clock = clock
        self._begun_ns = clock()
        self._marks: deque[tuple[int, int]] | None = None
        self._due = 0
        self._settled = False
        # What the whole answer costs, as far as it is known: tokens that nobody told are none.
        self.total = 0 if measure.of_tokens else held

    def mark(self, end: int, tokens: int) -> None:
        """The answer up to offset `end` has cost so many tokens; a lower number than before changes nothing."""
        if self._marks is None:
            self._marks = deque()
        self.total = max(self.total, min(tokens, self._held))
        self._marks.append((end, self.total))

    def settle(self, tokens: int | None) -> None:
        """The answer has come to its end; its `tokens`, if it is counted by them."""
        if tokens is not None:
            self.total = max(self.total, min(tokens, self._held))
        self.total = self.by_now()
        self._settled = True

    def by_now(self) -> int:
        """What the call costs if its answer, as far as it was sent, is all there is."""
        # Once the answer is here, it is the client that takes its time.
        if self._measure is not Measure.SECONDS or self._settled:
            return self.total
        begun = -(-(self._clock() - self._begun_ns) // SECOND)
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
