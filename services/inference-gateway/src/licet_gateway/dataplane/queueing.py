"""Calls that wait for a connection to one replica: each account in its turn, each call for a bounded time.

Whoever would wait longer than that is told at once, by what the queue has lately measured: a caller who comes back in a
second is served better than one who waits two and is then sent away.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final, Generic, TypeVar

Waiting = TypeVar("Waiting")

# Of each new interval between two turns, this share enters the measured one.
_SMOOTHING: Final = 8
# Intervals that must be measured before anybody is sent away by them: connections that are being made, and a loop that
# is busy with a burst, look slow for a few turns.
_TURNS_KNOWN: Final = 8


class FairQueue(Generic[Waiting]):
    """Serves accounts round-robin, and the calls of one account in order. Times are nanoseconds of one clock."""

    __slots__ = (
        "_callers",
        "_interval_ns",
        "_length",
        "_lines",
        "_measured",
        "_per_caller",
        "_turn_ns",
        "_turns",
        "_wait_ns",
    )

    def __init__(self, *, wait_ns: int, length: int, per_caller: int) -> None:
        self._wait_ns = wait_ns
        self._length = length
        self._per_caller = per_caller
        self._callers: dict[Waiting, str] = {}
        # By caller: who waits, and until when.
        self._lines: dict[str, OrderedDict[Waiting, int]] = {}
        self._turns: deque[str] = deque()
        # Between two turns of a queue that did not run empty meanwhile; 0 where that is not known.
        self._interval_ns = 0
        # How many of them it is the mean of.
        self._measured = 0
        self._turn_ns = 0

    def __len__(self) -> int:
        return len(self._callers)

    def add(self, waiting: Waiting, caller: str, now: int) -> bool:
        """Takes its place; false where there is none, or where its turn would come too late."""
        if not self._callers:
            if now - self._turn_ns > self._wait_ns:
                self._interval_ns = self._measured = 0
            self._turn_ns = 0
        line = self._lines.get(caller)
        own = len(line) if line is not None else 0
        if len(self._callers) >= self._length or own >= self._per_caller or self._too_late(own):
            return False
        if line is None:
            line = self._lines[caller] = OrderedDict()
            self._turns.append(caller)
        line[waiting] = now + self._wait_ns
        self._callers[waiting] = caller
        return True

    def pop(self, now: int) -> Waiting:
        """Whose turn it is. Raises IndexError where nobody waits."""
        caller = self._turns.popleft()
        line = self._lines[caller]
        waiting, _ = line.popitem(last=False)
        del self._callers[waiting]
        if line:
            self._turns.append(caller)
        else:
            del self._lines[caller]
        if self._turn_ns:
            taken = now - self._turn_ns
            known = self._interval_ns
            self._measured += 1
            self._interval_ns = known + (taken - known) // _SMOOTHING if known else taken
        self._turn_ns = now
        return waiting

    def remove(self, waiting: Waiting) -> None:
        """It waits no longer; nothing where it did not."""
        caller = self._callers.pop(waiting, None)
        if caller is None:
            return
        line = self._lines[caller]
        del line[waiting]
        if not line:
            del self._lines[caller]
            self._turns.remove(caller)

    def take_expired(self, now: int) -> list[Waiting]:
        """Those whose time is over, removed."""
        late = []
        for line in self._lines.values():
            for waiting, until_ns in line.items():
                if now < until_ns:
                    break
                late.append(waiting)
        for waiting in late:
            self.remove(waiting)
        return late

    def take_all(self) -> list[Waiting]:
        """Everyone, removed."""
        everyone = list(self._callers)
        self._callers.clear()
        self._lines.clear()
        self._turns.clear()
        return everyone

    def _too_late(self, own: int) -> bool:
        """Whether a caller with `own` calls in line would wait too long for one more: no more turns than that many
        rounds have are before it."""
        if self._measured < _TURNS_KNOWN:
            return False
        before = min(len(self._callers), (own + 1) * len(self._lines))
        return before * self._interval_ns > self._wait_ns
