"""The relay: publishes outbox rows to Kafka, at least once, in order per key, with any number of relays.

A pass is one transaction: lock buckets of which rows wait (`pg_try_advisory_xact_lock`, so that no two relays hold
one), read their rows in id order, publish, await every acknowledgement, delete the acknowledged rows, commit.
A relay that dies loses its locks and nothing else; its rows are published again, the same bytes.
No row can be skipped: rows are found by being there, not by a position that moves past them.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.partitioner import DefaultPartitioner
from sqlalchemy import ARRAY, Row, SmallInteger, bindparam, delete, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from licet_kit.errors import Unavailable
from licet_kit.kafka.connection import abandon, start_producer, topic_name
from licet_kit.kafka.message import byte_headers
from licet_kit.lifecycle import Service, wait_or_stop
from licet_kit.logs import get_logger
from licet_kit.outbox import CHANNEL, Outbox
from licet_kit.settings import KafkaSettings
from licet_kit.telemetry import meter, names

log = get_logger(__name__)

# Rows of one pass: enough for full produce batches, few enough to publish again after a crash.
BATCH_ROWS = 500
# A pass leaves buckets to other relays; a quarter of them keeps one relay alone busy as well.
BUCKETS_A_PASS = 16
# Waiting rows looked at to find out which buckets have any.
SCAN_ROWS = 2000
# NOTIFY wakes the relay; this covers a lost notification.
POLL_INTERVAL_S = 0.5
# Above the producer's own request timeout, below the idle-in-transaction timeout of the pass.
PUBLISH_TIMEOUT_S = 25.0
# A topic that the brokers do not know holds up no other topic, and is looked for again after this.
MISSING_TOPIC_PAUSE_S = 10.0
FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 2.0

_BUCKET_LOCK = 0x4C4F42

# What a pass may meet when the brokers or the database are away, or refuse.
_DATABASE_AWAY = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
_AWAY = (*_DATABASE_AWAY, KafkaError, Unavailable, TimeoutError)

_CLAIM = text(
    "SELECT bucket FROM unnest(:candidates) AS bucket WHERE pg_try_advisory_xact_lock(:space, bucket)"
).bindparams(bindparam("candidates", type_=ARRAY(SmallInteger)))

_partition_of = DefaultPartitioner()


class OutboxRelay:
    """One relay of one outbox."""

    def __init__(self, settings: KafkaSettings, engine: AsyncEngine, outbox: Outbox) -> None:
        self._settings = settings
        self._engine = engine
        self._table = outbox.table
        self._producer: AIOKafkaProducer | None = None
        self._wake = asyncio.Event()
        # Topics that the brokers did not know, and when (monotonic) to ask again.
        self._missing: dict[str, float] = {}
        # Rows of one batch, for topics whose brokers refused larger batches.
        self._batch_rows: dict[str, int] = {}
        instruments = meter(__name__)
        self._published = instruments.create_counter(names.OUTBOX_PUBLISHED)
        self._failed = instruments.create_counter(names.OUTBOX_FAILED)
        self._delay = instruments.create_histogram(
            names.OUTBOX_DELAY, unit="s", explicit_bucket_boundaries_advisory=names.DURATION_BOUNDARIES_S
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until `stop` is set; outages of the brokers or the database are waited for."""
        listener = asyncio.create_task(self._listen())
        try:
            await self._publish_until(stop)
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
            await self._drop_producer()

    async def publish_pass(self) -> int:
        """Publish one batch of what waits and no other relay holds; return the number of rows that left."""
        if self._producer is None:
            self._producer = await start_producer(self._settings)
        async with self._engine.begin() as connection:
            rows = await self._claim(connection)
            sent, failure = await self._publish(self._producer, rows)
            if sent:
                await connection.execute(delete(self._table).where(self._table.c.id.in_(sent)))
        if failure is not None:
            raise failure
        return len(sent)

    async def _publish_until(self, stop: asyncio.Event) -> None:
        backoff_s = FIRST_BACKOFF_S
        while not stop.is_set():
            self._wake.clear()
            try:
                count = await self.publish_pass()
            except _AWAY as error:
                log.warning("outbox.publish_failed", error=repr(error), retry_in_s=backoff_s)
                self._failed.add(1)
                # What it still holds could follow rows that the next pass publishes.
                await self._drop_producer()
                await wait_or_stop(stop, backoff_s)
                backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)
                continue
            backoff_s = FIRST_BACKOFF_S
            if not count:
                await self._idle(stop)

    async def _idle(self, stop: asyncio.Event) -> None:
        waiters = [asyncio.create_task(self._wake.wait()), asyncio.create_task(stop.wait())]
        _, pending = await asyncio.wait(waiters, timeout=POLL_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED)
        for waiter in pending:
            waiter.cancel()

    async def _claim(self, connection: AsyncConnection) -> Sequence[Row[Any]]:
        table, now = self._table, time.monotonic()
        self._missing = {topic: until for topic, until in self._missing.items() if until > now}
        known = table.c.topic.not_in(list(self._missing))
        waiting = select(table.c.bucket).where(known).order_by(table.c.id).limit(SCAN_ROWS).subquery()
        candidates = select(waiting.c.bucket).group_by(waiting.c.bucket).order_by(text("random()"))
        found = (await connection.scalars(candidates.limit(BUCKETS_A_PASS))).all()
        held = await connection.scalars(_CLAIM, {"space": _BUCKET_LOCK, "candidates": list(found)})
        # A statement of its own: its snapshot must be newer than the locks, or it would see rows that are gone.
        rows = (
            select(table).where(table.c.bucket.in_(held.all()), known).order_by(table.c.id).limit(BATCH_ROWS)
        )
        return (await connection.execute(rows)).all()

    async def _publish(
        self, producer: AIOKafkaProducer, rows: Sequence[Row[Any]]
    ) -> tuple[list[int], Exception | None]:
        """Return the ids that were acknowledged, and the first failure among the partitions."""
        by_topic: defaultdict[str, list[Row[Any]]] = defaultdict(list)
        for row in rows:
            by_topic[row.topic].append(row)
        sent: list[int] = []
        outcomes = await asyncio.gather(
            *(self._publish_topic(producer, topic, batch, sent) for topic, batch in by_topic.items()),
            return_exceptions=True,
        )
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for failure in failures:
            if not isinstance(failure, Exception):
                raise failure
        return sent, next((failure for failure in failures if isinstance(failure, Exception)), None)

    async def _publish_topic(
        self, producer: AIOKafkaProducer, topic: str, rows: Sequence[Row[Any]], sent: list[int]
    ) -> None:
        name = topic_name(self._settings, topic)
        partitions = await _partitions(producer, name)
        if not partitions:
            log.error("outbox.topic_missing", topic=name, waiting=len(rows))
            self._missing[topic] = time.monotonic() + MISSING_TOPIC_PAUSE_S
            return
        by_partition: defaultdict[int, list[Row[Any]]] = defaultdict(list)
        for row in rows:
            by_partition[_partition_of(row.key.encode(), partitions, partitions)].append(row)
        async with asyncio.timeout(PUBLISH_TIMEOUT_S):
            # Each partition goes as far as it can: what was acknowledged must be known, or it is sent again.
            outcomes = await asyncio.gather(
                *(
                    self._publish_partition(producer, name, partition, batch, sent)
                    for partition, batch in by_partition.items()
                ),
                return_exceptions=True,
            )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        now = datetime.now(UTC)
        for row in rows:
            self._delay.record((now - row.created_at).total_seconds(), {names.LABEL_TOPIC: topic})
        self._published.add(len(rows), {names.LABEL_TOPIC: topic})

    async def _publish_partition(
        self, producer: AIOKafkaProducer, name: str, partition: int, rows: Sequence[Row[Any]], sent: list[int]
    ) -> None:
        """Publish the rows of one partition, a batch at a time.

        The next batch starts when the one before is acknowledged: if two were on their way, the first could
        expire in the producer while the second arrives, and a key's events would change places.
        """
        remaining = list(rows)
        while remaining:
            batch, taken = _batch(producer, remaining[: self._batch_rows.get(name, BATCH_ROWS)])
            try:
                await (await producer.send_batch(batch, name, partition=partition))
            except MessageSizeTooLargeError:
                # The brokers' limit counts whole batches; the next pass sends smaller ones.
                self._batch_rows[name] = max(1, taken // 2)
                raise
            sent.extend(row.id for row in remaining[:taken])
            remaining = remaining[taken:]

    async def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await abandon(producer)

    async def _listen(self) -> None:
        """Set `_wake` at each notification; a lost connection is opened again."""
        while True:
            with contextlib.suppress(*_DATABASE_AWAY):
                async with self._engine.connect() as connection:
                    await self._listen_on(connection)
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _listen_on(self, connection: AsyncConnection) -> None:
        closed = asyncio.Event()
        driver: Any = (await connection.get_raw_connection()).driver_connection
        driver.add_termination_listener(lambda _: closed.set())
        await driver.add_listener(CHANNEL, lambda *_: self._wake.set())
        try:
            await closed.wait()
        finally:
            # The connection carries a LISTEN that its pool does not know of.
            await connection.invalidate()


def _batch(producer: AIOKafkaProducer, rows: Sequence[Row[Any]]) -> tuple[Any, int]:
    """Return a produce batch of the first rows, as many as fit, and their number."""
    batch, taken = producer.create_batch(), 0
    for row in rows:
        entry = {"key": row.key.encode(), "value": row.payload, "headers": byte_headers(row.headers)}
        if batch.append(timestamp=None, **entry) is None:
            break
        taken += 1
    batch.close()
    return batch, taken


async def _partitions(producer: AIOKafkaProducer, name: str) -> list[int]:
    """Return the partitions of a topic; none when the brokers do not know it."""
    if not producer.client.cluster.partitions_for_topic(name):
        # `partitions_for` would wait its whole timeout for a topic that is not there.
        cluster = await producer.client.fetch_all_metadata()
        if not cluster.partitions_for_topic(name):
            return []
    return sorted(await producer.partitions_for(name))


def relay(settings: KafkaSettings, engine: AsyncEngine, outbox: Outbox) -> Service:
    """Return a relay as a part of the process."""
    return OutboxRelay(settings, engine, outbox).run
