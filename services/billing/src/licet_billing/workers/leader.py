"""One leader among the replicas: a Postgres lock that ends with its holder's connection."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from licet_kit.errors import Unavailable
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

# First half of the two-part advisory lock of a leader; the name's hash is the other.
_LEADER_LOCK: Final = 0x6C656164


class LeadershipLost(Unavailable):
    """The connection that held the lock is gone, and another replica may lead by now."""

    code = "leadership_lost"


@dataclass(frozen=True, slots=True)
class Leadership:
    """The lock while it is held. What a leader writes is fenced by its epoch, too: a lock alone cannot stop a writer
    that was cut off without noticing."""

    _connection: AsyncConnection

    async def check(self) -> None:
        """Raises LeadershipLost when the connection is gone."""
        try:
            await self._connection.execute(text("SELECT 1"))
        except (SQLAlchemyError, OSError) as error:
            raise LeadershipLost(str(error)[:200]) from error


@asynccontextmanager
async def leadership(engine: AsyncEngine, name: str) -> AsyncIterator[Leadership | None]:
    """Holds the lock of this name for the block; None where another holds it."""
    key = {"space": _LEADER_LOCK, "name": zlib.crc32(name.encode()) - 2**31}
    async with engine.connect() as plain:
        # Autocommit: the lock belongs to the session, and a transaction that idles would be ended by the server.
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        held = await connection.scalar(text("SELECT pg_try_advisory_lock(:space, :name)"), key)
        if not held:
            yield None
            return
        try:
            yield Leadership(connection)
        finally:
            # A connection that is gone has released it already.
            await connection.invalidate()
