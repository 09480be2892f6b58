"""Reconciles one chain, on demand and every so often."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from licet_kit.clock import Clock
from licet_kit.db import reading, transaction
from licet_kit.lifecycle import wait_or_stop
from licet_kit.logs import get_logger
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_billing import telemetry
from licet_billing.clients.books import ChainBooks
from licet_billing.clients.node import Node
from licet_billing.domain.reconciliation import Reconciliation
from licet_billing.usecases import reconcile
from licet_billing.usecases.chain import Books
from licet_billing.workers.leader import leadership
from licet_billing.workers.passing import SUSPECTS, passes

log = get_logger(__name__)

# How often the clock is looked at.
_LOOK_S: Final = 30.0
_TRIES: Final = 5
_BETWEEN_TRIES_S: Final = 2.0
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


class Reconciler:
    """Compares the books of one operator with one chain."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        node: Node,
        chain: ChainBooks,
        operator: str,
        clock: Clock,
        interval_s: float,
    ) -> None:
        self._engine = engine
        self._node = node
        self._chain = chain
        self._operator = operator
        self._clock = clock
        self._interval = timedelta(seconds=interval_s)

    @property
    def chain_id(self) -> int:
        """The chain that is compared."""
        return self._chain.chain.chain_id

    async def run(self, stop: asyncio.Event) -> None:
        """Reconciles each interval, on one replica."""
        while not stop.is_set():
            try:
                async with leadership(
                    self._engine, f"reconciler:{self.chain_id}:{self._operator}"
                ) as leading:
                    if leading is not None and await self._is_due():
                        await self._until_exact(stop)
            except SUSPECTS as error:
                if not passes(error):
                    raise
                log.warning("reconciler.waiting", chain_id=self.chain_id, error=repr(error))
            await wait_or_stop(stop, min(_LOOK_S, self._interval.total_seconds()))

    async def _until_exact(self, stop: asyncio.Event) -> None:
        """While money moves, what is final may not be posted yet; only a difference that stays is one."""
        for _ in range(_TRIES):
            _, result = await self.reconcile()
            if result.exact or await wait_or_stop(stop, _BETWEEN_TRIES_S):
                return

    async def _is_due(self) -> bool:
        async with reading(self._engine) as session:
            last = await reconcile.last_at(session, self.chain_id)
        return self._clock.now() - (last or _BEGINNING) >= self._interval

    async def reconcile(self) -> tuple[str, Reconciliation]:
        """Compares now, and stores the result under the id that it returns."""
        books = Books(self.chain_id, self._operator, await self._chain.treasury())
        since = await self._agreed_block()
        async with reading(self._engine) as session:
            figures = await reconcile.read_figures(session, books, since)
        result = await reconcile.compare_with_chain(self._chain, books, figures)
        async with transaction(self._engine) as session:
            stored = await reconcile.store(session, result)
        telemetry.DIFFERENCES.set(len(result.differences), {telemetry.LABEL_CHAIN: self.chain_id})
        report = log.info if result.exact else log.error
        report(
            "reconciler.done", chain_id=self.chain_id, differences=len(result.differences), **result.counts
        )
        return stored, result

    async def _agreed_block(self) -> int:
        """The block of the last exact result, if the chain still has it; else the beginning."""
        async with reading(self._engine) as session:
            number, hash_ = await reconcile.last_exact(session, self.chain_id)
        beginning = max(0, self._chain.chain.start_block - 1)
        if number <= beginning:
            return beginning
        hashes = await self._node.block_hashes([number])
        return number if hashes.get(number) == hash_ else beginning
