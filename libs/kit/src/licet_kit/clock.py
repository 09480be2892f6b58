"""Time as a dependency, so that tests can move it."""

import asyncio
import heapq
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Wall time, monotonic time, and waiting."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go backwards; only differences mean something."""
        ...

    async def sleep(self, duration_s: float) -> None:
        """Wait for `duration_s` seconds of this clock."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the event loop's kind of seconds."""
        return time.monotonic()

    async def sleep(self, duration_s: float) -> None:
        """Wait for real seconds."""
        await asyncio.sleep(duration_s)


class ManualClock:
    """A clock that stands still until `advance` moves it; sleepers wake in order of their deadline."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed_s = 0.0
        self._order = 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """Return the start plus all that was advanced."""
        return self._start + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        """Return the seconds advanced so far."""
        return self._elapsed_s

    async def sleep(self, duration_s: float) -> None:
        """Wait until the clock was advanced by `duration_s`; zero and less only yield."""
        if duration_s <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (self._elapsed_s + duration_s, self._order, woken))
        await woken

    def advance(self, duration_s: float) -> None:
        """Move time forward and wake all whose deadline has come."""
        if duration_s < 0:
            raise ValueError(f"time cannot go back by {-duration_s} s")
        self._elapsed_s += duration_s
        while self._sleepers and self._sleepers[0][0] <= self._elapsed_s:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)
