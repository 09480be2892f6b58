"""The service as it runs: two replicas as processes, Postgres, Kafka and a chain with a block each second."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message as ProtobufMessage
from licet_kit.db import open_engine, transaction
from licet_kit.outbox import Outgoing
from licet_kit.producer import Producer
from licet_kit.settings import KafkaSettings
from licet_kit.testing.http import http_client
from licet_kit.testing.plugin import CreateDatabase, CreateTopics, Eventually, StartChain
from licet_kit.testing.ports import free_ports
from licet_schemas.licet.chain.v1 import chain_pb2
from sqlalchemy import text

from .town import FUNDS, Feed, Town, settle_in

TOKEN = "operator-token-of-the-test"
TOPICS = ("chain.event", "chain.finality", "licensing.grant", "usage.recorded", "billing.settlement")
START_S = 60.0
QUIET_S = 90.0


class Settings(KafkaSettings):
    """A producer's settings."""

    service_name = "billing"
    http_port: int = 0


@dataclass
class Topic:
    """Publishes as the other services do."""

    producer: Producer

    async def send(self, *messages: ProtobufMessage) -> None:
        await self.producer.send_many([self._outgoing(message) for message in messages])

    @staticmethod
    def _outgoing(message: ProtobufMessage) -> Outgoing:
        value: Any = message
        key = getattr(value, "lease_id", "") or getattr(value, "grant_id", "")
        if isinstance(message, chain_pb2.ChainEvent):
            key = message.WhichOneof("payload") or ""
        event_id = getattr(value, "event_id", "") or value.request_id
        return Outgoing(message=message, key=key or "chain", event_id=event_id)


@dataclass
class Replica:
    """One process of billing."""

    environment: dict[str, str]
    port: int
    admin_port: int
    process: asyncio.subprocess.Process | None = field(default=None)

    async def start(self) -> None:
        log = Path(self.environment["TEST_LOG"]).open("ab")  # noqa: SIM115, ASYNC230  the process keeps it
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "licet_billing", env=self.environment, stdout=log, stderr=log
        )
        log.close()

    async def stop(self, number: signal.Signals) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(number)
        return await process.wait()

    async def ready(self) -> bool:
        async with http_client() as client:
            answer = await client.get(f"http://127.0.0.1:{self.admin_port}/readyz")
        return answer.status_code == 200


