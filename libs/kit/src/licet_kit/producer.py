"""A producer for processes without a database, whose own log is their outbox."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder
from google.protobuf.message import Message as ProtobufMessage

from licet_kit.kafka.connection import abandon, start_producer, topic_name
from licet_kit.kafka.message import byte_headers
from licet_kit.outbox import Outgoing, event_headers
from licet_kit.settings import KafkaSettings

SEND_TIMEOUT_S = 25.0


@dataclass(frozen=True, slots=True)
class Encoded:
    """A record as Kafka takes it; `headers` are its CloudEvents headers."""

    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class Producer:
    """Publishes with every in-sync replica's acknowledgement and idempotent retries; reconnects after a failure.

    After a failed send its caller does not know whether the messages arrived, and sends them again.
    Not for concurrent use where order matters: callers that share a key send one after the other.
    """

    def __init__(self, settings: KafkaSettings, *, source: str) -> None:
        self._settings = settings
        self._source = source
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._drop()

    async def send(
        self,
        message: ProtobufMessage,
        *,
        key: str,
        event_id: str,
        topic: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Publish one message and await its acknowledgement; raises KafkaUnavailable or aiokafka's KafkaError."""
        await self.send_many(
            [Outgoing(message=message, key=key, event_id=event_id, topic=topic, headers=headers or {})]
        )

    async def send_many(self, batch: Sequence[Outgoing]) -> None:
        """Publish messages in order per key and await all acknowledgements; raises as `send`."""
        if self._producer is None:
            self._producer = await start_producer(self._settings)
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                waiting = [
                    await self._producer.send(
                        topic_name(self._settings, outgoing.destination),
                        outgoing.message.SerializeToString(deterministic=True),
                        key=outgoing.key.encode(),
                        headers=byte_headers(event_headers(outgoing, self._source)),
                    )
                    for outgoing in batch
                ]
                await asyncio.gather(*waiting)
        except BaseException:
            # An idempotent producer that failed a batch has a gap in its sequence, and every later batch fails too.
            await self._drop()
            raise

    async def send_encoded(self, topic: str, records: Sequence[Encoded]) -> None:
        """Publish records that are bytes already, in order per key, in few large batches; raises as `send`.

        For streams of thousands a second: one future a batch instead of one a record. Same partitions as `send`.
        """
        if self._producer is None:
            self._producer = await start_producer(self._settings)
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await _send_batches(self._producer, topic_name(self._settings, topic), records)
        except BaseException:
            await self._drop()
            raise

    async def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await abandon(producer)


async def _send_batches(producer: AIOKafkaProducer, name: str, records: Sequence[Encoded]) -> None:
    partitions = sorted(await producer.partitions_for(name))
    choose = DefaultPartitioner()
    by_partition: dict[int, list[Encoded]] = {}
    chosen: dict[bytes, int] = {}
    for record in records:
        if record.key not in chosen:
            chosen[record.key] = choose(record.key, partitions, partitions)
        by_partition.setdefault(chosen[record.key], []).append(record)
    waiting = []
    for partition, theirs in by_partition.items():
        waiting += [
            await producer.send_batch(batch, name, partition=partition)
            for batch in _batches(producer, theirs)
        ]
    await asyncio.gather(*waiting)


def _batches(producer: AIOKafkaProducer, records: Sequence[Encoded]) -> Iterator[BatchBuilder]:
    """Fill batches to their size, in order."""
    batch = producer.create_batch()
    for record in records:
        fields = {"key": record.key, "value": record.value, "timestamp": None, "headers": record.headers}
        if batch.append(**fields) is None:
            yield batch
            batch = producer.create_batch()
            # The first record of a batch always fits: the builder refuses only what comes on top.
            batch.append(**fields)
    yield batch
