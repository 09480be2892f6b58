"""Drives one follower by hand, so that a test decides after which step it dies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa
from licet_kit.db import open_engine, reading, transaction
from licet_schemas.abi import load_abi
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_indexer.clients import Node
from licet_indexer.db import chains
from licet_indexer.db.mirror_tables import MIRROR
from licet_indexer.domain.catalogue import WATCHED, Catalogue
from licet_indexer.domain.chain import Chain
from licet_indexer.domain.judge import Limits
from licet_indexer.follower.follow import Follower, Pace
from licet_indexer.usecases.tracking import lead

PACE = Pace(max_span=20, limits=Limits(fork_polls=2, lag_polls=4))
# Far above what a busy machine needs; a test of hanging answers gives less.
RPC_TIMEOUT_S = 10.0


def catalogue_of(chain: Chain) -> Catalogue:
    """The catalogue of a chain by the committed ABIs."""
    return Catalogue(chain, {name: load_abi(name) for name in WATCHED})


@asynccontextmanager
async def leading(
    engine: AsyncEngine, chain: Chain, pace: Pace = PACE, *, timeout_s: float = RPC_TIMEOUT_S
) -> AsyncIterator[Follower]:
    """A follower that has just taken over the chain."""
    async with Node(chain, timeout_s=timeout_s) as node:
        async with transaction(engine) as session:
            track = await lead(session, chain, catalogue_of(chain))
        async with reading(engine) as session:
            cursor = await chains.read_cursor(session, chain.chain_id)
        yield Follower(engine, node, track, cursor, pace)


async def catch_up(follower: Follower, idle: int = 6) -> None:
    """Steps until nothing happens for several looks in a row; the node must not fail meanwhile."""
    quiet = 0
    while quiet < idle:
        before = follower.tip, follower.final
        await follower.step()
        quiet = quiet + 1 if before == (follower.tip, follower.final) else 0


async def rebuilt(url: str, *chains: Chain) -> dict[str, list[tuple[object, ...]]]:
    """The mirror that a new indexer makes of the chains as they are now, in an empty database."""
    async with open_engine(url) as engine:
        for chain in chains:
            async with leading(engine, chain) as follower:
                await catch_up(follower)
        return await contents(engine)


async def contents(engine: AsyncEngine) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every mirror table, of the canonical blocks and of their events, in one order."""
    found: dict[str, list[tuple[object, ...]]] = {}
    async with reading(engine) as session:
        for table in MIRROR:
            columns = table.__table__.c  # type: ignore[attr-defined]
            rows = await session.execute(
                sa.select(*columns).order_by(*(columns[name] for name in table.row.KEY))
            )
            found[str(table.__tablename__)] = [tuple(row) for row in rows]
        for name, query in _CANONICAL.items():
            found[name] = [tuple(row) for row in await session.execute(sa.text(query))]
    return found


# Quiet blocks far below the final one are dropped sooner or later, so only those with logs are compared.
_CANONICAL = {
    "block": """
        SELECT number, hash, parent, time, logs FROM block WHERE canonical AND logs > 0 ORDER BY chain_id, number""",
    "raw_event": """
        SELECT e.block_number, e.log_index, e.block_hash, e.tx_hash, e.contract, e.topics, e.data, e.name, e.asset_id,
               e.payload::text
        FROM raw_event e JOIN block b ON b.chain_id = e.chain_id AND b.hash = e.block_hash AND b.canonical
        ORDER BY e.chain_id, 1, 2""",
    "unknown_log": """
        SELECT u.block_number, u.log_index, u.block_hash, u.data, u.reason
        FROM unknown_log u JOIN block b ON b.chain_id = u.chain_id AND b.hash = u.block_hash AND b.canonical
        ORDER BY u.chain_id, 1, 2""",
    "tip": "SELECT tip_number, tip_hash FROM chain ORDER BY chain_id",
}
