"""Billing's figures: usage records a second from Kafka to charges and posted transactions in Postgres.

Each record is signed in a segment of 50, verified, rated, stored, and, where a deposit pays, posted in the ledger:
everything that intake does, on one process with three partitions. Producing them is not part of the figure.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import uvloop
from licet_billing.consumers import Consumers, subscribe_all
from licet_billing.main import MIGRATIONS
from licet_billing.testing.builders import CHAIN, ESCROW, OPERATOR, ChainLog, Gateway, finality
from licet_billing.testing.inbox import Settings, make_inbox
from licet_billing.usecases.chain import Books, post_final
from licet_billing.usecases.intake import Serving
from licet_kit.db import open_engine, transaction
from licet_kit.ids import new_id
from licet_kit.kafka import broker_service, make_broker
from licet_kit.outbox import Outgoing
from licet_kit.producer import Producer
from licet_kit.testing.databases import Databases
from licet_kit.testing.servers import repository_root, running_servers
from licet_kit.testing.topics import Topics
from licet_kit.testing.waiting import eventually
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

FUNDS: Final = 10**12
RECORDS: Final = 8_000
SEGMENT: Final = 50
TOPICS: Final = ("chain.event", "chain.finality", "licensing.grant", "usage.recorded")
DEADLINE_S: Final = 60.0


async def produce(settings: Settings, gateway: Gateway, grant_id: str) -> None:
    """Puts the records into the topic; a lease makes one segment."""
    async with Producer(settings, source="bench") as producer:
        for _ in range(RECORDS // SEGMENT):
            records = gateway.calls(*[1] * SEGMENT, grant_id=grant_id)
            await producer.send_many(
                [Outgoing(message=r, key=r.lease_id, event_id=r.request_id) for r in records]
            )


async def learn(engine: AsyncEngine, gateway: Gateway) -> None:
    """The plan, the receipt key, the grants, and a final deposit that the records draw on."""
    inbox, log = make_inbox(engine, CHAIN, ESCROW, OPERATOR), ChainLog()
    deposited = log.deposited(FUNDS)
    await inbox.send(log.plan(7), log.key(), deposited)
    await inbox.send(gateway.deposit_changed(FUNDS), gateway.license_changed(FUNDS))
    await inbox.send(finality(deposited.block_number))
    async with transaction(engine) as session:
        await post_final(session, Books(CHAIN, OPERATOR, ""), {deposited.block_number: deposited.block_hash})


async def charged(engine: AsyncEngine) -> int:
    """Number of charges, by the last one's ordinal: counting them all would be part of the figure."""
    async with transaction(engine) as session:
        return int(await session.scalar(text("SELECT max(seq) FROM charges")) or 0)


async def all_charged(engine: AsyncEngine) -> bool:
    """Whether every record has its charge."""
    return await charged(engine) >= RECORDS


@asynccontextmanager
async def consuming(settings: Settings, engine: AsyncEngine) -> AsyncIterator[None]:
    """Billing's consumers, as the service runs them."""
    broker, stop = make_broker(settings), asyncio.Event()
    subscriptions = subscribe_all(broker, settings, engine, Consumers(Serving(OPERATOR, {CHAIN: ESCROW})))
    running = asyncio.create_task(broker_service(broker, subscriptions)(stop))
    try:
        yield
    finally:
        stop.set()
        await running


async def measure_case(servers: dict[str, Any], databases: Databases, case: str) -> dict[str, Any]:
    """One kind of grant."""
    prefix = f"bench{new_id()[-8:]}."
    topics = Topics(servers["kafka"]["bootstrap"], prefix)
    await topics.create(*TOPICS)
    gateway = Gateway()
    settings = Settings.model_validate(
        {"kafka_bootstrap": servers["kafka"]["bootstrap"], "kafka_topic_prefix": prefix}
    )
    async with open_engine(await databases.create(MIGRATIONS)) as engine:
        await learn(engine, gateway)
        grant_id = gateway.deposit_grant if case == "deposit" else gateway.license_grant
        await produce(settings, gateway, grant_id)
        async with consuming(settings, engine):
            first = await eventually(lambda: charged(engine), DEADLINE_S, what="the first charge is there")
            started, cpu = time.perf_counter(), _cpu_s()
            await eventually(lambda: all_charged(engine), DEADLINE_S, what="all records are charged")
            wall_s, cpu_s = time.perf_counter() - started, _cpu_s() - cpu
            async with transaction(engine) as session:
                stored = await session.scalar(text("SELECT count(*) FROM charges"))
            if stored != RECORDS:
                raise RuntimeError(f"{stored} charges of {RECORDS} records")
    await topics.delete_all()
    records = RECORDS - first
    return {
        "bench": "billing",
        "case": f"intake-{case}",
        "records_per_s": round(records / wall_s),
        "cpu_us_per_record": round(cpu_s / records * 1e6, 1),
        "records": records,
    }


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure() -> list[dict[str, Any]]:
    """Records that a deposit pays, and records of included units."""
    servers = running_servers(repository_root(Path(__file__)))
    databases = Databases(servers["postgres"]["url"])
    try:
        return [await measure_case(servers, databases, case) for case in ("deposit", "license")]
    finally:
        await databases.drop_all()


def run() -> dict[str, Any]:
    """The figures of the case that moves money, with the other beside it."""
    paid, included = uvloop.run(measure())
    return {**paid, "license_records_per_s": included["records_per_s"]}


def main() -> int:
    """Prints one JSON line a case."""
    logging.disable(logging.WARNING)
    for line in uvloop.run(measure()):
        sys.stdout.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
