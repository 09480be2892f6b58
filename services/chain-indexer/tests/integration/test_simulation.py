"""Invariant 3: after any reorg, restart or RPC fault, the mirror equals one rebuilt from the canonical chain.

Each seed is one story: random events, reorgs, rollbacks, faults of the node and crashes of the indexer, in an order
that only the seed decides. What the seed was is in the test's name.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from licet_indexer.domain.chain import Chain, Finality
from licet_indexer.follower.follow import Follower
from licet_indexer.main import MIGRATIONS
from licet_indexer.testing.faults import FaultyNode, faulty_node
from licet_indexer.testing.pilot import catch_up, contents, leading, rebuilt
from licet_indexer.testing.scene import Scene, scene
from licet_indexer.testing.story import Story
from licet_kit.db import open_engine, reading
from licet_kit.errors import RetryableError
from licet_kit.testing.plugin import StartAnvil
from licet_schemas.licet.chain.v1 import chain_pb2
from sqlalchemy.ext.asyncio import AsyncEngine

Database = Callable[[Path], Awaitable[str]]

RATES = (0.0, 0.02, 0.05)
SEEDS = range(24)
ROUNDS = 10
# How long a step waits for an answer that never comes.
HANG_S = 0.2
# Blocks this far below the head are final.
DEPTH = 10


async def act(r: random.Random, story: Story, stage: Scene, highest: int) -> int:
    """The chain does one thing, and nothing to blocks that were ever `DEPTH` below its head; returns its peak."""
    head = await stage.anvil.block_number()
    highest = max(highest, head)
    deepest = head - max(1, highest - DEPTH)
    match r.choice(["grow", "grow", "grow", "reorg", "replace", "rollback"]):
        case "reorg" if deepest > 0:
            await stage.anvil.reorg(r.randrange(1, deepest + 1))
        case "rollback" if deepest > 0:
            await stage.anvil.rollback(r.randrange(1, deepest + 1))
        case "replace" if deepest > 0:
            await stage.anvil.rollback(depth := r.randrange(1, deepest + 1))
            await grow(r, story, stage, depth + r.randrange(3))
        case _:
            await grow(r, story, stage, r.randrange(1, 4))
    return max(highest, await stage.anvil.block_number())


async def grow(r: random.Random, story: Story, stage: Scene, blocks: int) -> None:
    await stage.tell([[story.next() for _ in range(r.choice([0, 1, 3, 8]))] for _ in range(blocks)])


async def follow_for_a_while(r: random.Random, engine: AsyncEngine, chain: Chain) -> None:
    """One life of an indexer: some steps, of which the last may be cut off anywhere."""
    async with leading(engine, chain, timeout_s=HANG_S) as follower:
        for _ in range(r.randrange(1, 8)):
            try:
                await follower.step()
            except RetryableError:
                continue
        if r.random() < 0.5:
            await crash_within_a_step(r, follower)


async def crash_within_a_step(r: random.Random, follower: Follower) -> None:
    """Cancels a step at a random moment: its connections break wherever they are, as when the process dies."""
    step = asyncio.create_task(follower.step())
    await asyncio.wait([step], timeout=r.random() * 0.02)
    step.cancel()
    await asyncio.gather(step, return_exceptions=True)


@pytest.mark.parametrize("seed", SEEDS)
async def test_mirror_equals_one_rebuilt_from_the_canonical_chain(
    seed: int, anvil: StartAnvil, database: Database
) -> None:
    r = random.Random(seed)
    story, stage = Story(r), await scene(await anvil())
    async with (
        faulty_node(stage.anvil.rpc_url, seed) as node,
        open_engine(await database(MIGRATIONS)) as engine,
    ):
        chain = stage.chain(node.url, finality=Finality("depth", DEPTH))
        await grow(r, story, stage, 5)
        node.rate = RATES[seed % len(RATES)]
        highest = 0
        for _ in range(ROUNDS):
            highest = await act(r, story, stage, highest)
            await follow_for_a_while(r, engine, chain)
        await settle_down(stage, node, engine, chain)
        assert await contents(engine) == await rebuilt(await database(MIGRATIONS), chain)
        assert (node.injected > 0) == (RATES[seed % len(RATES)] > 0)
        await check_events(engine)


async def settle_down(stage: Scene, node: FaultyNode, engine: AsyncEngine, chain: Chain) -> None:
    node.rate = 0
    await stage.mine()
    async with leading(engine, chain) as follower:
        await catch_up(follower)


async def check_events(engine: AsyncEngine) -> None:
    """What went out, replayed by a consumer that knows nothing else, is the canonical chain."""
    standing: dict[tuple[str, int], tuple[int, str]] = {}
    seen = set[str]()
    async with reading(engine) as session:
        rows = await session.execute(sa.text("SELECT topic, payload FROM outbox ORDER BY id"))
        canonical = await session.execute(
            sa.text(
                "SELECT e.block_hash, e.log_index, b.incarnation, e.name FROM raw_event e JOIN block b "
                "ON b.hash = e.block_hash AND b.canonical WHERE e.payload IS NOT NULL"
            )
        )
        expected = {(row.block_hash, row.log_index): (row.incarnation, row.name) for row in canonical}
    final = -1
    for row in rows:
        if row.topic == "chain.finality":
            block = chain_pb2.BlockFinality.FromString(row.payload)
            assert block.block_number > final, "finality went back"
            final = block.block_number
            continue
        event = chain_pb2.ChainEvent.FromString(row.payload)
        assert event.event_id not in seen, "one truth was told twice"
        seen.add(event.event_id)
        place = event.block_hash, event.log_index
        if event.kind == chain_pb2.EVENT_KIND_OBSERVED:
            assert place not in standing
            assert event.block_number > final
            standing[place] = event.incarnation, _name(event)
        else:
            assert standing.pop(place) == (event.incarnation, _name(event)), "a retraction of another truth"
            assert event.block_number > final, "a final block was taken back"
    assert standing == expected


def _name(event: chain_pb2.ChainEvent) -> str:
    field = event.WhichOneof("payload")
    assert field is not None
    return "".join(part.title() for part in field.split("_"))
