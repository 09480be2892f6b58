"""The indexer's figures: events a second in backfill, and the time from a block to its events in Kafka.

Backfill: a real anvil with a prepared chain, a real Postgres; the chain is final but for its last two blocks. Wall time
counts the node's work too, which shares the machine; `cpu_us_per_event` counts this process alone.
Live: the same engine with its relay, polling as the local stack does; a block's arrival is when the node has mined it.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer
from licet_indexer.db.tables import OUTBOX
from licet_indexer.domain.judge import Limits
from licet_indexer.follower.follow import Pace
from licet_indexer.follower.service import follow
from licet_indexer.main import MIGRATIONS
from licet_indexer.settings import IndexerSettings
from licet_indexer.testing.emitter import event_entry
from licet_indexer.testing.pilot import leading
from licet_indexer.testing.scene import Scene, scene
from licet_indexer.testing.story import Said, Story
from licet_kit import lifecycle
from licet_kit.db import open_engine
from licet_kit.ids import new_id
from licet_kit.logs import configure_logging
from licet_kit.relay import relay
from licet_kit.testing.anvil import Anvil
from licet_kit.testing.databases import Databases
from licet_kit.testing.servers import repository_root, running_servers
from licet_kit.testing.topics import Topics
from sqlalchemy import text

# The defaults of the settings.
PACE = Pace(max_span=96, limits=Limits(fork_polls=3, lag_polls=50))
BLOCKS = 400
EVENTS_A_BLOCK = 50
# As the local stack polls.
POLL_INTERVAL_MS = 200
LIVE_BLOCKS = 30
# A backfill that takes longer is broken; the whole benchmark has 40 s.
DEADLINE_S = 60.0


@asynccontextmanager
async def stage(servers: dict[str, Any]) -> AsyncIterator[Scene]:
    """A chain of one's own."""
    node = Anvil(Path(servers["bin"]["anvil"]))
    await node.start()
    try:
        yield await scene(node)
    finally:
        await node.stop()


async def prepare(made: Scene) -> int:
    """Tells the chain; returns how many events are in it."""
    story = Story(_random(1), strangers=False)
    sales = story.sales()
    await made.tell([sales])
    for _ in range(BLOCKS):
        # One transaction a contract, so that preparing costs seconds.
        said: list[Said] = sorted((story.next() for _ in range(EVENTS_A_BLOCK)), key=lambda one: one[0])
        await made.tell([said])
    return len(sales) + BLOCKS * EVENTS_A_BLOCK


async def backfill(servers: dict[str, Any], databases: Databases) -> dict[str, Any]:
    """Events a second from an empty database to the head."""
    async with stage(servers) as made:
        logs = await prepare(made)
        head = await made.anvil.block_number()
        async with (
            open_engine(await databases.create(MIGRATIONS)) as engine,
            leading(engine, made.chain(), PACE) as follower,
            asyncio.timeout(DEADLINE_S),
        ):
            before, started = _cpu_s(), time.perf_counter()
            while follower.tip is None or follower.tip.number < head:
                await follower.step()
            wall_s, cpu_s = time.perf_counter() - started, _cpu_s() - before
            async with engine.connect() as connection:
                stored = await connection.scalar(text("SELECT count(*) FROM raw_event"))
            if stored != logs:
                raise SystemExit(f"bench: {stored} of {logs} events are in the mirror")
    return {
        "bench": "indexer",
        "case": "backfill",
        "events_per_s": round(logs / wall_s),
        "cpu_us_per_event": round(cpu_s / logs * 1e6, 1),
        "events": logs,
        "blocks": head,
    }


async def live(servers: dict[str, Any], databases: Databases, folder: Path) -> dict[str, Any]:
    """Milliseconds from a mined block to its first event at a consumer."""
    prefix = f"bench{new_id()[-8:]}."
    topics = Topics(servers["kafka"]["bootstrap"], prefix)
    await topics.create("chain.event", "chain.finality")
    async with stage(servers) as made:
        url = await databases.create(MIGRATIONS)
        settings = IndexerSettings(
            database_url=url,
            kafka_bootstrap=servers["kafka"]["bootstrap"],
            kafka_topic_prefix=prefix,
            chains_file=made.chains_file(folder, poll_interval_ms=POLL_INTERVAL_MS),
        )
        stop = asyncio.Event()
        async with open_engine(url) as engine:
            parts = [
                *(follow(engine, chain, settings) for chain in settings.followed_chains()),
                relay(settings, engine, OUTBOX),
            ]
            running = asyncio.create_task(lifecycle.run(_until(stop), *parts, signals=False))
            try:
                delays = await _delays(made, settings, f"{prefix}chain.event")
            finally:
                stop.set()
                await running
    await topics.delete_all()
    return {
        "bench": "indexer",
        "case": "live",
        "block_to_kafka_p50_ms": round(statistics.median(delays) * 1000),
        "block_to_kafka_p95_ms": round(statistics.quantiles(delays, n=20)[-1] * 1000),
        "poll_interval_ms": POLL_INTERVAL_MS,
        "blocks": len(delays),
    }


def _until(stop: asyncio.Event) -> lifecycle.Service:
    async def run(other: asyncio.Event) -> None:
        ends = {asyncio.create_task(event.wait()) for event in (stop, other)}
        _, pending = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for waiter in pending:
            waiter.cancel()

    return run


async def _delays(made: Scene, settings: IndexerSettings, topic: str) -> list[float]:
    pauses = _random(3)
    claim = {"account": made.account, "token": made.account, "amount": 1}
    said = "RevenueRouter", event_entry("RevenueRouter", "Claimed", claim)
    # A consumer has one fetch in flight, and what another partition gets meanwhile waits for it to return.
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=settings.kafka_bootstrap,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=10,
    )
    await consumer.start()
    delays: list[float] = []
    try:
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(LIVE_BLOCKS + 1):
                await made.tell([[said]])
                mined = time.perf_counter()
                await consumer.getone()
                delays.append(time.perf_counter() - mined)
                # Blocks must not come in step with the polls.
                await asyncio.sleep(pauses.random() * POLL_INTERVAL_MS / 1000)
    finally:
        await consumer.stop()
    # The first one waits for the election and for the topic's metadata.
    return delays[1:]


def _random(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same chain at each run


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure() -> list[dict[str, Any]]:
    """Both cases."""
    servers = running_servers(repository_root(Path(__file__)))
    databases = Databases(servers["postgres"]["url"])
    try:
        with tempfile.TemporaryDirectory() as folder:
            return [await backfill(servers, databases), await live(servers, databases, Path(folder))]
    finally:
        await databases.drop_all()


def run() -> dict[str, Any]:
    """The figures of both cases in one."""
    backfilled, followed = uvloop.run(measure())
    return {**followed, **backfilled, "case": "backfill and live"}


def main() -> int:
    """Prints one JSON line a case."""
    configure_logging(level="error")
    for line in uvloop.run(measure()):
        sys.stdout.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
