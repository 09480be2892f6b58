"""Elects one leader for each chain among all replicas, by an advisory lock of Postgres.

The lock goes when its connection does, so a killed leader frees it at once. It only elects: what keeps a former leader
from writing is the epoch (`usecases.tracking`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from licet_indexer.domain.chain import ChainId

_TRY = sa.text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_RELEASE = sa.text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")
# A leader whose machine vanished sends no FIN; the server must notice by itself, within about ten seconds.
_KEEPALIVE = (
    sa.text("SET tcp_keepalives_idle = 5"),
    sa.text("SET tcp_keepalives_interval = 1"),
    sa.text("SET tcp_keepalives_count = 5"),
)


class Seat:
    """The leader's seat of one chain, while this process has it."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def confirm(self) -> None:
        """Raises a database error when the connection, and the seat with it, is lost."""
        await self._connection.execute(sa.text("SELECT 1"))


@asynccontextmanager
async def seat(
    engine: AsyncEngine, chain_id: ChainId, *, interval_s: float, stop: asyncio.Event
) -> AsyncIterator[Seat | None]:
    """Waits until this process may lead the chain, and leads it until the block ends. None: `stop` came first."""
    name = {"name": f"licet_indexer.leader.{chain_id}"}
    async with engine.connect() as raw:
        connection = await raw.execution_options(isolation_level="AUTOCOMMIT")
        for statement in _KEEPALIVE:
            await connection.execute(statement)
        while not (await connection.execute(_TRY, name)).scalar_one():
            if await stopped(stop, interval_s):
                yield None
                return
        try:
            yield Seat(connection)
        finally:
            # The connection goes back to the pool alive, and would keep the lock.
            if not connection.closed and not connection.invalidated:
                await connection.execute(_RELEASE, name)


async def stopped(stop: asyncio.Event, wait_s: float) -> bool:
    """Waits for `stop`, at most so long; whether it came."""
    try:
        await asyncio.wait_for(stop.wait(), wait_s)
    except TimeoutError:
        return False
    return True
