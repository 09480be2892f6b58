"""Reconciles one chain, on demand and every so often."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from licet_kit.clock import Clock
from licet_kit.db import reading, transaction
from licet_kit.lifecycle import wait_or_stop
from licet_kit.logs import get_logger
from licet_schemas import eip712
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from licet_billing import telemetry
from licet_billing.clients.books import ChainBooks
from licet_billing.clients.node import Node
from licet_billing.domain.reconciliation import (
    ROUND_RUNS,
    Agreed,
    Difference,
    Part,
    Reconciliation,
    Span,
    next_turn,
    nothing_agreed,
)
from licet_billing.domain.settlement import BatchKey
from licet_billing.usecases import evidence, reconcile
from licet_billing.usecases.chain import Books
from licet_billing.usecases.evidence import Page
from licet_billing.usecases.reconcile import Figures, Rebuilt
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
        round_runs: int = ROUND_RUNS,
    ) -> None:
        self._engine = engine
        self._node = node
        self._chain = chain
        self._operator = operator
        self._clock = clock
        self._interval = timedelta(seconds=interval_s)
        self._round_runs = round_runs

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
        agreed = await self._agreed()
        turn = next_turn(agreed, self._chain.chain.start_block, self._round_runs)
        async with reading(self._engine) as session:
            figures = await reconcile.read_figures(session, books, agreed, turn)
        rebuilt = await self._rebuild(figures)
        result = await reconcile.compare_with_chain(self._chain, books, figures, rebuilt)
        async with transaction(self._engine) as session:
            stored = await reconcile.store(session, result)
        telemetry.DIFFERENCES.set(len(result.differences), {telemetry.LABEL_CHAIN: self.chain_id})
        report = log.info if result.exact else log.error
        report(
            "reconciler.done", chain_id=self.chain_id, differences=len(result.differences), **result.counts
        )
        return stored, result

    async def _rebuild(self, figures: Figures) -> Rebuilt:
        """Charges, batches and the hash chain, each page in a short snapshot of its own: none of them changes."""
        charges, found = 0, list[Difference]()
        for span in (figures.turn.spans[Part.CHARGES], figures.new[Part.CHARGES]):
            number, differences = await self._by_page(span, self._check_charges)
            charges += number
            found += differences
        for batch in figures.batches:
            key = BatchKey(self.chain_id, self._operator, batch.number)
            async with reading(self._engine) as session:
                found += await evidence.check_batch(session, key, batch)
        for span in (figures.turn.spans[Part.POSTINGS], figures.new[Part.POSTINGS]):
            found += (await self._by_page(span, evidence.check_postings))[1]
        return Rebuilt(charges, found)

    async def _check_charges(self, session: AsyncSession, span: Span) -> Page:
        domain = eip712.domain_separator(self.chain_id, self._chain.escrow_address)
        return await evidence.check_charges(session, self.chain_id, domain, span)

    async def _by_page(
        self, span: Span, check: Callable[[AsyncSession, Span], Awaitable[Page]]
    ) -> tuple[int, list[Difference]]:
        compared, found = 0, list[Difference]()
        rest: Span | None = span
        while rest is not None:
            async with reading(self._engine) as session:
                page = await check(session, rest)
            compared += page.compared
            found += page.differences
            rest = replace(rest, after=page.through) if page.through is not None else None
        return compared, found

    async def _agreed(self) -> Agreed:
        """What the last exact result agreed on, if the chain still has its block; else nothing."""
        start = self._chain.chain.start_block
        async with reading(self._engine) as session:
            agreed = await reconcile.last_exact(session, self.chain_id, start)
        number = agreed.reached[Part.BLOCKS]
        if agreed.turn is None or number < start:
            return nothing_agreed(start)
        hashes = await self._node.block_hashes([number])
        return agreed if hashes.get(number) == agreed.block_hash else nothing_agreed(start)
