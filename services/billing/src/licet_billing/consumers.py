"""Subscribers: decode, one use case, done. Transactions, retries and quarantine are the kit's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from faststream.kafka import KafkaBroker
from google.protobuf.message import Message as ProtobufMessage
from licet_kit.kafka import Message, ParkKey, Subscription, protobuf, subscribe
from licet_kit.settings import KafkaSettings
from licet_schemas.licet.chain.v1.chain_pb2 import EVENT_KIND_RETRACTED, BlockFinality, ChainEvent
from licet_schemas.licet.licensing.v1.licensing_pb2 import GrantChanged
from licet_schemas.licet.usage.v1.usage_pb2 import LeaseFenced, UsageRecorded
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from licet_billing import events, telemetry
from licet_billing.db.tables import OUTBOX, TABLES
from licet_billing.domain.errors import GrantUnknown, MissingParent, PlanUnknown, ReceiptKeyUnknown
from licet_billing.usecases import answering, chain, intake, waiting

USAGE_GROUP: Final = "billing.usage"
GRANT_GROUP: Final = "billing.grant"
CHAIN_GROUP: Final = "billing.chain"
FINALITY_GROUP: Final = "billing.finality"


class WaitsFor(ParkKey):
    """Parks a key until its parent arrives. The quarantine keeps the parent's name as its detail."""

    def __init__(self, parent: str) -> None:
        super().__init__(parent)
        self.parent = parent

    def __repr__(self) -> str:
        return self.parent


@dataclass(frozen=True, slots=True)
class Consumers:
    """The handlers."""

    serving: intake.Serving

    async def on_usage(self, session: AsyncSession, messages: list[Message[ProtobufMessage]]) -> None:
        """Charges a piece of the usage log."""
        log = [_entry(message) for message in messages]
        try:
            made = await intake.record_usage(session, log, self.serving)
        except MissingParent as error:
            raise WaitsFor(error.parent) from error
        for disposition, count in Counter(each.charge.disposition for each in made).items():
            telemetry.CHARGES.add(count, {telemetry.LABEL_DISPOSITION: disposition})

    async def on_one_usage(self, session: AsyncSession, message: Message[ProtobufMessage]) -> None:
        """Charges one record, or stores one fence."""
        await self.on_usage(session, [message])

    async def on_grant(self, session: AsyncSession, message: Message[GrantChanged]) -> None:
        """Stores a grant's state, and lets what waited for the grant be tried again."""
        grant = events.grant(message.value)
        await intake.learn_grant(session, grant)
        await waiting.release_for(session, USAGE_GROUP, GrantUnknown(grant.grant_id))

    async def on_chain_event(self, session: AsyncSession, message: Message[ChainEvent]) -> None:
        """Books money as pending; stores plans and receipt keys; takes back what left the chain."""
        event, retracted = message.value, message.value.kind == EVENT_KIND_RETRACTED
        match event.WhichOneof("payload"):
            case "plan_created" | "operator_key_set" if retracted:
                await chain.retract_state(session, events.position(event))
            case "charge_challenged":
                await self._on_challenge(session, event, retracted=retracted)
            case "plan_created":
                await self._on_plan(session, event)
            case "operator_key_set":
                await self._on_operator_key(session, event)
            case _:
                await self._on_money(session, event, retracted=retracted)

    async def _on_plan(self, session: AsyncSession, event: ChainEvent) -> None:
        plan = events.plan(event)
        await chain.observe_plan(session, plan, events.position(event))
        await waiting.release_for(session, USAGE_GROUP, PlanUnknown(plan.key.version))

    async def _on_operator_key(self, session: AsyncSession, event: ChainEvent) -> None:
        key = events.operator_key(event)
        if await chain.observe_operator_key(session, key):
            await waiting.release_for(session, USAGE_GROUP, ReceiptKeyUnknown(key.operator, key.receipt_key))

    async def _on_challenge(self, session: AsyncSession, event: ChainEvent, *, retracted: bool) -> None:
        challenge = events.challenge(event)
        if challenge.batch.operator == self.serving.operator:
            await answering.observe(session, challenge, retracted=retracted)

    async def _on_money(self, session: AsyncSession, event: ChainEvent, *, retracted: bool) -> None:
        told = events.money_events(event)
        money = [(place, said) for place, said in told if chain.is_ours(said, self.serving.operator)]
        if not retracted:
            await chain.observe_money(session, money)
            return
        try:
            for place, said in money:
                await chain.retract_money(session, place, said)
        except MissingParent as error:
            raise WaitsFor(error.parent) from error

    async def on_finality(self, session: AsyncSession, message: Message[BlockFinality]) -> None:
        """Raises a chain's final block."""
        block = message.value
        await chain.note_finality(
            session, block.chain_id, block.block_number, block.block_hash, block.block_time
        )


def _entry(message: Message[ProtobufMessage]) -> intake.Call | intake.Fence:
    value = message.value
    if isinstance(value, LeaseFenced):
        fenced_at = value.fenced_at.ToDatetime(UTC) if value.HasField("fenced_at") else datetime.now(UTC)
        return intake.Fence(value.lease_id, value.grant_id, value.event_id, fenced_at)
    if not isinstance(value, UsageRecorded):
        raise TypeError(type(value).__name__)  # the decoder knows two types
    record = events.usage_record(value)
    segment = None if record.is_closing_marker else events.signed_segment(value)
    return intake.Call(record, segment, value.SerializeToString(deterministic=True))


def subscribe_all(
    broker: KafkaBroker, settings: KafkaSettings, engine: AsyncEngine, handlers: Consumers
) -> Sequence[Subscription[Any]]:
    """Hangs the four consumers on the broker."""
    common: dict[str, Any] = {"settings": settings, "engine": engine, "tables": TABLES, "outbox": OUTBOX}
    return (
        subscribe(
            broker,
            topic="usage.recorded",
            group=USAGE_GROUP,
            decode=protobuf(UsageRecorded, LeaseFenced),
            handler=handlers.on_one_usage,
            batch_handler=handlers.on_usage,
            **common,
        ),
        subscribe(
            broker,
            topic="licensing.grant",
            group=GRANT_GROUP,
            decode=protobuf(GrantChanged),
            handler=handlers.on_grant,
            **common,
        ),
        subscribe(
            broker,
            topic="chain.event",
            group=CHAIN_GROUP,
            decode=protobuf(ChainEvent),
            handler=handlers.on_chain_event,
            **common,
        ),
        subscribe(
            broker,
            topic="chain.finality",
            group=FINALITY_GROUP,
            decode=protobuf(BlockFinality),
            handler=handlers.on_finality,
            **common,
        ),
    )
