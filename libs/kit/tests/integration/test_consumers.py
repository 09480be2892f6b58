"""The consumer factory on real Kafka: acknowledgement after the effect, whatever ends or breaks in between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError
from faststream.kafka import KafkaBroker
from faststream.middlewares import AckPolicy
from google.protobuf.wrappers_pb2 import BoolValue, StringValue
from licet_kit.db import open_engine
from licet_kit.kafka import (
    Message,
    Subscription,
    WrongAckPolicy,
    broker_service,
    inspect_subscribers,
    make_broker,
    protobuf,
    subscribe,
)
from licet_kit.kafka.connection import start_producer
from licet_kit.producer import Producer
from licet_kit.testing.plugin import CreateTopics, Eventually, StartProxy
from licet_kit.testing.store import TOPIC, WordSettings, WordStore
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

GROUP = "listener"


class Consumer:
    """A running consumer of the topic."""

    def __init__(self, subscription: Subscription[StringValue], broker: KafkaBroker) -> None:
        self.subscription = subscription
        self._stop = asyncio.Event()
        self._running = asyncio.create_task(broker_service(broker, [subscription])(self._stop))

    async def stop(self) -> None:
        """End it as a process would."""
        self._stop.set()
        await self._running

    async def cut_off(self) -> None:
        """End it in the middle of what it does."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)


class Consume(Protocol):
    """Starts a consumer that ends with the test."""

    async def __call__(
        self, handler: Any = None, *, engine: AsyncEngine | None = None, **options: Any
    ) -> Consumer:
        """Start it."""


@pytest.fixture
async def consume(
    settings: WordSettings, store: WordStore, create_topics: CreateTopics
) -> AsyncIterator[Consume]:
    await create_topics(TOPIC)
    started: list[Consumer] = []

    async def start(handler: Any = None, *, engine: AsyncEngine | None = None, **options: Any) -> Consumer:
        broker = make_broker(settings)
        subscription = subscribe(
            broker,
            settings=settings,
            topic=TOPIC,
            group=GROUP,
            decode=protobuf(StringValue),
            handler=handler or store.apply,
            engine=engine or store.engine,
            tables=store.tables,
            outbox=store.outbox,
            **options,
        )
        consumer = Consumer(subscription, broker)
        started.append(consumer)
        return consumer

    yield start
    for consumer in started:
        await consumer.cut_off()


@pytest.fixture
async def produce(settings: WordSettings, create_topics: CreateTopics) -> AsyncIterator[Callable[..., Any]]:
    async with Producer(settings, source="test") as producer:

        async def send(key: str, *values: str) -> None:
            for value in values:
                await producer.send(StringValue(value=value), key=key, event_id=f"{key}-{value}", topic=TOPIC)

        yield send


def took_effect(store: WordStore, key: str, *values: str) -> Callable[[], Any]:
    async def check() -> bool:
        return await store.effects(key) == list(values)

    return check


async def test_what_was_there_before_the_group_is_consumed_in_order(
    store: WordStore, consume: Consume, produce: Any, eventually: Eventually
) -> None:
    numbers = [f"{number}" for number in range(50)]
    await produce("a", *numbers)
    await produce("b", *numbers)
    await consume()
    await eventually(took_effect(store, "a", *numbers))
    await eventually(took_effect(store, "b", *numbers))


async def test_a_repeated_event_is_counted_once(
    store: WordStore, consume: Consume, produce: Any, eventually: Eventually
) -> None:
    await consume()
    await produce("key", "a", "a", "b", "a", "c")
    await eventually(took_effect(store, "key", "a", "b", "c"))


