"""The indexer as a real process, and what it publishes, read back from Kafka."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiokafka import AIOKafkaConsumer
from licet_kit.testing.ports import free_port
from licet_schemas.licet.chain.v1 import chain_pb2

STOP_TIMEOUT_S = 25.0


@dataclass(slots=True)
class IndexerProcess:
    """`python -m licet_indexer`; `log` collects what it wrote."""

    environment: dict[str, str]
    log: Path
    http_port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it, and does not wait until it is ready."""
        environment = {
            **os.environ,
            **self.environment,
            "INDEXER_HTTP_PORT": str(self.http_port),
            "INDEXER_ADMIN_PORT": str(self.admin_port),
        }
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "licet_indexer", env=environment, stdout=log, stderr=log
            )

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends the signal and returns the exit status."""
        process, self.process = self.process, None
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            return await process.wait()

    async def ready(self) -> bool:
        """Whether /readyz says so."""
        return (await self.get(f"http://127.0.0.1:{self.admin_port}/readyz"))[0] == 200

    async def get(self, url: str) -> tuple[int, str]:
        """Status and body of a GET; status 0 where nobody listens."""
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                return response.status, await response.text()
        except aiohttp.ClientError:
            return 0, ""


@asynccontextmanager
async def indexer_process(environment: dict[str, str], log: Path) -> AsyncIterator[IndexerProcess]:
    """A started process that ends with the block."""
    process = IndexerProcess(environment, log)
    await process.start()
    try:
        yield process
    finally:
        await process.end()


@dataclass(frozen=True, slots=True)
class Record:
    """One record of chain.event: where it stood, its key, its headers, and the event."""

    partition: int
    offset: int
    key: str
    headers: dict[str, str]
    event: chain_pb2.ChainEvent


async def records(bootstrap: str, topic: str) -> list[Record]:
    """Everything that the topic holds now, in order for each partition."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        places = sorted(consumer.assignment())
        ends = await consumer.end_offsets(places)
        found: list[Record] = []
        await consumer.seek_to_beginning(*places)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                found += [
                    Record(
                        partition=one.partition,
                        offset=one.offset,
                        key=one.key.decode(),
                        headers={name: value.decode() for name, value in one.headers},
                        event=chain_pb2.ChainEvent.FromString(one.value),
                    )
                    for one in batch
                ]
        return sorted(found, key=lambda record: (record.partition, record.offset))
    finally:
        await consumer.stop()