@dataclass
class Site:
    """An installation's billing, and all that surrounds it."""

    town: Town
    feed: Feed
    topic: Topic
    database_url: str
    replicas: tuple[Replica, Replica]

    async def rows(self, query: str) -> list[Any]:
        async with open_engine(self.database_url, pool_size=1) as engine, transaction(engine) as session:
            return list((await session.execute(text(query))).all())

    async def post(self, replica: Replica, path: str) -> Any:
        async with http_client(timeout=30) as client:
            url = f"http://127.0.0.1:{replica.port}{path}"
            answer = await client.post(url, headers={"authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200, answer.text
        return answer.json()


Start = Callable[[], Coroutine[Any, Any, Site]]


@pytest.fixture
async def site(
    database: CreateDatabase,
    create_topics: CreateTopics,
    topic_prefix: str,
    servers: dict[str, Any],
    chain: StartChain,
    tmp_path: Path,
    eventually: Eventually,
) -> AsyncIterator[Site]:
    await create_topics(*TOPICS, *(f"{topic}.parked" for topic in TOPICS))
    deployed = await chain()
    town = settle_in(deployed)
    await deployed.anvil.rpc("evm_setIntervalMining", 1)
    url = await database(Path(__file__).parents[2] / "migrations")
    key, token = tmp_path / "operator.key", tmp_path / "operator.token"
    key.write_text(town.deployed.operator.key)
    token.write_text(TOKEN)
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "KAFKA_BOOTSTRAP": servers["kafka"]["bootstrap"],
        "KAFKA_TOPIC_PREFIX": topic_prefix,
        "CHAINS_FILE": str(deployed.chains_file),
        "LICENSING_WORKER_TOKEN": "worker",
        "BILLING_LICENSING_URL": "http://127.0.0.1:1",
        "BILLING_OPERATOR_KEY_FILE": str(key),
        "BILLING_OPERATOR_TOKEN_FILE": str(token),
        "BILLING_SETTLEMENT_INTERVAL_S": "1",
        "BILLING_POLL_INTERVAL_S": "0.2",
    }
    settings = Settings.model_validate(
        {"kafka_bootstrap": servers["kafka"]["bootstrap"], "kafka_topic_prefix": topic_prefix}
    )
    async with Producer(settings, source="test") as producer, _running(environment, tmp_path) as replicas:
        for replica in replicas:
            await eventually(replica.ready, START_S, what="billing is ready")
        yield Site(town, Feed(town), Topic(producer), url, replicas)


@asynccontextmanager
async def _running(environment: dict[str, str], folder: Path) -> AsyncIterator[tuple[Replica, Replica]]:
    made = []
    for name in ("a", "b"):
        port, admin_port = free_ports(2)
        extra = {
            "BILLING_HTTP_PORT": str(port),
            "BILLING_ADMIN_PORT": str(admin_port),
            "TEST_LOG": str(folder / f"billing-{name}.log"),
        }
        made.append(Replica({**environment, **extra}, port, admin_port))
    try:
        for replica in made:
            await replica.start()
        yield made[0], made[1]
    finally:
        for replica in made:
            await replica.stop(signal.SIGKILL)


async def test_two_replicas_charge_and_settle_once_though_each_is_killed(
    site: Site, eventually: Eventually
) -> None:
    """Records keep coming while one replica after the other is killed; every record comes twice."""
    site.town.deposit(10_000)
    gateway = site.town.gateway()
    await site.topic.send(gateway.deposit_changed(FUNDS))
    first, second = site.replicas
    sent = 0
    for round_ in range(6):
        calls = [gateway.calls(1, 2, 1) for _ in range(4)]
        for records in calls:
            await site.topic.send(*records)
            await site.topic.send(*records)
            sent += len(records)
        await site.feed.sync(site.topic)
        if round_ == 2:
            await first.stop(signal.SIGKILL)
        if round_ == 3:
            await first.start()
            await eventually(first.ready, START_S, what="the first replica is back")
            await second.stop(signal.SIGKILL)
    due = 6 * 4 * 4 * 7

    async def settled() -> bool:
        await site.feed.sync(site.topic)
        rows = await site.rows(
            "SELECT sum(i.paid) AS paid FROM settlement_items i JOIN settlement_batches b"
            " USING (chain_id, operator, number) WHERE b.state = 'final'"
        )
        return bool(rows[0].paid == due)

    await eventually(settled, QUIET_S, what="all that was used is settled and final")
    charges = await site.rows(
        "SELECT count(*) AS n, sum(amount) AS amount, count(DISTINCT request_id) AS ids FROM charges"
    )
    assert (charges[0].n, charges[0].ids, int(charges[0].amount)) == (sent, sent, due)
    deposit = site.town.call("UsageEscrow", "depositOf", site.town.deposit_id)
    assert (deposit[3], deposit[4]) == (10_000 - due, due)

    async def exact() -> Any:
        await site.feed.sync(site.topic)
        report = await site.post(first, "/v1/reconciliation")
        return report if report["exact"] else None

    report = await eventually(exact, QUIET_S, what="receipts, ledger and chain agree")
    assert report["differences"] == []
    assert await first.stop(signal.SIGTERM) == 0


async def _run(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "licet_billing", *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_configuration_and_schema_are_checked_before_anything_runs(
    database: CreateDatabase, tmp_path: Path
) -> None:
    address = "0x" + "11" * 20
    chains = tmp_path / "chains.json"
    contracts = ", ".join(f'"{name}": "{address}"' for name in ("UsageEscrow", "RevenueRouter"))
    chains.write_text(
        '{"chains": [{"chain_id": 1, "name": "x", "rpc_url": "http://127.0.0.1:1",'
        ' "finality": {"source": "tag"}, "contracts": {' + contracts + "}}]}"
    )
    http_port, admin_port = free_ports(2)
    base = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": await database(),
        "KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "CHAINS_FILE": str(chains),
        "LICENSING_WORKER_TOKEN": "worker",
        "BILLING_LICENSING_URL": "http://127.0.0.1:1",
        "BILLING_OPERATOR_TOKEN": TOKEN,
        "BILLING_OPERATOR_KEY": "0x" + "01" * 32,
        "BILLING_HTTP_PORT": str(http_port),
        "BILLING_ADMIN_PORT": str(admin_port),
    }
    assert (await _run(base, "--check-config"))[0] == 0
    status, output = await _run({**base, "BILLING_OPERATOR_KEY": "secret-that-is-no-key"}, "--check-config")
    assert status == 78
    assert "BILLING_OPERATOR_KEY" in output
    assert "secret-that-is-no-key" not in output
    status, output = await _run(base)
    assert status == 1
    assert "schema_outdated" in output
    assert (await _run(base, "migrate"))[0] == 0
