"""The one way to consume: FastStream subscribers that commit offsets after the database has committed.

FastStream's default acknowledges before the handler runs, and its other policies commit when a handler raises;
all are forbidden here, and `inspect_subscribers` proves it for a whole broker.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Generic, TypeVar, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from faststream.kafka import KafkaBroker
from faststream.message import StreamMessage
from faststream.middlewares import AckPolicy
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_kit.errors import PermanentError, Unavailable
from licet_kit.kafka.connection import (
    REQUEST_TIMEOUT_MS,
    START_TIMEOUT_S,
    broker_security,
    fetch_wait_ms,
    topic_name,
)
from licet_kit.kafka.delivery import BatchHandler, Delivery, Handler, QuarantineHook, RetryPolicy
from licet_kit.kafka.fate import Fate, fate_of
from licet_kit.kafka.message import Decoder, Raw, raw_of
from licet_kit.kafka.quarantine import Place
from licet_kit.lifecycle import Service, wait_or_stop
from licet_kit.logs import get_logger
from licet_kit.outbox import Outbox
from licet_kit.settings import KafkaSettings
from licet_kit.tables import MessagingTables
from licet_kit.telemetry import meter, names

log = get_logger(__name__)

T = TypeVar("T")

# One transaction holds locks on what it changed; more messages would hold them longer than others may wait.
BATCH_SIZE = 200
# FastStream sleeps this long again after an empty poll, so it bounds the delay of an idle consumer.
POLL_MS = 100
PROMPT_POLL_MS = 20
# Without a poll for this long the brokers give the partitions to another member.
MAX_POLL_INTERVAL_MS = 300_000
# A handler that is at work when the process stops gets this long; what it does not finish is read again.
GRACEFUL_S = 10.0
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0

_waiting = meter(__name__).create_up_down_counter(names.CONSUMER_WAITING)

# aiokafka ships no types that a checker can read.
Record = Any


class WrongAckPolicy(PermanentError):
    """A subscriber that may acknowledge what has no effect yet."""

    code = "wrong_ack_policy"


class Subscription(Generic[T]):
    """One consumer of one topic."""

    def __init__(self, delivery: Delivery[T], prefix: str) -> None:
        self.delivery = delivery
        # Set while the consumer stands still because something it needs is away.
        self.waiting = False
        self.stopping = asyncio.Event()
        self._prefix = prefix
        self._subscriber: Any = None

    def attach(self, subscriber: Any) -> None:
        """Hang on a FastStream subscriber."""
        self._subscriber = subscriber
        subscriber(self._consume)

    async def check(self) -> None:
        """Raise while the consumer waits; a check for `health.Health`."""
        if self.waiting:
            raise Unavailable(f"{self.delivery.place.consumer} waits and consumes nothing")

    async def _consume(self, message: StreamMessage[Any]) -> None:
        """Take in one poll's records. Never raises: FastStream would go on behind the records that failed."""
        consumer: AIOKafkaConsumer = self._subscriber.consumer
        pending: defaultdict[TopicPartition, list[Record]] = defaultdict(list)
        for record in message.raw_message:
            pending[TopicPartition(record.topic, record.partition)].append(record)
        try:
            for partition in list(pending):
                if not await self._take(consumer, partition, pending[partition]):
                    break
                del pending[partition]
        except Exception as error:
            log.exception("consumer.broken", error=repr(error), **self.delivery.labels)
        finally:
            # What is not done is read again, or it would be committed with what follows it.
            for partition, records in pending.items():
                if partition in consumer.assignment():
                    consumer.seek(partition, records[0].offset)

    async def _take(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, records: list[Record]
    ) -> bool:
        raws = [raw_of(record, self._prefix) for record in records]
        if not await self._deliver(consumer, partition, raws):
            return False
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await consumer.commit({partition: records[-1].offset + 1})
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            # Another member reads them again, and the inbox knows them.
            log.warning("consumer.commit_failed", error=repr(error), **self.delivery.labels)
        return True

    async def _deliver(self, consumer: AIOKafkaConsumer, partition: TopicPartition, raws: list[Raw]) -> bool:
        """Deliver, waiting for what is away; false when stopping, or when the partition went to another member."""
        wait_s = FIRST_WAIT_S
        try:
            while True:
                try:
                    await self.delivery.deliver(raws)
                except Exception as error:
                    if fate_of(error) is not Fate.WAIT:
                        raise
                    log.warning(
                        "consumer.waiting", error=repr(error), retry_in_s=wait_s, **self.delivery.labels
                    )
                else:
                    return True
                self._set_waiting(True)
                if await self._pause(consumer, wait_s) or partition not in consumer.assignment():
                    return False
                wait_s = min(wait_s * 2, LONGEST_WAIT_S)
        finally:
            self._set_waiting(False)
            consumer.resume(*(consumer.paused() & consumer.assignment()))

    async def _pause(self, consumer: AIOKafkaConsumer, wait_s: float) -> bool:
        """Wait without consuming, but poll, or the brokers give the partitions away; true when stopping."""
        consumer.pause(*consumer.assignment())
        stopping = await wait_or_stop(self.stopping, wait_s)
        for partition, records in (await consumer.getmany(timeout_ms=0)).items():
            # Of a partition that was assigned while we waited.
            consumer.seek(partition, records[0].offset)
        return stopping

    def _set_waiting(self, waiting: bool) -> None:
        if waiting != self.waiting:
            _waiting.add(1 if waiting else -1, self.delivery.labels)
        self.waiting = waiting


