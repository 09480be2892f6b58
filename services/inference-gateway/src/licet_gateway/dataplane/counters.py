"""A worker's figures in a small mapped file: the worker counts by one addition, the supervisor reads beside it.

The file also carries the worker's state (heartbeat, readiness), so that health needs no channel of its own.
"""

from __future__ import annotations

import enum
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from licet_gateway.domain import REFUSAL_STATUS, Outcome

FILE_NAME: Final = "counters"
DURATION_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BOUNDS_NS: Final = tuple(int(bound * 1e9) for bound in DURATION_BOUNDS_S)
_CODES: Final = (*REFUSAL_STATUS, "other")
_OUTCOMES: Final = tuple(Outcome)

_HEARTBEAT: Final = 0
_READY: Final = 1
_CONNECTIONS: Final = 2
_CALLS_RUNNING: Final = 3
_UNITS: Final = 4
_BYTES_IN: Final = 5
_BYTES_OUT: Final = 6
_REVOKED: Final = 7
_DURATION_SUM: Final = 8
_EVENTS: Final = 9


class Event(enum.IntEnum):
    """What is merely counted."""

    EJECTION = 0
    RETRY = 1
    SHED = 2
    HELD = 3


_DURATIONS: Final = _EVENTS + len(Event)
_CODES_AT: Final = _DURATIONS + len(_BOUNDS_NS) + 1
_OUTCOMES_AT: Final = _CODES_AT + len(_CODES)
_SLOTS: Final = _OUTCOMES_AT + len(_OUTCOMES)

_CODE_SLOT: Final = {code: _CODES_AT + i for i, code in enumerate(_CODES)}
_OUTCOME_SLOT: Final = {outcome: _OUTCOMES_AT + i for i, outcome in enumerate(_OUTCOMES)}


class Counters:
    """The writing side."""

    def __init__(self, folder: Path) -> None:
        with (folder / FILE_NAME).open("w+b") as file:
            os.posix_fallocate(file.fileno(), 0, _SLOTS * 8)
            self._map = mmap.mmap(file.fileno(), _SLOTS * 8)
        self._slots = memoryview(self._map).cast("Q")

    def refused(self, code: str) -> None:
        self._slots[_CODE_SLOT.get(code, _CODE_SLOT["other"])] += 1

    def finished(self, outcome: Outcome, units: int, bytes_in: int, bytes_out: int, duration_ns: int) -> None:
        slots = self._slots
        slots[_OUTCOME_SLOT[outcome]] += 1
        slots[_UNITS] += units
        slots[_BYTES_IN] += bytes_in
        slots[_BYTES_OUT] += bytes_out
        slots[_DURATION_SUM] += max(duration_ns, 0)
        at = 0
        while at < len(_BOUNDS_NS) and duration_ns > _BOUNDS_NS[at]:
            at += 1
        slots[_DURATIONS + at] += 1

    def revoked(self, leases: int) -> None:
        self._slots[_REVOKED] += leases

    def count(self, event: Event) -> None:
        self._slots[_EVENTS + event] += 1

    def beat(self, now: int, *, ready: bool, connections: int, running: int) -> None:
        """Says that the loop turns, and what state it is in."""
        slots = self._slots
        slots[_READY] = ready
        slots[_CONNECTIONS] = connections
        slots[_CALLS_RUNNING] = running
        slots[_HEARTBEAT] = now


class CounterReader:
    """The reading side, in another process."""

    def __init__(self, folder: Path) -> None:
        with (folder / FILE_NAME).open("rb") as file:
            self._map = mmap.mmap(file.fileno(), _SLOTS * 8, access=mmap.ACCESS_READ)
        self._slots = memoryview(self._map).cast("Q")

    @property
    def heartbeat_ns(self) -> int:
        return self._slots[_HEARTBEAT]

    @property
    def ready(self) -> bool:
        return bool(self._slots[_READY])

    @property
    def connections(self) -> int:
        return self._slots[_CONNECTIONS]

    @property
    def running(self) -> int:
        return self._slots[_CALLS_RUNNING]

    def totals(self) -> dict[str, int]:
        """Counters without a label."""
        slots = self._slots
        return {
            "units": slots[_UNITS],
            "bytes_in": slots[_BYTES_IN],
            "bytes_out": slots[_BYTES_OUT],
            "leases_revoked": slots[_REVOKED],
            "upstream_ejections": slots[_EVENTS + Event.EJECTION],
            "upstream_retries": slots[_EVENTS + Event.RETRY],
            "calls_shed": slots[_EVENTS + Event.SHED],
            "calls_held": slots[_EVENTS + Event.HELD],
        }

    def refusals(self) -> Iterator[tuple[str, int]]:
        return ((code, self._slots[at]) for code, at in _CODE_SLOT.items())

    def outcomes(self) -> Iterator[tuple[str, int]]:
        return ((outcome.name.lower(), self._slots[at]) for outcome, at in _OUTCOME_SLOT.items())

    def durations(self) -> tuple[list[int], float]:
        """Calls in each bucket of DURATION_BOUNDS_S and above, and the sum in seconds."""
        buckets = [self._slots[_DURATIONS + i] for i in range(len(_BOUNDS_NS) + 1)]
        return buckets, self._slots[_DURATION_SUM] / 1e9
