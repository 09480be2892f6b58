"""A stream of records that are bytes already: many at once, and nothing about them changes."""

from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from google.protobuf.wrappers_pb2 import StringValue
from licet_kit.outbox import Outgoing
from licet_kit.producer import Encoded, Producer
from licet_kit.settings import KafkaSettings
from licet_kit.testing.plugin import CreateTopics

TOPIC = "words"
RECORDS = 5000


class StreamSettings(KafkaSettings):
    """Settings of these tests."""

    service_name = "stream"


async def test_encoded_records_keep_their_order_and_share_partitions_with_messages(
    servers: dict[str, Any], topic_prefix: str, create_topics: CreateTopics
) -> None:
    await create_topics(TOPIC, partitions=3)
    bootstrap = servers["kafka"]["bootstrap"]
    settings = StreamSettings(http_port=1, kafka_bootstrap=bootstrap, kafka_topic_prefix=topic_prefix)
    keys = [f"{number:032x}" for number in range(7)]
    # Five megabytes: more than one batch for each partition.
    sent = [
        Encoded(keys[i % 7].encode(), b"%d:" % i + b"x" * 1000, [("ce_id", b"%d" % i)])
        for i in range(RECORDS)
    ]
    async with Producer(settings, source="test") as producer:
        await producer.send_encoded(TOPIC, sent)
        await producer.send_many(
            [Outgoing(message=StringValue(value=key), key=key, event_id=key, topic=TOPIC) for key in keys]
        )
    seen: dict[str, list[tuple[int, bytes, tuple[tuple[str, bytes], ...]]]] = {key: [] for key in keys}
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(f"{topic_prefix}{TOPIC}", number) for number in range(3)])
        for _ in range(RECORDS + len(keys)):
            record = await consumer.getone()
            seen[record.key.decode()].append((record.partition, record.value, tuple(record.headers)))
    finally:
        await consumer.stop()
    for key, records in seen.items():
        assert len({partition for partition, _, _ in records}) == 1
        mine = [each for each in sent if each.key == key.encode()]
        assert [(value, headers) for _, value, headers in records[:-1]] == [
            (each.value, tuple(each.headers)) for each in mine
        ]
