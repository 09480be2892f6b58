"""Topics that licensing reads: decode, one use case, done. Delivery is kit's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from faststream.kafka import KafkaBroker
from licet_kit.clock import Clock
from licet_kit.errors import PermanentError
from licet_kit.kafka import Held, Message, Subscription, protobuf, subscribe
from licet_kit.kafka.message import Decoder
from licet_kit.logs import get_logger
from licet_kit.settings import KafkaSettings
from licet_schemas.licet.chain.v1 import chain_pb2 as chain
from licet_schemas.licet.usage.v1 import usage_pb2 as usage
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from licet_licensing import events
from licet_licensing.db.tables import MESSAGING, OUTBOX
from licet_licensing.events import Contracts
from licet_licensing.usecases import counting, following, sweeping
from licet_licensing.usecases.counting import Entry, Fence
from licet_licensing.usecases.following import Heard

log = get_logger(__name__)

CHAIN_EVENT = "chain.event"
CHAIN_FINALITY = "chain.finality"
USAGE = "usage.recorded"

UsageEvent = usage.UsageRecorded | usage.LeaseFenced
UsageMessage = Message[UsageEvent]
_decode_usage: Decoder[UsageEvent] = protobuf(usage.UsageRecorded, usage.LeaseFenced)


class RecordMisnamed(PermanentError):
    """A usage record whose id is not that of its lease and sequence."""

    code = "record_misnamed"


@dataclass(frozen=True, slots=True)
class Consumers:
    """Handlers of the topics. `contracts` name the rights of each chain."""

    contracts: Contracts
    clock: Clock

    async def on_chain_events(
        self, session: AsyncSession, batch: Sequence[Message[chain.ChainEvent]]
    ) -> None:
        heard = [event for message in batch if (event := self._heard(message)) is not None]
        if heard:
            await following.hear_events(session, heard, self.clock.now())

    async def on_chain_event(self, session: AsyncSession, message: Message[chain.ChainEvent]) -> None:
        await self.on_chain_events(session, [message])

    def _heard(self, message: Message[chain.ChainEvent]) -> Heard | None:
        event = message.value
        payload = event.WhichOneof("payload")
        if payload is None or not self.contracts.knows(event.chain_id):
            log.warning("event.unknown", event_id=message.event_id, chain_id=event.chain_id)
            return None
        return Heard(
            chain_id=event.chain_id,
            block_number=event.block_number,
            block_hash=event.block_hash,
            standing=event.kind == chain.EVENT_KIND_OBSERVED,
            asset_id=events.asset_of(event),
            facts=events.facts_of(event, self.contracts),
            sent_at=message.timestamp,
        )

    async def on_finality(self, session: AsyncSession, message: Message[chain.BlockFinality]) -> None:
        said = message.value
        await following.hear_of_finality(
            session, said.chain_id, said.block_number, said.block_hash, message.timestamp
        )

    async def on_usage_batch(self, session: AsyncSession, batch: Sequence[UsageMessage]) -> None:
        await counting.count_usage(session, [_entry(message) for message in batch], self.clock.now())

    async def on_usage(self, session: AsyncSession, message: UsageMessage) -> None:
        await self.on_usage_batch(session, [message])

    async def deny_chain_key(self, session: AsyncSession, held: Held) -> None:
        grants = await sweeping.grants_of_chain_key(session, held.key)
        await sweeping.deny_key(session, held.topic, held.key, grants, self.clock.now())

    async def deny_lease_key(self, session: AsyncSession, held: Held) -> None:
        grants = await sweeping.grants_of_lease(session, held.key)
        await sweeping.deny_key(session, held.topic, held.key, grants, self.clock.now())

    async def readmit_key(self, session: AsyncSession, held: Held) -> None:
        await sweeping.readmit_key(session, held.topic, held.key, self.clock.now())


def _entry(message: UsageMessage) -> Entry:
    said = message.value
    if isinstance(said, usage.LeaseFenced):
        return Entry(message.event_id, Fence(said.lease_id))
    record = events.record_of(said)
    if said.sequence < 1 or not said.request_id == message.event_id == f"{record.lease_id}-{record.sequence}":
        raise RecordMisnamed(f"record {message.event_id} says that it is {said.request_id}")
    return Entry(message.event_id, record)


def subscribe_all(
    broker: KafkaBroker, settings: KafkaSettings, engine: AsyncEngine, contracts: Contracts, clock: Clock
) -> list[Subscription[Any]]:
    """Hang every consumer of licensing on the broker."""
    consumers = Consumers(contracts, clock)
    chain_events = subscribe(
        broker,
        settings=settings,
        topic=CHAIN_EVENT,
        group="licensing-events",
        decode=protobuf(chain.ChainEvent),
        handler=consumers.on_chain_event,
        batch_handler=consumers.on_chain_events,
        engine=engine,
        tables=MESSAGING,
        outbox=OUTBOX,
        on_quarantine=consumers.deny_chain_key,
        on_lift=consumers.readmit_key,
        prompt=True,
    )
    finality = subscribe(
        broker,
        settings=settings,
        topic=CHAIN_FINALITY,
        group="licensing-finality",
        decode=protobuf(chain.BlockFinality),
        handler=consumers.on_finality,
        engine=engine,
        tables=MESSAGING,
        outbox=OUTBOX,
    )
    records = subscribe(
        broker,
        settings=settings,
        topic=USAGE,
        group="licensing-usage",
        decode=_decode_usage,
        handler=consumers.on_usage,
        batch_handler=consumers.on_usage_batch,
        engine=engine,
        tables=MESSAGING,
        outbox=OUTBOX,
        on_quarantine=consumers.deny_lease_key,
        on_lift=consumers.readmit_key,
    )
    return [chain_events, finality, records]
