"""Reads figures back from where they are kept: Postgres, Kafka and the chain. Writes nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from google.protobuf.message import Message

T = TypeVar("T")
M = TypeVar("M", bound=Message)

POLL_S = 0.1


class NotInTime(AssertionError):
    """A condition did not come true before its deadline."""


def eventually(ask: Callable[[], T | None], what: str, deadline_s: float = 30.0) -> T:
    """Polls until `ask` returns something true and returns it; raises NotInTime with its last answer."""
    ends = time.monotonic() + deadline_s
    last: object = None
    while time.monotonic() < ends:
        try:
            last = answer = ask()
        except Exception as error:  # noqa: BLE001 - the system may be restarting; the last error is reported
            last = error
        else:
            if answer:
                return answer
        time.sleep(POLL_S)
    raise NotInTime(f"{what}: not within {deadline_s:.0f} s; last answer: {last!r}")


def rows(database_url: str, query: str, *args: object) -> list[dict[str, Any]]:
    """Rows of one SELECT, in a read-only transaction."""

    async def read() -> list[dict[str, Any]]:
        connection = await asyncpg.connect(database_url)
        try:
            async with connection.transaction(readonly=True):
                return [dict(r) for r in await connection.fetch(query, *args)]
        finally:
            await connection.close()

    return asyncio.run(read())


def topic(bootstrap: str, name: str, kind: type[M]) -> list[M]:
    """Every message of one type in a topic, from the beginning to the end at the time of asking."""
    return topic_since(bootstrap, name, kind, {})[0]


def topic_since(
    bootstrap: str, name: str, kind: type[M], begin: Mapping[int, int]
) -> tuple[list[M], dict[int, int]]:
    """Every message of one type from these offsets on, 0 where none is given, and the offsets behind the last."""

    async def read() -> tuple[list[M], dict[int, int]]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            return await _drain(consumer, name, kind, begin)
        finally:
            await consumer.stop()

    return asyncio.run(read())


async def _drain(
    consumer: AIOKafkaConsumer, name: str, kind: type[M], begin: Mapping[int, int]
) -> tuple[list[M], dict[int, int]]:
    wanted = kind.DESCRIPTOR.full_name.encode()
    found: list[M] = []
    await consumer._client.add_topic(name)
    partitions = [TopicPartition(name, p) for p in consumer.partitions_for_topic(name) or ()]
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    await consumer.seek_to_beginning(*partitions)
    for partition in partitions:
        if partition.partition in begin:
            consumer.seek(partition, begin[partition.partition])
    while any([await consumer.position(p) < ends[p] for p in partitions]):
        for records in (await consumer.getmany(timeout_ms=500)).values():
            typed = (r for r in records if dict(r.headers).get("ce_type", wanted) == wanted)
            found.extend(kind.FromString(r.value) for r in typed)
    return found, {p.partition: await consumer.position(p) for p in partitions}
