"""Fan-out: a reader without a group that sees every message of a topic, kept in memory by its process.

It starts some time back (or at the beginning) and knows when it has caught up. After an outage it goes on where it
stood, so that nothing is missed; a message may be seen twice.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from licet_kit.errors import Unavailable
from licet_kit.kafka.connection import KafkaUnavailable, close_consumer, start_consumer, topic_name
from licet_kit.kafka.message import Decoder, Message, message_of, raw_of
from licet_kit.lifecycle import wait_or_stop
from licet_kit.logs import get_logger
from licet_kit.settings import KafkaSettings

log = get_logger(__name__)

T = TypeVar("T")

POLL_MS = 200
# How often the reader asks for the end of the topic: what it read up to there is all there was at that time.
CONFIRM_INTERVAL_S = 1.0
# Brokers that do not answer within this are away.
ANSWER_TIMEOUT_S = 3.0
FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 5.0


class Fanout(Generic[T]):
    """Reads all partitions of a topic from `back_s` seconds before its start; None: from the beginning.

    A message that cannot be decoded or handled is not passed over: the reader stands still before it and is not
    caught up, until it can be.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        topic: str,
        decode: Decoder[T],
        handler: Callable[[Message[T]], Awaitable[None]],
        back_s: float | None,
        prompt: bool = False,
    ) -> None:
        self._settings = settings
        self._topic = topic
        self._decode = decode
        self._handler = handler
        self._back_s = back_s
        self._prompt = prompt
        # The next offset of each partition; survives reconnects.
        self._next: dict[TopicPartition, int] = {}
        self._caught_up = asyncio.Event()
        self._confirmed_at: float | None = None

    @property
    def caught_up(self) -> bool:
        """Whether everything up to a recent end of the topic was handled, and the brokers answer."""
        return self._caught_up.is_set()

    @property
    def confirmed_at(self) -> float | None:
        """The monotonic time before which everything acknowledged to producers has been handled here."""
        return self._confirmed_at

    async def wait_caught_up(self) -> None:
        """Wait until `caught_up`."""
        await self._caught_up.wait()

    async def check(self) -> None:
        """Raise unless caught up; a check for `health.Health`."""
        if not self.caught_up:
            raise Unavailable(f"{self._topic} is not read up to its end")

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop` is set."""
        backoff_s = FIRST_BACKOFF_S
        while not stop.is_set():
            before = dict(self._next)
            try:
                await self._session(stop)
            except Exception as error:  # noqa: BLE001  edge: whatever it is, what follows must not be read past it
                self._caught_up.clear()
                progressed = self._next != before
                backoff_s = FIRST_BACKOFF_S if progressed else min(backoff_s * 2, LONGEST_BACKOFF_S)
                log.warning("fanout.interrupted", topic=self._topic, error=repr(error), retry_in_s=backoff_s)
                await wait_or_stop(stop, backoff_s)
        self._caught_up.clear()

    async def _session(self, stop: asyncio.Event) -> None:
        """Read on one connection until something fails."""
        # Offsets that retention has removed lead to the oldest message that is left.
        consumer = await start_consumer(self._settings, prompt=self._prompt, auto_offset_reset="earliest")
        try:
            partitions = await self._assign(consumer)
            await self._read(consumer, partitions, stop)
        finally:
            # At once: closing a client whose brokers are away takes its time.
            self._caught_up.clear()
            await close_consumer(consumer)

    async def _assign(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        partitions = await self._partitions(consumer)
        consumer.assign(partitions)
        new = [partition for partition in partitions if partition not in self._next]
        self._next.update(await self._starts(consumer, new, first=not self._next))
        for partition in partitions:
            consumer.seek(partition, self._next[partition])
        return partitions

    async def _partitions(self, consumer: AIOKafkaConsumer) -> list[TopicPartition]:
        name = topic_name(self._settings, self._topic)
        cluster = await consumer._client.fetch_all_metadata()
        found = cluster.partitions_for_topic(name)
        if not found:
            raise KafkaUnavailable(f"there is no topic {name}")
        return [TopicPartition(name, number) for number in sorted(found)]

    async def _starts(
        self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition], *, first: bool
    ) -> dict[TopicPartition, int]:
        """Return where to begin; a partition that is added later is read whole."""
        if not partitions:
            return {}
        starts: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
        if self._back_s is None or not first:
            return starts
        since_ms = int((time.time() - self._back_s) * 1000)
        ends = await consumer.end_offsets(partitions)
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
        return {
            partition: ends[partition] if (at := found.get(partition)) is None else at.offset
            for partition in partitions
        }

    async def _read(
        self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition], stop: asyncio.Event
    ) -> None:
        asked_at, ends = await self._ends(consumer, partitions)
        while not stop.is_set():
            if await self._reached(consumer, ends):
                self._confirmed_at = asked_at
                self._caught_up.set()
            if time.monotonic() - asked_at >= CONFIRM_INTERVAL_S:
                asked_at, ends = await self._ends(consumer, partitions)
            for partition, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
                for record in records:
                    await self._handler(
                        message_of(raw_of(record, self._settings.kafka_topic_prefix), self._decode)
                    )
                    self._next[partition] = record.offset + 1

    async def _reached(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
        """Whether the reader stands at these ends; its position knows of offsets that hold no message."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return all([await consumer.position(partition) >= end for partition, end in ends.items()])

    async def _ends(
        self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]
    ) -> tuple[float, dict[TopicPartition, int]]:
        """Ask where the topic ends now; raises TimeoutError when the brokers are away."""
        asked_at = time.monotonic()
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            if await self._partitions(consumer) != partitions:
                raise KafkaUnavailable(f"the partitions of {self._topic} changed")
            return asked_at, await consumer.end_offsets(partitions)
