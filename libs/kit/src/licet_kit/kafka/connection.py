"""How every Kafka client of the platform connects."""

import asyncio
import ssl
from collections.abc import Coroutine
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from licet_kit.errors import Unavailable
from licet_kit.settings import KafkaSettings

# A request that takes longer meets a dead broker; the work is tried again.
REQUEST_TIMEOUT_MS = 10_000
# aiokafka keeps one fetch in flight a broker; a record of a partition that it does not name waits until it returns.
# Idle readers ask anew as often, at about a millisecond of processor time each.
FETCH_MAX_WAIT_MS = 150
# For the readers that stand between a transfer on chain and the refusal of its former holder.
PROMPT_FETCH_MAX_WAIT_MS = 50
# A client that cannot start within this says so instead of trying silently for ever.
START_TIMEOUT_S = 15.0
# Closing a client whose brokers are away waits for answers that do not come.
CLOSE_TIMEOUT_S = 3.0
# One produce batch; larger than the default, because a relay sends hundreds of rows of one partition at once.
MAX_BATCH_BYTES = 512 * 1024


class KafkaUnavailable(Unavailable):
    """The brokers do not answer."""

    code = "kafka_unavailable"


def topic_name(settings: KafkaSettings, topic: str) -> str:
    """Return the name of a topic on the brokers: with the installation's prefix."""
    return f"{settings.kafka_topic_prefix}{topic}"


def client_args(settings: KafkaSettings) -> dict[str, Any]:
    """Return what aiokafka's producer and consumer need to connect."""
    args: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap,
        "security_protocol": settings.kafka_security_protocol,
        "ssl_context": _ssl_context(settings),
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "client_id": f"licet-{settings.service_name}",
    }
    if settings.kafka_sasl_mechanism and settings.kafka_sasl_password:
        args["sasl_mechanism"] = settings.kafka_sasl_mechanism
        args["sasl_plain_username"] = settings.kafka_sasl_username
        args["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    return args


def broker_security(settings: KafkaSettings) -> BaseSecurity:
    """Return FastStream's form of the same."""
    context = _ssl_context(settings)
    if settings.kafka_sasl_mechanism is None or settings.kafka_sasl_password is None:
        return BaseSecurity(ssl_context=context, use_ssl=context is not None)
    kinds = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
    return kinds[settings.kafka_sasl_mechanism](
        username=settings.kafka_sasl_username or "",
        password=settings.kafka_sasl_password.get_secret_value(),
        ssl_context=context,
        use_ssl=context is not None,
    )


async def start_producer(settings: KafkaSettings) -> AIOKafkaProducer:
    """Start a producer that loses and doubles nothing: every in-sync replica acknowledges, retries are idempotent.

    Raises KafkaUnavailable.
    """
    producer = AIOKafkaProducer(
        **client_args(settings),
        acks="all",
        enable_idempotence=True,
        max_batch_size=MAX_BATCH_BYTES,
    )
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            await producer.start()
    except (KafkaError, OSError, TimeoutError) as error:
        await abandon(producer)
        raise KafkaUnavailable(f"cannot start a producer at {settings.kafka_bootstrap}: {error!r}") from error
    except BaseException:
        await abandon(producer)
        raise
    return producer


async def abandon(producer: AIOKafkaProducer) -> None:
    """Close a producer without waiting for what it still holds.

    `stop` flushes first, for ever while the brokers are away, and its late records would follow newer ones.
    aiokafka has no public call for this, hence its private parts.
    """
    parts: Any = producer
    parts._closed = True
    parts._message_accumulator.fail_all(KafkaUnavailable("the producer was abandoned"))
    # The sender awaits requests in flight; closing the connections first ends them.
    await _quietly(parts.client.close())
    await _quietly(parts._sender.close())


async def close_consumer(consumer: AIOKafkaConsumer) -> None:
    """Close a consumer, whether the brokers are there or not."""
    await _quietly(consumer.stop())
    # `stop` waits for fetches that it has cancelled and can end with them, before it comes to its connections.
    parts: Any = consumer
    await _quietly(parts._client.close())


async def _quietly(closing: Coroutine[Any, Any, None]) -> None:
    """Close something in a task of its own, for a bounded time, whatever it raises.

    aiokafka's clients await tasks that they have cancelled, which would look like a cancellation of the caller.
    """
    task = asyncio.create_task(closing)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    _, late = await asyncio.wait({task}, timeout=CLOSE_TIMEOUT_S)
    if late:
        # Interrupted in its wait for a task that missed its own cancellation, it goes on to close the connections.
        task.cancel()
        await asyncio.wait(late, timeout=CLOSE_TIMEOUT_S)


def fetch_wait_ms(*, prompt: bool) -> int:
    """Return how long a fetch may stay with the brokers when there is nothing to bring."""
    return PROMPT_FETCH_MAX_WAIT_MS if prompt else FETCH_MAX_WAIT_MS


async def start_consumer(
    settings: KafkaSettings, *, prompt: bool = False, **options: Any
) -> AIOKafkaConsumer:
    """Start a consumer without a group; raises KafkaUnavailable."""
    waits = {"fetch_max_wait_ms": fetch_wait_ms(prompt=prompt)}
    args = {**client_args(settings), **waits, "enable_auto_commit": False}
    consumer = AIOKafkaConsumer(**args, **options)
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            await consumer.start()
    except (KafkaError, OSError, TimeoutError) as error:
        await close_consumer(consumer)
        raise KafkaUnavailable(f"cannot start a consumer at {settings.kafka_bootstrap}: {error!r}") from error
    except BaseException:
        await close_consumer(consumer)
        raise
    return consumer


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    if not settings.kafka_security_protocol.endswith("SSL"):
        return None
    return ssl.create_default_context(cafile=str(settings.kafka_ssl_ca) if settings.kafka_ssl_ca else None)
