"""The clock as an edge: every sweep in a transaction of its own, again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from licet_kit.clock import Clock
from licet_kit.db import transaction
from licet_kit.lifecycle import wait_or_stop
from licet_kit.logs import get_logger
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from licet_licensing import telemetry
from licet_licensing.usecases import following, sweeping
from licet_licensing.usecases.sweeping import BATCH, Terms

log = get_logger(__name__)

# A sweep that fails (the database is away) is tried again after this.
PAUSE_S = 1.0
# Old rows are looked for once in so many rounds: nothing depends on when they go.
FORGET_EVERY = 240
# Debts covered in one round; each is a transaction.
DEBTS_A_ROUND = 50

Sweep = Callable[[AsyncSession], Awaitable[int]]


@dataclass(slots=True)
class Sweeper:
    """Runs the sweeps. Any number of replicas may: rows in work elsewhere are left."""

    engine: AsyncEngine
    terms: Terms
    clock: Clock
    interval_s: float
    rounds: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep until the process stops."""
        while not stop.is_set():
            try:
                more = await self.sweep()
            except Exception as error:  # noqa: BLE001  edge: the next round tries again
                log.warning("sweep.failed", error=repr(error), retry_in_s=PAUSE_S)
                await wait_or_stop(stop, PAUSE_S)
                continue
            if not more:
                await wait_or_stop(stop, self.interval_s)

    async def sweep(self) -> bool:
        """One round; true when a sweep took a full batch, so that there is more to do."""
        self.rounds += 1
        taken = [await self._take(name, sweep) for name, sweep in self._sweeps().items()]
        covered = 0
        while covered < DEBTS_A_ROUND and await self._take("debts", self._cover):
            covered += 1
        return max(taken) >= BATCH

    def _sweeps(self) -> dict[str, Sweep]:
        sweeps: dict[str, Sweep] = {
            "finality": lambda session: following.finalise(session, self.clock.now()),
            "expiry": lambda session: sweeping.expire_grants(session, self.clock.now()),
            "suspension": lambda session: sweeping.suspend_leases(session, self.clock.now(), self.terms),
            "fences": lambda session: sweeping.fence_leases(session, self.clock.now(), self.terms),
            "telling": lambda session: sweeping.tell_units(session, self.clock.now()),
        }
        if self.rounds % FORGET_EVERY == 0:
            sweeps["forgetting"] = lambda session: sweeping.forget(session, self.clock.now(), self.terms)
        return sweeps

    async def _cover(self, session: AsyncSession) -> int:
        return int(await sweeping.cover_debt(session))

    async def _take(self, name: str, sweep: Sweep) -> int:
        async with transaction(self.engine) as session:
            taken = await sweep(session)
        if taken:
            telemetry.SWEPT.add(taken, {telemetry.LABEL_SWEEP: name})
        return taken
