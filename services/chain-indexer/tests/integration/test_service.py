"""The leadership of a chain through outages: of the database, of the node, of its own seat."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy as sa
from licet_indexer.domain.chain import Chain
from licet_indexer.follower.service import follow
from licet_indexer.main import MIGRATIONS
from licet_indexer.settings import IndexerSettings
from licet_indexer.testing.faults import faulty_node
from licet_indexer.testing.pilot import contents, rebuilt
from licet_indexer.testing.scene import Scene, scene
from licet_indexer.testing.story import Story
from licet_kit.db import open_engine, reading
from licet_kit.testing.plugin import CreateDatabase, Eventually, StartAnvil, StartProxy
from sqlalchemy.ext.asyncio import AsyncEngine


def settings(url: str, folder: Path) -> IndexerSettings:
    return IndexerSettings(
        database_url=url,
        kafka_bootstrap="unused:1",
        chains_file=folder / "unused",
        rpc_timeout_s=1,
        election_interval_s=0.05,
    )


@asynccontextmanager
async def followed(
    engine: AsyncEngine, chain: Chain, made: IndexerSettings
) -> AsyncIterator[asyncio.Task[None]]:
    stop = asyncio.Event()
    running = asyncio.ensure_future(follow(engine, chain, made)(stop))
    try:
        yield running
    finally:
        stop.set()
        await running


async def value(engine: AsyncEngine, column: str, chain_id: int = 31337) -> object:
    query = sa.text(f"SELECT {column} FROM chain WHERE chain_id = :id")
    async with reading(engine) as session:
        return (await session.execute(query, {"id": chain_id})).scalar_one_or_none()


async def at_head(engine: AsyncEngine, stage: Scene, chain_id: int = 31337) -> bool:
    head = await stage.anvil.block_number()
    return await value(engine, "tip_hash", chain_id) == await stage.block_hash(head)


async def tell(stage: Scene, story: Story, blocks: int = 3) -> None:
    await stage.tell([[story.next() for _ in range(4)] for _ in range(blocks)])


async def test_database_that_goes_away_is_waited_for(
    stage: Scene, database: CreateDatabase, proxy: StartProxy, tmp_path: Path, eventually: Eventually
) -> None:
    story, url = Story(random.Random(1)), await database(MIGRATIONS)
    server = urlsplit(url)
    door = await proxy(server.hostname or "", server.port or 5432)
    through = f"postgresql://{server.username}@127.0.0.1:{door.port}{server.path}"
    chain = stage.chain()
    async with open_engine(url) as direct, open_engine(through) as engine:
        async with followed(engine, chain, settings(through, tmp_path)):
            await tell(stage, story)
            await eventually(lambda: at_head(direct, stage))
            for _ in range(2):
                await door.cut()
                await tell(stage, story)
                await door.restore()
                await eventually(lambda: at_head(direct, stage), 30)
        assert await contents(direct) == await rebuilt(await database(MIGRATIONS), chain)


async def test_second_replica_leads_only_when_the_first_has_ended(
    stage: Scene, database: CreateDatabase, tmp_path: Path, eventually: Eventually
) -> None:
    story, url = Story(random.Random(2)), await database(MIGRATIONS)
    chain, made = stage.chain(), settings(url, tmp_path)
    async with open_engine(url) as engine, open_engine(url) as other:
        async with followed(engine, chain, made):
            await eventually(lambda: at_head(engine, stage))
            async with followed(other, chain, made):
                await tell(stage, story)
                await eventually(lambda: at_head(engine, stage))
                assert await value(engine, "epoch") == 1
        async with followed(other, chain, made):
            await tell(stage, story)
            await eventually(lambda: at_head(engine, stage))
            assert await value(engine, "epoch") == 2


async def test_two_chains_are_followed_side_by_side(
    stage: Scene, anvil: StartAnvil, database: CreateDatabase, tmp_path: Path, eventually: Eventually
) -> None:
    """The same addresses, ids and slugs on both: nothing of one touches the other."""
    story, url = Story(random.Random(4)), await database(MIGRATIONS)
    other = await scene(await anvil("--chain-id", "4242"))
    other.chain_id = 4242
    chains = (stage.chain(), other.chain())
    made = settings(url, tmp_path)
    async with (
        open_engine(url) as engine,
        followed(engine, chains[0], made),
        followed(engine, chains[1], made),
    ):
        for _ in range(3):
            await tell(stage, story)
            await tell(other, story)
            await stage.anvil.reorg(1)
        for number, one in ((31337, stage), (4242, other)):
            await eventually(partial(at_head, engine, one, number))
        assert await contents(engine) == await rebuilt(await database(MIGRATIONS), *chains)


async def test_chain_that_contradicts_its_past_is_halted_until_it_agrees(
    stage: Scene, anvil: StartAnvil, database: CreateDatabase, tmp_path: Path, eventually: Eventually
) -> None:
    story, url = Story(random.Random(3)), await database(MIGRATIONS)
    other = await scene(await anvil("--timestamp", "1700000000"))
    await tell(stage, story, 6)
    await tell(other, story, 12)
    async with (
        faulty_node(stage.anvil.rpc_url, 0) as node,
        open_engine(url) as engine,
        followed(engine, stage.chain(node.url), settings(url, tmp_path)),
    ):
        await eventually(lambda: at_head(engine, stage))
        node.upstream = other.anvil.rpc_url
        await eventually(lambda: says(engine, "state", "halted"))
        assert "which is final" in str(await value(engine, "halt_reason"))
        node.upstream = stage.anvil.rpc_url
        await tell(stage, story)
        await eventually(lambda: at_head(engine, stage))
        await eventually(lambda: says(engine, "state", "following"))


async def says(engine: AsyncEngine, column: str, expected: str) -> bool:
    return await value(engine, column) == expected
