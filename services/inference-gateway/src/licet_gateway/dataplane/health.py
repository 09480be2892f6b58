"""How one replica has answered lately: whether it takes connections, and whether it is left out for a while.

A replica whose answers break is *ejected* for a growing, bounded time. One that takes no connection is *refusing*: it
is probed by one connection at a time, at growing intervals, and no call waits for it. Each worker finds out by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from licet_gateway.dataplane.clock import MS, SECOND

# Failures without a success between them that eject.
ROW_MAX: Final = 5
# Or: this share of the results of the last one to two WINDOW_NS, of at least so many failures.
WINDOW_NS: Final = 10 * SECOND
WINDOW_FAILURES: Final = 10
EJECTED_NS: Final = 5 * SECOND
EJECTED_MAX_NS: Final = 60 * SECOND
# Behaving for so long since the last time, it starts from EJECTED_NS again.
FORGIVEN_NS: Final = 60 * SECOND
PROBE_NS: Final = 100 * MS
PROBE_MAX_NS: Final = 5 * SECOND


class Health:
    """`may_eject` is asked before. `usable`, `row` and `good` are plain: a healthy call costs next to nothing."""

    __slots__ = (
        "_bad",
        "_before",
        "_ejections",
        "_may_eject",
        "_probe_ns",
        "_probe_wait_ns",
        "_returned_ns",
        "_window_ns",
        "ejected_until_ns",
        "good",
        "refusing",
        "row",
        "usable",
    )

    def __init__(self, may_eject: Callable[[], bool]) -> None:
        self._may_eject = may_eject
        self.usable = True
        self.refusing = False
        self.ejected_until_ns = 0
        # Failures in a row, and successes of the current window; a success sets and counts them itself.
        self.row = 0
        self.good = 0
        self._bad = 0
        # Successes and failures of the window before.
        self._before = (0, 0)
        self._window_ns = 0
        self._ejections = 0
        self._returned_ns = 0
        self._probe_ns = 0
        self._probe_wait_ns = PROBE_NS

    def failed(self, now: int, *, late: bool = False) -> None:
        """An answer broke, or (`late`) did not come. A model may be slow by itself, on every replica: being late counts
        only where nothing else succeeds."""
        self.row += 1
        if not late:
            self._bad += 1
        if not self.ejected_until_ns and (self.row >= ROW_MAX or self._mostly_fails()) and self._may_eject():
            self._ejections += 1
            out_ns = min(EJECTED_NS << min(self._ejections - 1, 16), EJECTED_MAX_NS)
            self.ejected_until_ns = now + out_ns
            self.usable = False
            self._forget()

    def refused(self, now: int) -> None:
        """It took no connection."""
        self._probe_wait_ns = min(self._probe_wait_ns * 2, PROBE_MAX_NS) if self.refusing else PROBE_NS
        self._probe_ns = now + self._probe_wait_ns
        self.refusing = True
        self.usable = False

    def connected(self) -> None:
        """It took one."""
        if self.refusing:
            self.refusing = False
            self.usable = not self.ejected_until_ns

    def probe_due(self, now: int) -> bool:
        return self.refusing and now >= self._probe_ns

    def sweep(self, now: int) -> None:
        """Lets it in again when its time is over; one more failure then puts it out for longer."""
        if self.ejected_until_ns and now >= self.ejected_until_ns:
            self.ejected_until_ns = 0
            self.usable = not self.refusing
            self.row = ROW_MAX - 1
            self._returned_ns = now
        elif self._ejections and not self.ejected_until_ns and now - self._returned_ns >= FORGIVEN_NS:
            self._ejections = 0
        if now - self._window_ns >= WINDOW_NS:
            self._before = (self.good, self._bad)
            self.good = self._bad = 0
            self._window_ns = now

    def _mostly_fails(self) -> bool:
        bad = self._bad + self._before[1]
        return bad >= WINDOW_FAILURES and bad >= self.good + self._before[0]

    def _forget(self) -> None:
        self.row = self.good = self._bad = 0
        self._before = (0, 0)
