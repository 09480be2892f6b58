"""Posts what is final, and bills what its grant covers by now. Any number of replicas may do it."""

from __future__ import annotations

import asyncio
from typing import Final

from licet_kit.db import reading, transaction
from licet_kit.lifecycle import wait_or_stop
from licet_kit.logs import get_logger
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_billing import telemetry
from licet_billing.clients.books import ChainBooks
from licet_billing.clients.node import Node
from licet_billing.usecases import chain, intake
from licet_billing.usecases.chain import Books
from licet_billing.workers.passing import SUSPECTS, passes

log = get_logger(__name__)

# Grants whose uncovered charges are looked at in one round.
_GRANTS_A_ROUND: Final = 100
_LONGEST_WAIT_S: Final = 10.0


class Poster:
    """Keeps one chain's final events posted."""

    def __init__(
        self, *, engine: AsyncEngine, node: Node, chain: ChainBooks, operator: str, poll_s: float
    ) -> None:
        self._engine = engine
        self._node = node
        self._chain = chain
        self._operator = operator
        self._poll_s = poll_s

    async def run(self, stop: asyncio.Event) -> None:
        """Posts until stopped; a node or database that is away is waited for."""
        wait_s = self._poll_s
        while not stop.is_set():
            try:
                while await self.post():
                    pass
                await self.cover()
                wait_s = self._poll_s
            except SUSPECTS as error:
                if not passes(error):
                    raise
                log.warning("poster.waiting", chain_id=self._node.chain.chain_id, error=repr(error))
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            await wait_or_stop(stop, wait_s)

    async def post(self) -> int:
        """Posts final events; returns their number. The chain is asked before any row is locked."""
        async with reading(self._engine) as session:
            waiting = await chain.awaiting_post(session, self._node.chain.chain_id)
        if not waiting:
            return 0
        canonical = await self._node.block_hashes(chain.blocks_of(waiting))
        books = Books(self._node.chain.chain_id, self._operator, await self._chain.treasury())
        async with transaction(self._engine) as session:
            posted = await chain.post_final(session, books, canonical)
        telemetry.POSTED.add(posted, {telemetry.LABEL_CHAIN: books.chain_id})
        return posted

    async def cover(self) -> int:
        """Bills charges whose grant covers them by now; returns their number."""
        async with reading(self._engine) as session:
            grants = await intake.grants_to_cover(session, _GRANTS_A_ROUND)
        covered = 0
        for grant_id in grants:
            async with transaction(self._engine) as session:
                covered += await intake.cover_late(session, grant_id)
        telemetry.COVERED.add(covered)
        return covered
