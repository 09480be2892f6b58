"""Relay, consumer and reader together, when their broker is killed."""

import asyncio

from google.protobuf.wrappers_pb2 import StringValue
from licet_kit import lifecycle
from licet_kit.kafka import Fanout, Message, broker_service, make_broker, protobuf, subscribe
from licet_kit.relay import relay
from licet_kit.testing.own_kafka import OwnKafka
from licet_kit.testing.plugin import Eventually
from licet_kit.testing.store import TOPIC, WordSettings, WordStore
from licet_kit.testing.topics import Topics

# A killed broker recovers its log before it serves.
RECOVERY_S = 90


async def test_nothing_is_lost_or_reordered_over_a_killed_broker(
    store: WordStore, own_kafka: OwnKafka, topic_prefix: str, eventually: Eventually
) -> None:
    settings = WordSettings(kafka_bootstrap=own_kafka.bootstrap, kafka_topic_prefix=topic_prefix)
    await Topics(own_kafka.bootstrap, topic_prefix).create(TOPIC)
    seen: list[str] = []

    async def see(message: Message[StringValue]) -> None:
        seen.append(message.value.value)

    async def arrived(*values: str) -> bool:
        return await store.effects("key") == list(values) and list(dict.fromkeys(seen)) == list(values)

    reader = Fanout(settings, topic=TOPIC, decode=protobuf(StringValue), handler=see, back_s=60)
    broker = make_broker(settings)
    subscription = subscribe(
        broker,
        settings=settings,
        topic=TOPIC,
        group="listener",
        decode=protobuf(StringValue),
        handler=store.apply,
        engine=store.engine,
        tables=store.tables,
        outbox=store.outbox,
    )
    process = asyncio.create_task(
        lifecycle.run(
            relay(settings, store.engine, store.outbox),
            broker_service(broker, [subscription]),
            reader.run,
            signals=False,
        )
    )
    await store.enqueue("key", "0")
    await eventually(lambda: arrived("0"), deadline_s=30)
    await asyncio.wait_for(reader.wait_caught_up(), 30)
    await own_kafka.kill()
    await eventually(lambda: not reader.caught_up)
    numbers = [f"{number}" for number in range(20)]
    for number in numbers[1:-1]:
        await store.enqueue("key", number)
    await own_kafka.restart()
    await store.enqueue("key", numbers[-1])
    await eventually(lambda: arrived(*numbers), deadline_s=RECOVERY_S)
    await asyncio.wait_for(reader.wait_caught_up(), 30)
    assert await store.published()
    process.cancel()
    await asyncio.gather(process, return_exceptions=True)
