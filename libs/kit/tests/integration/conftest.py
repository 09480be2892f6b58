"""A database with the messaging tables and one of effects, and topics of one's own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from google.protobuf.wrappers_pb2 import StringValue
from licet_kit.db import make_metadata, open_engine, transaction
from licet_kit.kafka import Message
from licet_kit.outbox import Outbox
from licet_kit.settings import KafkaSettings
from licet_kit.tables import MessagingTables, messaging_tables
from sqlalchemy import BigInteger, Column, Table, Text, func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession


class KitSettings(KafkaSettings):
    """The smallest service that uses Kafka."""

    service_name: ClassVar[str] = "kit"
    http_port: int = 0


@dataclass(frozen=True, slots=True)
class Store:
    """A service's database: messaging tables, and a table in which handlers leave their effect."""

    url: str
    engine: AsyncEngine
    tables: MessagingTables
    effects: Table
    outbox: Outbox

    async def enqueue(
        self, key: str, value: str, *, event_id: str | None = None, topic: str = "word.said"
    ) -> None:
        """Write one event in a transaction of its own."""
        async with transaction(self.engine) as session:
            await self.say(session, key, value, event_id=event_id, topic=topic)

    async def say(
        self,
        session: AsyncSession,
        key: str,
        value: str,
        *,
        event_id: str | None = None,
        topic: str = "word.said",
    ) -> None:
        """Write one event."""
        message = StringValue(value=value)
        await self.outbox.enqueue(
            session, message, key=key, event_id=event_id or f"{key}-{value}", topic=topic
        )

    async def apply(self, session: AsyncSession, message: Message[StringValue]) -> None:
        """Leave an effect: the handler of most tests."""
        await session.execute(
            insert(self.effects).values(event_id=message.event_id, key=message.key, value=message.value.value)
        )

    async def effects_of(self, key: str) -> list[str]:
        """Return the values that took effect for a key, in order."""
        async with self.engine.connect() as connection:
            query = select(self.effects.c.value).where(self.effects.c.key == key).order_by(self.effects.c.id)
            return list((await connection.scalars(query)).all())

    async def count(self, table: Table) -> int:
        """Return the number of rows."""
        async with self.engine.connect() as connection:
            return (await connection.scalar(select(func.count()).select_from(table))) or 0


@pytest.fixture
async def store(database: Callable[..., Awaitable[str]]) -> AsyncIterator[Store]:
    metadata = make_metadata()
    tables = messaging_tables(metadata)
    effects = Table(
        "effect",
        metadata,
        Column("id", BigInteger, primary_key=True, autoincrement=True),
        Column("event_id", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("value", Text, nullable=False),
    )
    url = await database(metadata)
    async with open_engine(url, pool_size=20) as engine:
        yield Store(url, engine, tables, effects, Outbox(tables.outbox, source="kit"))


@pytest.fixture
def settings(servers: dict[str, Any], topic_prefix: str) -> KitSettings:
    return KitSettings(kafka_bootstrap=servers["kafka"]["bootstrap"], kafka_topic_prefix=topic_prefix)


ReadTopic = Callable[..., Awaitable[list[Any]]]


@pytest.fixture
def read_topic(settings: KitSettings) -> ReadTopic:
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
