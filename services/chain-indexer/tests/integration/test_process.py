"""The real process under kill -9: nothing lost, nothing doubled, one leader."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from licet_indexer.db.tables import OUTBOX
from licet_indexer.main import MIGRATIONS
from licet_indexer.settings import IndexerSettings
from licet_indexer.testing.pilot import catch_up, contents, leading, rebuilt
from licet_indexer.testing.processes import Record, indexer_process, records
from licet_indexer.testing.scene import Scene
from licet_indexer.testing.story import Story
from licet_kit.db import open_engine, reading
from licet_kit.relay import relay
from licet_kit.testing.plugin import CreateDatabase, Eventually
from licet_schemas.licet.chain.v1 import chain_pb2
from sqlalchemy.ext.asyncio import AsyncEngine

Environment = Callable[[Path], Awaitable[dict[str, str]]]

KILLS = 3


async def tip(engine: AsyncEngine) -> tuple[int | None, str | None]:
    async with reading(engine) as session:
        row = (await session.execute(sa.text("SELECT tip_number, tip_hash FROM chain"))).one_or_none()
    return (row.tip_number, row.tip_hash) if row else (None, None)


async def drained(engine: AsyncEngine) -> bool:
    async with reading(engine) as session:
        return not (await session.execute(sa.select(sa.func.count()).select_from(OUTBOX.table))).scalar_one()


async def caught_up(engine: AsyncEngine, stage: Scene) -> bool:
    head = await stage.anvil.block_number()
    return await tip(engine) == (head, await stage.block_hash(head)) and await drained(engine)


def first_of_each(found: list[Record]) -> list[Record]:
    """What a consumer acts on: the first record of each event id. Repeats must say the same."""
    told = dict[str, bytes]()
    kept = list[Record]()
    for record in found:
        body = record.event.SerializeToString(deterministic=True)
        if record.event.event_id not in told:
            kept.append(record)
        assert told.setdefault(record.event.event_id, body) == body, "one event id said two things"
    return kept


def in_chain_order(found: list[Record]) -> bool:
    """Whether, for each key, observations rise and retractions fall."""
    by_key = defaultdict[str, list[tuple[int, int]]](list)
    for record in found:
        place = record.event.block_number, record.event.log_index
        stack = by_key[record.key]
        if record.event.kind == chain_pb2.EVENT_KIND_OBSERVED:
            if stack and stack[-1] >= place:
                return False
            stack.append(place)
        elif not stack or stack.pop() != place:
            return False
    return True


@pytest.mark.parametrize("seed", [7])
async def test_kill_9_anywhere_loses_and_doubles_nothing(
    seed: int,
    stage: Scene,
    environment: Environment,
    tmp_path: Path,
    servers: dict[str, Any],
    topic_prefix: str,
    database: CreateDatabase,
    eventually: Eventually,
) -> None:
    r = random.Random(seed)
    story = Story(r)
    settings = await environment(stage.chains_file(tmp_path))
    async with (
        open_engine(settings["DATABASE_URL"]) as engine,
        indexer_process(settings, tmp_path / "indexer.log") as process,
    ):
        for _ in range(KILLS):
            target = ((await tip(engine))[0] or 0) + r.randrange(1, 12)
            await live(r, story, stage)
            reached = partial(passed, engine, target)
            await eventually(reached, 60, what="progress between two kills")
            await process.end(signal.SIGKILL)
            await process.start()
        await stage.mine()
        await eventually(lambda: caught_up(engine, stage), 60, what="the indexer at the head")
        assert await process.end() == 0
        held = await contents(engine)
    assert held == await rebuilt(await database(MIGRATIONS), stage.chain())
    told = first_of_each(await records(servers["kafka"]["bootstrap"], f"{topic_prefix}chain.event"))
    assert in_chain_order(told)
    assert standing(told) == {(row[2], row[1]) for row in held["raw_event"] if row[9] is not None}
    assert all("traceparent" in record.headers for record in told)


async def live(r: random.Random, story: Story, stage: Scene) -> None:
    """The chain goes on, now and then over a reorg, while the indexer follows it."""
    for _ in range(12):
        await stage.tell([[story.next() for _ in range(5)] for _ in range(r.randrange(1, 4))])
        if r.random() < 0.25:
            await stage.anvil.reorg(1)
        # Not a wait for something: the kill after it has to come at any moment of the indexer's work.
        await asyncio.sleep(r.random() * 0.1)


async def passed(engine: AsyncEngine, number: int) -> bool:
    return ((await tip(engine))[0] or 0) >= number


def standing(told: list[Record]) -> set[tuple[str, int]]:
    """The logs that stand after all observations and retractions."""
    count = defaultdict[tuple[str, int], int](int)
    for record in told:
        place = record.event.block_hash, record.event.log_index
        count[place] += 1 if record.event.kind == chain_pb2.EVENT_KIND_OBSERVED else -1
    assert set(count.values()) <= {0, 1}
    return {place for place, times in count.items() if times}


async def test_standby_takes_over_when_the_leader_is_killed(
    stage: Scene,
    environment: Environment,
    tmp_path: Path,
    servers: dict[str, Any],
    topic_prefix: str,
    eventually: Eventually,
) -> None:
    story = Story(random.Random(3))
    settings = await environment(stage.chains_file(tmp_path))
    async with (
        open_engine(settings["DATABASE_URL"]) as engine,
        indexer_process(settings, tmp_path / "first.log") as first,
    ):
        await eventually(first.ready, 30, what="the first replica ready")
        async with indexer_process(settings, tmp_path / "second.log") as second:
            await eventually(second.ready, 30, what="the standby ready, by its leader's work")
            await stage.tell([[story.next() for _ in range(5)] for _ in range(5)])
            await first.end(signal.SIGKILL)
            await stage.tell([[story.next() for _ in range(5)] for _ in range(5)])
            await eventually(lambda: caught_up(engine, stage), 30, what="the standby at the head")
            async with reading(engine) as session:
                assert (await session.execute(sa.text("SELECT epoch FROM chain"))).scalar_one() == 2
            held = await contents(engine)
    told = first_of_each(await records(servers["kafka"]["bootstrap"], f"{topic_prefix}chain.event"))
    assert in_chain_order(told)
    assert standing(told) == {(row[2], row[1]) for row in held["raw_event"] if row[9] is not None}


async def test_records_are_keyed_and_described_as_the_interface_says(
    stage: Scene,
    environment: Environment,
    tmp_path: Path,
    servers: dict[str, Any],
    topic_prefix: str,
    eventually: Eventually,
) -> None:
    story = Story(random.Random(5))
    given = await environment(stage.chains_file(tmp_path))
    settings = IndexerSettings(
        database_url=given["DATABASE_URL"],
        kafka_bootstrap=given["KAFKA_BOOTSTRAP"],
        kafka_topic_prefix=given["KAFKA_TOPIC_PREFIX"],
        chains_file=Path(given["CHAINS_FILE"]),
    )
    await stage.tell([[story.next() for _ in range(40)] for _ in range(5)])
    stop = asyncio.Event()
    async with open_engine(settings.database_url) as engine:
        relaying = asyncio.ensure_future(relay(settings, engine, OUTBOX)(stop))
        async with leading(engine, settings.followed_chains()[0]) as follower:
            await catch_up(follower)
        await eventually(lambda: drained(engine), 30)
        stop.set()
        await relaying
    found = await records(servers["kafka"]["bootstrap"], f"{topic_prefix}chain.event")
    assert {record.event.WhichOneof("payload") for record in found} >= {
        "deposited",
        "claimed",
        "group_settled",
    }
    for record in found:
        assert record.key == expected_key(record.event)
        assert record.headers["ce_type"] == "licet.chain.v1.ChainEvent"
        assert record.headers["ce_id"] == record.event.event_id
        assert record.headers["ce_source"] == "licet/chain-indexer"
        assert record.event.event_id == (
            f"31337:{record.event.block_hash}:{record.event.log_index}:observed:{record.event.incarnation}"
        )


def expected_key(event: chain_pb2.ChainEvent) -> str:
    name = event.WhichOneof("payload")
    assert name is not None
    body = getattr(event, name)
    if name in {
        "deposited",
        "exit_requested",
        "exit_drawn",
        "withdrawn",
        "mandate_opened",
        "mandate_revoked",
        "direct_draws_set",
    }:
        return f"{body.payer}:{body.operator}"
    if name == "claimed":
        return f"{body.account}:{body.token}"
    settled = {"group_settled", "batch_settled", "hold_released", "charge_challenged", "draw_refunded"}
    if name in {*settled, "operator_key_set"}:
        return str(body.operator)
    return str(body.terms.asset_id if name == "plan_created" else body.asset_id)
