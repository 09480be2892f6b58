"""The smallest service there can be: a database with messaging tables, and a handler that leaves rows behind.

For tests of messaging itself, and of whatever watches it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar

from google.protobuf.wrappers_pb2 import StringValue
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from licet_kit.db import make_metadata, open_engine, transaction
from licet_kit.kafka import Message
from licet_kit.outbox import Outbox
from licet_kit.settings import KafkaSettings
from licet_kit.tables import MessagingTables, messaging_tables

TOPIC = "word.said"


class WordSettings(KafkaSettings):
    """Settings of a service that only uses Kafka."""

    service_name: ClassVar[str] = "words"
    http_port: int = 0


@dataclass(frozen=True, slots=True)
class WordTables:
    """The schema: messaging, and `effect`, which keeps the order in which words took effect."""

    metadata: MetaData
    messaging: MessagingTables
    effect: Table

    @classmethod
    def make(cls) -> "WordTables":
        """Describe the schema anew."""
        metadata = make_metadata()
        messaging = messaging_tables(metadata)
        effect = Table(
            "effect",
            metadata,
            Column("id", BigInteger, primary_key=True, autoincrement=True),
            Column("event_id", Text, nullable=False),
            Column("key", Text, nullable=False),
            Column("value", Text, nullable=False),
        )
        return cls(metadata, messaging, effect)


@dataclass(frozen=True, slots=True)
class WordStore:
    """The service's database."""

    url: str
    engine: AsyncEngine
    tables: MessagingTables
    effect: Table
    outbox: Outbox

    async def enqueue(self, key: str, value: str, *, event_id: str | None = None, topic: str = TOPIC) -> None:
        """Write one event in a transaction of its own."""
        async with transaction(self.engine) as session:
            await self.say(session, key, value, event_id=event_id, topic=topic)

    async def say(
        self, session: AsyncSession, key: str, value: str, *, event_id: str | None = None, topic: str = TOPIC
    ) -> None:
        """Write one event in the caller's transaction."""
        message = StringValue(value=value)
        await self.outbox.enqueue(
            session, message, key=key, event_id=event_id or f"{key}-{value}", topic=topic
        )

    async def apply(self, session: AsyncSession, message: Message[StringValue]) -> None:
        """Leave an effect: a handler."""
        row = {"event_id": message.event_id, "key": message.key, "value": message.value.value}
        await session.execute(insert(self.effect).values(row))

    async def effects(self, key: str) -> list[str]:
        """Return the values that took effect for a key, in order."""
        query = select(self.effect.c.value).where(self.effect.c.key == key).order_by(self.effect.c.id)
        async with self.engine.connect() as connection:
            return list((await connection.scalars(query)).all())

    async def count(self, table: Table) -> int:
        """Return the number of rows."""
        async with self.engine.connect() as connection:
            return (await connection.scalar(select(func.count()).select_from(table))) or 0

    async def published(self) -> bool:
        """Whether nothing waits in the outbox."""
        return await self.count(self.tables.outbox) == 0


@asynccontextmanager
async def open_store(url: str, tables: WordTables) -> AsyncIterator[WordStore]:
    """Open the store in a database that has its tables."""
    async with open_engine(url, pool_size=20) as engine:
        outbox = Outbox(tables.messaging.outbox, source="words")
        yield WordStore(url, engine, tables.messaging, tables.effect, outbox)
