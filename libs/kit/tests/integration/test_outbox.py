"""The outbox and its relay on real Postgres and Kafka."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from aiokafka.errors import KafkaError
from google.protobuf.wrappers_pb2 import StringValue
from licet_kit import relay as relay_module
from licet_kit.db import transaction
from licet_kit.kafka.message import text_headers
from licet_kit.outbox import MAX_PAYLOAD_BYTES, Outbox, Outgoing, PayloadTooLarge
from licet_kit.producer import Producer
from licet_kit.relay import OutboxRelay
from licet_kit.telemetry import extract
from licet_kit.testing.plugin import CreateTopics, Eventually
from licet_kit.testing.store import TOPIC, WordSettings, WordStore
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy.exc import IntegrityError

ReadTopic = Callable[..., Awaitable[list[Any]]]


def said(records: Sequence[Any]) -> list[str]:
    return [StringValue.FromString(record.value).value for record in records]


def by_key(records: Sequence[Any]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for record in records:
        found[record.key.decode()].append(StringValue.FromString(record.value).value)
    return found


async def drained(relay: OutboxRelay) -> int:
    total = 0
    while count := await relay.publish_pass():
        total += count
    return total


@pytest.fixture
async def relay(
    settings: WordSettings, store: WordStore, create_topics: CreateTopics
) -> AsyncIterator[OutboxRelay]:
    await create_topics(TOPIC)
    made = OutboxRelay(settings, store.engine, store.outbox)
    yield made
    await made._drop_producer()


async def test_a_row_that_commits_after_a_later_one_is_not_skipped(
    store: WordStore, relay: OutboxRelay, read_topic: ReadTopic
) -> None:
    async with transaction(store.engine) as slow:
        await store.say(slow, "first-key", "took the lower id")
        await store.enqueue("second-key", "committed first")
        assert await drained(relay) == 1
    assert await drained(relay) == 1
    assert sorted(said(await read_topic(TOPIC))) == ["committed first", "took the lower id"]


async def test_a_second_writer_of_a_key_waits_for_the_commit_of_the_first(
    store: WordStore, relay: OutboxRelay, read_topic: ReadTopic, eventually: Eventually
) -> None:
    async with transaction(store.engine) as slow:
        await store.say(slow, "key", "first")
        second = asyncio.create_task(store.enqueue("key", "second"))
        await eventually(lambda: waits_for_advisory_lock(store), what="the second writer waits")
        assert not second.done()
        assert await drained(relay) == 0
    await second
    assert await drained(relay) == 2
    assert said(await read_topic(TOPIC)) == ["first", "second"]


async def waits_for_advisory_lock(store: WordStore) -> bool:
    async with store.engine.connect() as connection:
        query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objsubid = 2"
        return bool((await connection.exec_driver_sql(query)).scalar())


async def test_three_relays_publish_each_event_once_in_the_order_of_its_key(
    settings: WordSettings,
    store: WordStore,
    create_topics: CreateTopics,
    read_topic: ReadTopic,
    eventually: Eventually,
) -> None:
    await create_topics(TOPIC)
    keys, writers, each = [f"key-{n}" for n in range(24)], 6, 40
    written: defaultdict[str, list[str]] = defaultdict(list)
    counter = iter(range(10**6))

    async def write(seed: int) -> None:
        choice = random.Random(seed)
        for _ in range(each):
            key = choice.choice(keys)
            async with transaction(store.engine) as session:
                # The lock of the key is held from here on, so this list has the order of commits.
                value = f"{next(counter)}"
                await store.say(session, key, value)
                written[key].append(value)

    stop = asyncio.Event()
    relays = [
        asyncio.create_task(OutboxRelay(settings, store.engine, store.outbox).run(stop)) for _ in range(3)
    ]
    await asyncio.gather(*(write(seed) for seed in range(writers)))
    await eventually(store.published, deadline_s=30)
    stop.set()
    await asyncio.gather(*relays)
    assert by_key(await read_topic(TOPIC)) == written


async def test_a_record_carries_cloud_events_headers_and_the_trace(
    store: WordStore, relay: OutboxRelay, read_topic: ReadTopic
) -> None:
    await store.enqueue("key", "value", event_id="event-1")
    await drained(relay)
    (record,) = await read_topic(TOPIC)
    headers = text_headers(record.headers)
    assert record.key == b"key"
    assert headers.pop("ce_time").startswith("20")
    assert headers == {
        "ce_specversion": "1.0",
        "ce_id": "event-1",
        "ce_source": "licet/words",
        "ce_type": "google.protobuf.StringValue",
        "content-type": "application/protobuf",
    }


async def test_a_batch_keeps_its_order(store: WordStore, relay: OutboxRelay, read_topic: ReadTopic) -> None:
    values = [f"{number:04}" for number in range(1200)]
    async with transaction(store.engine) as session:
        await store.outbox.enqueue_many(
            session,
            [Outgoing(message=StringValue(value=v), key="key", event_id=v, topic=TOPIC) for v in values],
        )
    await drained(relay)
    assert said(await read_topic(TOPIC)) == values


async def test_an_event_that_rolls_back_is_never_published(
    store: WordStore, relay: OutboxRelay, read_topic: ReadTopic
) -> None:
    async def fail() -> None:
        async with transaction(store.engine) as session:
            await store.say(session, "key", "value")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    await store.enqueue("key", "kept")
    assert await drained(relay) == 1
    assert said(await read_topic(TOPIC)) == ["kept"]


async def test_an_event_id_is_refused_while_it_waits(store: WordStore) -> None:
    await store.enqueue("key", "value", event_id="same")
    with pytest.raises(IntegrityError):
        await store.enqueue("key", "other", event_id="same")


async def test_a_payload_that_no_broker_takes_is_refused(store: WordStore) -> None:
    with pytest.raises(PayloadTooLarge):
        await store.enqueue("key", "x" * (MAX_PAYLOAD_BYTES + 1), event_id="1")


async def test_the_largest_payload_is_published(
    store: WordStore, relay: OutboxRelay, read_topic: ReadTopic
) -> None:
    for number in range(3):
        await store.enqueue("key", f"{number}" + "x" * (MAX_PAYLOAD_BYTES - 100), event_id=f"{number}")
    assert await drained(relay) == 3
    assert [value[0] for value in said(await read_topic(TOPIC))] == ["0", "1", "2"]


async def test_a_missing_topic_holds_up_no_other(
    store: WordStore, relay: OutboxRelay, read_topic: ReadTopic
) -> None:
    await store.enqueue("key", "lost for now", topic="not.there")
    await store.enqueue("key", "published")
    assert await drained(relay) == 1
    assert said(await read_topic(TOPIC)) == ["published"]
    assert await store.count(store.tables.outbox) == 1


async def test_an_idle_relay_is_woken_by_the_commit(
    settings: WordSettings,
    store: WordStore,
    create_topics: CreateTopics,
    read_topic: ReadTopic,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_module, "POLL_INTERVAL_S", 3600)
    await create_topics(TOPIC)
    stop = asyncio.Event()
    running = asyncio.create_task(OutboxRelay(settings, store.engine, store.outbox).run(stop))
    await eventually(lambda: listens(store), what="the relay listens")
    await store.enqueue("key", "value")
    await eventually(store.published)
    stop.set()
    await running
    assert said(await read_topic(TOPIC)) == ["value"]


async def listens(store: WordStore) -> bool:
    async with store.engine.connect() as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        return bool((await connection.exec_driver_sql(query)).scalar())


async def test_a_single_writer_takes_no_lock_of_a_key(store: WordStore) -> None:
    outbox = Outbox(store.tables.outbox, source="kit", single_writer=True)
    async with transaction(store.engine) as session:
        await outbox.enqueue(session, StringValue(value="v"), key="key", event_id="1", topic=TOPIC)
        connection = await session.connection()
        locks = await connection.exec_driver_sql(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
        assert locks.scalar() == 0


async def test_the_producer_and_the_relay_put_a_key_on_the_same_partition(
    settings: WordSettings, store: WordStore, relay: OutboxRelay, read_topic: ReadTopic
) -> None:
    keys = [f"{number:032x}" for number in range(40)]
    for key in keys:
        await store.enqueue(key, "relayed")
    await drained(relay)
    async with Producer(settings, source="test") as producer:
        await producer.send_many(
            [Outgoing(message=StringValue(value="sent"), key=key, event_id=key, topic=TOPIC) for key in keys]
        )
    places: defaultdict[str, set[int]] = defaultdict(set)
    for record in await read_topic(TOPIC):
        places[record.key.decode()].add(record.partition)
    assert set(places) == set(keys)
    assert {len(partitions) for partitions in places.values()} == {1}
    assert len(set.union(*places.values())) == 3


async def test_a_producer_works_again_after_a_failure(
    settings: WordSettings,
    create_topics: CreateTopics,
    read_topic: ReadTopic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await create_topics(TOPIC)
    async with Producer(settings, source="test") as producer:
        await producer.send(StringValue(value="a"), key="key", event_id="a", topic=TOPIC)
        with monkeypatch.context() as patch:
            patch.setattr("licet_kit.producer.SEND_TIMEOUT_S", 0.5)
            with pytest.raises((TimeoutError, KafkaError)):
                await producer.send(StringValue(value="b"), key="key", event_id="b", topic="not.there")
        await producer.send(StringValue(value="c"), key="key", event_id="c", topic=TOPIC)
    assert said(await read_topic(TOPIC)) == ["a", "c"]


async def test_the_trace_of_a_transaction_goes_on_in_its_record(
    store: WordStore, relay: OutboxRelay, read_topic: ReadTopic
) -> None:
    with TracerProvider().get_tracer("test").start_as_current_span("request") as span:
        await store.enqueue("key", "value")
    await drained(relay)
    (record,) = await read_topic(TOPIC)
    remote = trace.get_current_span(extract(text_headers(record.headers))).get_span_context()
    assert (remote.trace_id, remote.is_remote) == (span.get_span_context().trace_id, True)
