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
# What time limits bring about may be a second late: leases have a grace, and decisions go by the clock themselves.
SLOW_EVERY = 4
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
        if self._is_slow_round:
            taken.append(await self._cover_debts())
        return max(taken) >= BATCH

    @property
    def _is_slow_round(self) -> bool:
        return self.rounds % SLOW_EVERY == 1

    async def _cover_debts(self) -> int:
        covered = 0
        while covered < DEBTS_A_ROUND and await self._take("debts", self._cover):
            covered += 1
        return covered

    def _sweeps(self) -> dict[str, Sweep]:
        now, terms = self.clock.now, self.terms
        sweeps: dict[str, Sweep] = {
            "finality": lambda session: following.finalise(session, now()),
            "telling": lambda session: sweeping.tell_units(session, now()),
        }
        if self._is_slow_round:
            sweeps["expiry"] = lambda session: sweeping.expire_grants(session, now())
            sweeps["suspension"] = lambda session: sweeping.suspend_leases(session, now(), terms)
            sweeps["fences"] = lambda session: sweeping.fence_leases(session, now(), terms)
        if self.rounds % FORGET_EVERY == 0:
            sweeps["forgetting"] = lambda session: sweeping.forget(session, now(), terms)
        return sweeps

    async def _cover(self, session: AsyncSession) -> int:
        return int(await sweeping.cover_debt(session))

    async def _take(self, name: str, sweep: Sweep) -> int:
        async with transaction(self.engine) as session:
            taken = await sweep(session)
        if taken:
            telemetry.SWEPT.add(taken, {telemetry.LABEL_SWEEP: name})
        return taken
