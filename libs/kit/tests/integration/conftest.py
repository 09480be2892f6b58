"""A store of words, and topics of one's own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from licet_kit.testing.plugin import CreateDatabase
from licet_kit.testing.store import WordSettings, WordStore, WordTables, open_store


@pytest.fixture
async def store(database: CreateDatabase) -> AsyncIterator[WordStore]:
    tables = WordTables.make()
    async with open_store(await database(tables.metadata), tables) as opened:
        yield opened


@pytest.fixture
def settings(servers: dict[str, Any], topic_prefix: str) -> WordSettings:
    return WordSettings(kafka_bootstrap=servers["kafka"]["bootstrap"], kafka_topic_prefix=topic_prefix)


@pytest.fixture
def read_topic(settings: WordSettings) -> Callable[..., Awaitable[list[Any]]]:
    """Read all that a topic holds now: `records = await read_topic("word.said")`, in order per partition."""

    async def read(topic: str, bootstrap: str | None = None) -> list[Any]:
        name = f"{settings.kafka_topic_prefix}{topic}"
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap or settings.kafka_bootstrap, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            async with asyncio.timeout(30):
                cluster = await consumer._client.fetch_all_metadata()
                partitions = [TopicPartition(name, number) for number in cluster.partitions_for_topic(name)]
                consumer.assign(partitions)
                ends = await consumer.end_offsets(partitions)
                records: list[Any] = []
                while any([await consumer.position(p) < end for p, end in ends.items()]):
                    for batch in (await consumer.getmany(timeout_ms=200)).values():
                        records.extend(batch)
                return records
        finally:
            await consumer.stop()

    return read