async def test_a_message_whose_handler_was_cut_off_is_delivered_again(
    store: WordStore,
    consume: Consume,
    produce: Any,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("licet_kit.kafka.subscriber.GRACEFUL_S", 0.1)
    reached = asyncio.Event()

    async def hang(session: AsyncSession, message: Message[StringValue]) -> None:
        await store.apply(session, message)
        reached.set()
        await asyncio.Event().wait()

    first = await consume(hang)
    await produce("key", "a")
    await asyncio.wait_for(reached.wait(), 15)
    await first.cut_off()
    await consume()
    await eventually(took_effect(store, "key", "a"), deadline_s=30)


async def test_a_crash_between_commit_and_acknowledgement_does_not_repeat_the_effect(
    store: WordStore,
    consume: Consume,
    produce: Any,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused: list[Any] = []

    async def refuse(_consumer: AIOKafkaConsumer, offsets: Any = None) -> None:
        refused.append(offsets)
        raise CommitFailedError

    with monkeypatch.context() as patch:
        patch.setattr(AIOKafkaConsumer, "commit", refuse)
        first = await consume()
        await produce("key", "a", "b")
        await eventually(took_effect(store, "key", "a", "b"))
        await first.stop()
    assert refused
    handled: list[str] = []

    async def handle(session: AsyncSession, message: Message[StringValue]) -> None:
        handled.append(message.value.value)
        await store.apply(session, message)

    await consume(handle)
    await produce("key", "c")
    await eventually(took_effect(store, "key", "a", "b", "c"), deadline_s=30)
    assert handled == ["c"]


async def test_a_consumer_that_stopped_goes_on_behind_what_it_acknowledged(
    store: WordStore, consume: Consume, produce: Any, eventually: Eventually
) -> None:
    first = await consume()
    await produce("key", "a")
    await eventually(took_effect(store, "key", "a"))
    await first.stop()
    await produce("key", "b")
    # Without inbox, a repetition would show.
    async with store.engine.begin() as connection:
        await connection.exec_driver_sql("DELETE FROM inbox")
    await consume()
    await eventually(took_effect(store, "key", "a", "b"), deadline_s=30)


async def test_a_poison_message_does_not_stop_its_partition(
    store: WordStore, consume: Consume, produce: Any, eventually: Eventually, settings: WordSettings
) -> None:
    await consume()
    producer = await start_producer(settings)
    try:
        # Not a StringValue, and a header that is not text: FastStream's own parser raises on it.
        await producer.send_and_wait(
            f"{settings.kafka_topic_prefix}{TOPIC}",
            b"\xff",
            key=b"bad",
            partition=0,
            headers=[("x", b"\xfe\xff")],
        )
        for value in (b"1", b"2"):
            message = StringValue(value=value.decode()).SerializeToString()
            await producer.send_and_wait(
                f"{settings.kafka_topic_prefix}{TOPIC}", message, key=b"good", partition=0
            )
    finally:
        await producer.stop()
    await eventually(took_effect(store, "good", "1", "2"))
    assert await store.count(store.tables.quarantine) == 1


async def test_a_message_of_another_type_is_not_passed_over(
    store: WordStore, consume: Consume, settings: WordSettings, eventually: Eventually
) -> None:
    await consume()
    async with Producer(settings, source="test") as producer:
        await producer.send(BoolValue(value=True), key="key", event_id="1", topic=TOPIC)
    await eventually(lambda: store.count(store.tables.quarantine))


async def test_an_outage_of_the_database_is_waited_for_without_acknowledging(
    store: WordStore, consume: Consume, produce: Any, eventually: Eventually, proxy: StartProxy
) -> None:
    server = urlsplit(store.url)
    door = await proxy(server.hostname or "", server.port or 0)
    async with open_engine(store.url.replace(f":{server.port}/", f":{door.port}/")) as engine:
        first = await consume(engine=engine)
        await produce("key", "a")
        await eventually(took_effect(store, "key", "a"))
        await door.cut()
        await produce("key", "b", "c")
        await eventually(lambda: first.subscription.waiting)
        with pytest.raises(Exception, match="waits"):
            await first.subscription.check()
        # It ends although it waits, and what it did not take in is somebody else's.
        await first.stop()
        await door.restore()
        second = await consume(engine=engine)
        await eventually(took_effect(store, "key", "a", "b", "c"), deadline_s=30)
        await door.cut()
        await produce("key", "d")
        await eventually(lambda: second.subscription.waiting)
        await door.restore()
        await produce("key", "e")
        await eventually(took_effect(store, "key", "a", "b", "c", "d", "e"), deadline_s=30)
        assert not second.subscription.waiting
        assert await store.count(store.tables.quarantine) == 0
        await second.stop()


async def test_two_members_of_a_group_share_the_work_without_repeating_it(
    store: WordStore, consume: Consume, produce: Any, eventually: Eventually
) -> None:
    await consume()
    keys = [f"key-{number}" for number in range(6)]
    for key in keys:
        await produce(key, "1", "2")
    await consume()
    for key in keys:
        await produce(key, "3", "4")
    for key in keys:
        await eventually(took_effect(store, key, "1", "2", "3", "4"), deadline_s=30)


async def test_the_factory_acknowledges_by_hand_alone(
    settings: WordSettings, store: WordStore, consume: Consume
) -> None:
    broker = make_broker(settings)
    subscribe(
        broker,
        settings=settings,
        topic=TOPIC,
        group=GROUP,
        decode=protobuf(StringValue),
        handler=store.apply,
        engine=store.engine,
        tables=store.tables,
        outbox=store.outbox,
    )
    assert inspect_subscribers(broker) == 1


@pytest.mark.filterwarnings("ignore:AckPolicy.REJECT_ON_ERROR has the same effect:UserWarning")
@pytest.mark.parametrize("policy", [policy for policy in AckPolicy if policy is not AckPolicy.MANUAL])
def test_a_subscriber_with_another_policy_is_refused(settings: WordSettings, policy: AckPolicy) -> None:
    broker = make_broker(settings)
    broker.subscriber("anything", group_id="group", ack_policy=policy)
    with pytest.raises(WrongAckPolicy):
        inspect_subscribers(broker)


def test_the_default_of_a_bare_broker_is_refused() -> None:
    broker = KafkaBroker("localhost:1")
    broker.subscriber("anything", group_id="group")
    with pytest.raises(WrongAckPolicy):
        inspect_subscribers(broker)
