"""The reader without a group: all partitions, from some time back, nothing missed over an outage."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
from aiokafka import TopicPartition
from google.protobuf.wrappers_pb2 import StringValue
from licet_kit.kafka import Fanout, Message, protobuf
from licet_kit.kafka.connection import close_consumer, start_consumer, start_producer, topic_name
from licet_kit.producer import Producer
from licet_kit.testing.plugin import CreateTopics, Eventually
from licet_kit.testing.store import TOPIC, WordSettings

Read = Callable[..., "Reader"]


class Reader:
    """A running reader and what it saw."""

    def __init__(self, settings: WordSettings, back_s: float | None) -> None:
        self.seen: list[str] = []
        self.broken = False
        self.fanout = Fanout(
            settings, topic=TOPIC, decode=protobuf(StringValue), handler=self._handle, back_s=back_s
        )
        self._stop = asyncio.Event()
        self._running = asyncio.create_task(self.fanout.run(self._stop))

    async def _handle(self, message: Message[StringValue]) -> None:
        if self.broken:
            raise KeyError(message.key)
        self.seen.append(message.value.value)

    async def stop(self) -> None:
        self._stop.set()
        await self._running


@pytest.fixture
async def read() -> AsyncIterator[Read]:
    started: list[Reader] = []

    def start(settings: WordSettings, back_s: float | None = None) -> Reader:
        reader = Reader(settings, back_s)
        started.append(reader)
        return reader

    yield start
    for reader in started:
        await reader.stop()


async def say(settings: WordSettings, *values: str) -> None:
    async with Producer(settings, source="test") as producer:
        for value in values:
            # A key each, so that all partitions have some.
            await producer.send(StringValue(value=value), key=value, event_id=value, topic=TOPIC)


async def caught_up(reader: Reader) -> None:
    await asyncio.wait_for(reader.fanout.wait_caught_up(), 30)


async def test_every_partition_is_read_from_the_beginning_before_it_has_caught_up(
    settings: WordSettings, create_topics: CreateTopics, read: Read
) -> None:
    await create_topics(TOPIC)
    values = [f"{number}" for number in range(30)]
    await say(settings, *values)
    reader = read(settings)
    assert not reader.fanout.caught_up
    await caught_up(reader)
    assert sorted(reader.seen) == sorted(values)


async def test_every_reader_sees_every_message(
    settings: WordSettings, create_topics: CreateTopics, read: Read, eventually: Eventually
) -> None:
    await create_topics(TOPIC)
    readers = [read(settings), read(settings)]
    for reader in readers:
        await caught_up(reader)
    await say(settings, "a", "b", "c")
    for reader in readers:
        await eventually(lambda reader=reader: sorted(reader.seen) == ["a", "b", "c"])


async def test_it_reads_back_to_a_time_and_no_further(
    settings: WordSettings, create_topics: CreateTopics, read: Read, eventually: Eventually
) -> None:
    await create_topics(TOPIC, partitions=1)
    producer = await start_producer(settings)
    now_ms = time.time_ns() // 1_000_000
    try:
        for value, age_s in (("old", 120), ("recent", 20)):
            payload = StringValue(value=value).SerializeToString()
            name = f"{settings.kafka_topic_prefix}{TOPIC}"
            await producer.send_and_wait(name, payload, key=b"k", timestamp_ms=now_ms - age_s * 1000)
    finally:
        await producer.stop()
    reader = read(settings, back_s=60)
    await caught_up(reader)
    assert reader.seen == ["recent"]
    late = read(settings, back_s=1)
    await caught_up(late)
    assert late.seen == []
    await say(settings, "new")
    await eventually(lambda: late.seen == ["new"])


async def test_an_empty_topic_is_caught_up_with(
    settings: WordSettings, create_topics: CreateTopics, read: Read
) -> None:
    await create_topics(TOPIC)
    reader = read(settings, back_s=60)
    await caught_up(reader)
    assert reader.fanout.confirmed_at is not None


async def test_it_stands_still_before_a_message_that_it_cannot_handle(
    settings: WordSettings, create_topics: CreateTopics, read: Read, eventually: Eventually
) -> None:
    await create_topics(TOPIC, partitions=1)
    reader = read(settings)
    await caught_up(reader)
    reader.broken = True
    await say(settings, "a", "b")
    await eventually(lambda: not reader.fanout.caught_up)
    assert reader.seen == []
    reader.broken = False
    await eventually(lambda: reader.seen == ["a", "b"])
    await caught_up(reader)


async def test_a_reader_without_its_topic_is_not_caught_up(
    settings: WordSettings, create_topics: CreateTopics, read: Read, eventually: Eventually
) -> None:
    reader = read(settings)
    with pytest.raises(Exception, match="not read up to its end"):
        await reader.fanout.check()
    await create_topics(TOPIC)
    await caught_up(reader)
    await reader.fanout.check()


async def test_a_reader_leaves_no_connection_open(
    settings: WordSettings, create_topics: CreateTopics, eventually: Eventually
) -> None:
    """Closed while a fetch that failed waits to be tried again: aiokafka's own close breaks off at it."""
    await create_topics(TOPIC)
    consumer = await start_consumer(settings)
    consumer.assign([TopicPartition(topic_name(settings, TOPIC), 0)])
    await eventually(lambda: consumer._fetcher._pending_tasks, 10, what="a fetch on its way")
    consumer._fetcher._pending_tasks.add(asyncio.create_task(asyncio.sleep(60)))
    await close_consumer(consumer)
    assert [conn for conn in consumer._client._conns.values() if conn.connected()] == []
