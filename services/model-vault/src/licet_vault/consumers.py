"""Chain events in: decode, one use case, done."""

from __future__ import annotations

from licet_kit.kafka.message import Message
from licet_schemas.licet.chain.v1.chain_pb2 import ChainEvent
from sqlalchemy.ext.asyncio import AsyncSession

from licet_vault import db, events


async def on_chain_event(session: AsyncSession, message: Message[ChainEvent]) -> None:
    """Keeps what an event says about an asset; events about plans, licences and money are none of the vault's."""
    fact = events.asset_fact(message.value)
    if fact is not None:
        await db.record_fact(session, fact)
