"""From records of one partition to effects: transactions, retries, quarantine.

A batch is one transaction. If it fails, its messages are tried one by one, a transaction each, so that only the
one at fault is held back. `deliver` returns when each record has its one effect or is parked, and raises only
when nothing can be decided now: the caller waits and delivers the same records again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from licet_kit.db import transaction
from licet_kit.errors import Unavailable
from licet_kit.inbox import first_times
from licet_kit.kafka.fate import Fate, fate_of, reason_of
from licet_kit.kafka.message import Decoder, Message, Raw, message_of
from licet_kit.kafka.quarantine import Held, Place
from licet_kit.logs import get_logger
from licet_kit.telemetry import extract, meter, names, tracer

log = get_logger(__name__)

T = TypeVar("T")
Handler = Callable[[AsyncSession, Message[T]], Awaitable[None]]
BatchHandler = Callable[[AsyncSession, list[Message[T]]], Awaitable[None]]
QuarantineHook = Callable[[AsyncSession, Held], Awaitable[None]]


class NotQuarantined(Unavailable):
    """A message could neither take effect nor be held back; the consumer stands still until it can."""

    code = "not_quarantined"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how far apart, one message is tried before its key is quarantined."""

    attempts: int = 5
    first_delay_s: float = 0.05
    longest_delay_s: float = 1.0

    def delay_s(self, attempt: int) -> float:
        """Return the wait after the given attempt, counted from 0."""
        return min(self.longest_delay_s, self.first_delay_s * 2.0**attempt)


_meter = meter(__name__)
_handled = _meter.create_counter(names.CONSUMER_HANDLED)
_repeated = _meter.create_counter(names.CONSUMER_REPEATED)
_retried = _meter.create_counter(names.CONSUMER_RETRIED)
_parked = _meter.create_counter(names.CONSUMER_PARKED)
_duration = _meter.create_histogram(
    names.CONSUMER_DURATION, unit="s", explicit_bucket_boundaries_advisory=names.DURATION_BOUNDARIES_S
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(Generic[T]):
    """How one consumer takes in one topic."""

    engine: AsyncEngine
    place: Place
    decode: Decoder[T]
    handler: Handler[T]
    batch_handler: BatchHandler[T] | None = None
    on_quarantine: QuarantineHook | None = None
    on_lift: QuarantineHook | None = None
    retry: RetryPolicy = RetryPolicy()

    @property
    def labels(self) -> dict[str, str]:
        """Return the metric labels of this consumer."""
        return {names.LABEL_CONSUMER: self.place.consumer, names.LABEL_TOPIC: self.place.topic}

    async def deliver(self, raws: Sequence[Raw]) -> None:
        """Give each record its one effect, in order. Raises an error whose fate is WAIT."""
        started = time.monotonic()
        try:
            await self._attempt(raws)
        except Exception as error:
            if fate_of(error) is Fate.WAIT:
                raise
            if len(raws) > 1:
                log.info("consumer.batch_split", messages=len(raws), error=repr(error), **self.labels)
            for raw in raws:
                await self._deliver_one(raw)
        _duration.record(time.monotonic() - started, self.labels)

    async def _deliver_one(self, raw: Raw) -> None:
        error: Exception | None = None
        for attempt in range(self.retry.attempts):
            try:
                await self._attempt([raw])
            except Exception as failure:
                error = failure
                match fate_of(failure):
                    case Fate.WAIT:
                        raise
                    case Fate.QUARANTINE | Fate.PARK:
                        break
                    case Fate.RETRY:
                        _retried.add(1, self.labels)
                        await asyncio.sleep(self.retry.delay_s(attempt))
            else:
                return
        if error is not None:
            await self._quarantine(raw, error)

    async def _attempt(self, raws: Sequence[Raw]) -> None:
        async with transaction(self.engine) as session:
            due = await self._due(session, raws)
            messages = [message_of(raw, self.decode) for raw in due]
            if self.batch_handler is not None and messages:
                await self._handle_batch(session, self.batch_handler, messages)
            else:
                for message in messages:
                    await self.handle(session, message)
        _handled.add(len(due), self.labels)
        _repeated.add(len(raws) - len(due), self.labels)

    async def _due(self, session: AsyncSession, raws: Sequence[Raw]) -> list[Raw]:
        """Return what must be handled now: not repeated, and not of a key in quarantine, which is parked here."""
        place = self.place
        fresh = await first_times(
            session, place.tables.inbox, [raw.event_id for raw in raws], consumer=place.consumer
        )
        once = {raw.event_id: raw for raw in reversed(raws) if raw.event_id in fresh}
        held = await place.held_keys(session, {raw.key for raw in once.values()})
        ordered = [raw for raw in raws if once.get(raw.event_id) is raw]
        parked = [raw for raw in ordered if raw.key in held]
        await place.park(session, parked, "key_held")
        _parked.add(len(parked), self.labels | {names.LABEL_REASON: "key_held"})
        return [raw for raw in ordered if raw.key not in held]

    async def handle(self, session: AsyncSession, message: Message[T]) -> None:
        """Run the handler in a span that continues the producer's trace."""
        with tracer(__name__).start_as_current_span(
            f"process {message.topic}",
            context=extract(message.headers),
            kind=SpanKind.CONSUMER,
            attributes={**self._attributes(), names.MESSAGING_MESSAGE_ID: message.event_id},
        ):
            await self.handler(session, message)

    async def _handle_batch(
        self, session: AsyncSession, handler: BatchHandler[T], messages: list[Message[T]]
    ) -> None:
        # Most records are of calls that nobody traces.
        contexts = (
            trace.get_current_span(extract(message.headers)).get_span_context()
            for message in messages
            if names.HEADER_TRACEPARENT in message.headers
        )
        with tracer(__name__).start_as_current_span(
            f"process {self.place.topic}",
            kind=SpanKind.CONSUMER,
            links=[Link(context) for context in contexts if context.is_valid],
            attributes={**self._attributes(), names.MESSAGING_BATCH_COUNT: len(messages)},
        ):
            await handler(session, messages)

    def _attributes(self) -> dict[str, str]:
        return {
            names.MESSAGING_SYSTEM: "kafka",
            names.MESSAGING_OPERATION: "process",
            names.MESSAGING_DESTINATION: self.place.topic,
            names.MESSAGING_CONSUMER_GROUP: self.place.consumer,
        }

    async def _quarantine(self, raw: Raw, error: Exception) -> None:
        place, reason = self.place, reason_of(error)
        held = Held(place.consumer, place.topic, raw.key, reason, raw.event_id)
        try:
            async with transaction(self.engine) as session:
                ids = await first_times(session, place.tables.inbox, [raw.event_id], consumer=place.consumer)
                if not ids:
                    return
                new = await place.hold(session, held, repr(error), retry=fate_of(error) is Fate.PARK)
                await place.park(session, [raw], reason)
                if new and self.on_quarantine is not None:
                    await self.on_quarantine(session, held)
        except Exception as failure:
            if fate_of(failure) is Fate.WAIT:
                raise
            raise NotQuarantined(f"{raw.event_id}: {failure!r}, while holding back {error!r}") from failure
        log.error(
            "consumer.quarantined", key=raw.key, event_id=raw.event_id, reason=reason, error=repr(error)
        )
        _parked.add(1, self.labels | {names.LABEL_REASON: reason})
