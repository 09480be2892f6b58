"""The relay when processes die and servers go away."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from google.protobuf.wrappers_pb2 import StringValue
from licet_kit.db import open_engine, transaction
from licet_kit.relay import OutboxRelay
from licet_kit.testing.plugin import CreateTopics, Eventually, StartProxy
from licet_kit.testing.store import TOPIC, WordSettings, WordStore
from sqlalchemy import text

ReadTopic = Callable[..., Awaitable[list[Any]]]

RELAY_PROCESS = """
import asyncio, sys
from licet_kit.relay import OutboxRelay
from licet_kit.testing.store import WordSettings, WordTables, open_store

async def main(url, bootstrap, prefix):
    settings = WordSettings(kafka_bootstrap=bootstrap, kafka_topic_prefix=prefix)
    async with open_store(url, WordTables.make()) as store:
        await OutboxRelay(settings, store.engine, store.outbox).run(asyncio.Event())

asyncio.run(main(*sys.argv[1:]))
"""


def content(records: Sequence[Any]) -> list[tuple[bytes, bytes, tuple[Any, ...]]]:
    return [(record.key, record.value, tuple(record.headers)) for record in records]


async def test_a_relay_killed_between_acknowledgement_and_delete_repeats_the_same_bytes(
    settings: WordSettings,
    store: WordStore,
    create_topics: CreateTopics,
    read_topic: ReadTopic,
    eventually: Eventually,
) -> None:
    await create_topics(TOPIC)
    for number in range(5):
        await store.enqueue("key", f"{number}")
    async with store.engine.connect() as blocker:
        # Rows can be read, and their deletion waits: the relay stands exactly between the two.
        await blocker.execute(text("LOCK TABLE outbox IN SHARE MODE"))
        relay = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", RELAY_PROCESS, store.url),
            *(settings.kafka_bootstrap, settings.kafka_topic_prefix),
        )

        async def five_arrived() -> bool:
            return len(await read_topic(TOPIC)) == 5

        await eventually(five_arrived, deadline_s=30)
        relay.send_signal(signal.SIGKILL)
        await relay.wait()
        await blocker.rollback()
    first = content(await read_topic(TOPIC))
    assert await store.count(store.tables.outbox) == 5

    stop = asyncio.Event()
    successor = asyncio.create_task(OutboxRelay(settings, store.engine, store.outbox).run(stop))
    await eventually(store.published)
    stop.set()
    await successor
    assert content(await read_topic(TOPIC)) == first + first


async def test_a_relay_survives_an_outage_of_its_database(
    settings: WordSettings,
    store: WordStore,
    create_topics: CreateTopics,
    read_topic: ReadTopic,
    eventually: Eventually,
    proxy: StartProxy,
) -> None:
    await create_topics(TOPIC)
    server = urlsplit(store.url)
    door = await proxy(server.hostname or "", server.port or 0)
    stop = asyncio.Event()
    async with open_engine(store.url.replace(f":{server.port}/", f":{door.port}/")) as engine:
        relay = asyncio.create_task(OutboxRelay(settings, engine, store.outbox).run(stop))
        await store.enqueue("key", "before")
        await eventually(store.published)
        await door.cut()
        await store.enqueue("key", "during")
        await door.restore()
        await store.enqueue("key", "after")
        await eventually(store.published, deadline_s=30)
        stop.set()
        await relay
    values = [StringValue.FromString(record.value).value for record in await read_topic(TOPIC)]
    assert values == ["before", "during", "after"]


async def test_a_record_that_the_brokers_refuse_stops_neither_the_relay_nor_other_topics(
    settings: WordSettings,
    store: WordStore,
    create_topics: CreateTopics,
    read_topic: ReadTopic,
    eventually: Eventually,
) -> None:
    await create_topics(TOPIC)
    await create_topics("narrow", configs={"max.message.bytes": "1000"})
    stop = asyncio.Event()
    relay = asyncio.create_task(OutboxRelay(settings, store.engine, store.outbox).run(stop))
    await store.enqueue("key", "x" * 5000, event_id="too large", topic="narrow")
    await store.enqueue("key", "elsewhere")

    async def only_one_is_left() -> bool:
        return await store.count(store.tables.outbox) == 1

    await eventually(only_one_is_left, deadline_s=30)
    await store.enqueue("key", "later")
    await eventually(only_one_is_left, deadline_s=30)
    assert not relay.done()
    stop.set()
    await relay
    assert values(await read_topic(TOPIC)) == ["elsewhere", "later"]


async def test_batches_shrink_to_what_the_brokers_take(
    settings: WordSettings,
    store: WordStore,
    create_topics: CreateTopics,
    read_topic: ReadTopic,
    eventually: Eventually,
) -> None:
    await create_topics("narrow", partitions=1, configs={"max.message.bytes": "1500"})
    numbers = [f"{number}" for number in range(40)]
    async with transaction(store.engine) as session:
        for number in numbers:
            await store.say(session, "key", number, topic="narrow")
    stop = asyncio.Event()
    relay = asyncio.create_task(OutboxRelay(settings, store.engine, store.outbox).run(stop))
    await eventually(store.published, deadline_s=30)
    stop.set()
    await relay
    assert values(await read_topic("narrow")) == numbers


def values(records: Sequence[Any]) -> list[str]:
    return [StringValue.FromString(record.value).value for record in records]
