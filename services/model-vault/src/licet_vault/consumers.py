"""Chain events in: decode, one use case, done."""

from __future__ import annotations

from faststream.kafka import KafkaBroker
from licet_kit.kafka import Message, Subscription, make_broker, protobuf, subscribe
from licet_schemas.licet.chain.v1.chain_pb2 import ChainEvent
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from licet_vault import db, events
from licet_vault.settings import VaultSettings

GROUP = "vault"


def chain_events(
    settings: VaultSettings, engine: AsyncEngine
) -> tuple[KafkaBroker, Subscription[ChainEvent]]:
    """The vault's one subscription, and the broker that it hangs on."""
    broker = make_broker(settings)
    return broker, subscribe(
        broker,
        settings=settings,
        topic="chain.event",
        group=GROUP,
        decode=protobuf(ChainEvent),
        handler=on_chain_event,
        engine=engine,
        tables=db.TABLES,
        outbox=db.OUTBOX,
    )


async def on_chain_event(session: AsyncSession, message: Message[ChainEvent]) -> None:
    """Keeps what an event says about an asset; events about plans, licences and money are none of the vault's."""
    fact = events.asset_fact(message.value)
    if fact is not None:
        await db.record_fact(session, fact)