def make_broker(settings: KafkaSettings) -> KafkaBroker:
    """Return the broker that a service's subscribers hang on; it creates no topics."""
    return KafkaBroker(
        settings.kafka_bootstrap,
        client_id=f"licet-{settings.service_name}",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        security=broker_security(settings),
        ack_policy=AckPolicy.MANUAL,
        consumer_only=True,
        allow_auto_create_topics=False,
        apply_types=False,
        graceful_timeout=GRACEFUL_S,
        logger=None,
    )


def subscribe(  # noqa: PLR0913  the parts of a consumer, all named
    broker: KafkaBroker,
    *,
    settings: KafkaSettings,
    topic: str,
    group: str,
    decode: Decoder[T],
    handler: Handler[T],
    engine: AsyncEngine,
    tables: MessagingTables,
    outbox: Outbox,
    batch_handler: BatchHandler[T] | None = None,
    on_quarantine: QuarantineHook | None = None,
    on_lift: QuarantineHook | None = None,
    retry: RetryPolicy | None = None,
    batch_size: int = BATCH_SIZE,
    prompt: bool = False,
) -> Subscription[T]:
    """Consume a topic as `group`, from its beginning when the group is new.

    The group also names the consumer in inbox and quarantine. A batch of one partition is one transaction with
    its inbox rows; offsets are committed after it. See `delivery` for what becomes of a message that fails.
    A `prompt` reader asks more often, for topics where a tenth of a second counts.
    """
    delivery = Delivery(
        engine=engine,
        place=Place(tables=tables, outbox=outbox, consumer=group, topic=topic),
        decode=decode,
        handler=handler,
        batch_handler=batch_handler,
        on_quarantine=on_quarantine,
        on_lift=on_lift,
        retry=retry or RetryPolicy(),
    )
    subscription = Subscription(delivery, settings.kafka_topic_prefix)
    subscription.attach(
        broker.subscriber(
            topic_name(settings, topic),
            group_id=f"{settings.kafka_topic_prefix}{group}",
            batch=True,
            batch_timeout_ms=PROMPT_POLL_MS if prompt else POLL_MS,
            max_records=batch_size,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            fetch_max_wait_ms=fetch_wait_ms(prompt=prompt),
            parser=_parse,
            decoder=_decode_nothing,
            no_reply=True,
        )
    )
    return subscription


def inspect_subscribers(broker: KafkaBroker) -> int:
    """Return the number of subscribers; raises WrongAckPolicy unless each acknowledges only by our hand."""
    for subscriber in broker.subscribers:
        if subscriber.ack_policy is not AckPolicy.MANUAL:
            raise WrongAckPolicy(f"{subscriber} acknowledges by {subscriber.ack_policy}")
        args = cast("Any", subscriber)._connection_args
        if args.get("enable_auto_commit"):
            raise WrongAckPolicy(f"{subscriber} commits offsets by itself")
    return len(broker.subscribers)


def broker_service(broker: KafkaBroker, subscriptions: Sequence[Subscription[Any]]) -> Service:
    """Return a broker and all its subscriptions as a part of the process; absent Kafka is waited for."""

    async def serve(stop: asyncio.Event) -> None:
        inspect_subscribers(broker)
        try:
            if await _start(broker, stop):
                await stop.wait()
        finally:
            for subscription in subscriptions:
                subscription.stopping.set()
            await broker.stop()

    return serve


async def _start(broker: KafkaBroker, stop: asyncio.Event) -> bool:
    wait_s = FIRST_WAIT_S
    while not stop.is_set():
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await broker.start()
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("consumer.start_failed", error=repr(error), retry_in_s=wait_s)
            await broker.stop()
            await wait_or_stop(stop, wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
        else:
            return True
    return False


async def _parse(records: Any) -> StreamMessage[Any]:
    """Wrap records without reading them: FastStream's own parser raises on headers that are not text."""
    return StreamMessage(raw_message=records, body=[])


async def _decode_nothing(message: StreamMessage[Any]) -> StreamMessage[Any]:
    """Leave decoding to the delivery, which can quarantine what does not decode.

    FastStream hands the subscriber what its decoder returns, so the message itself goes through.
    """
    return message
