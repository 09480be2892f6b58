"""Delivers messages to billing's consumers as a partition would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from faststream.kafka import KafkaBroker
from google.protobuf.message import Message as ProtobufMessage
from licet_kit.db import transaction
from licet_kit.kafka import Raw, Subscription, make_broker
from licet_kit.outbox import topic_of
from licet_kit.settings import KafkaSettings
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_billing.consumers import Consumers, subscribe_all
from licet_billing.db import ledger as ledger_rows
from licet_billing.domain.ledger import Account
from licet_billing.usecases.intake import Serving


class Settings(KafkaSettings):
    """Enough to hang subscribers on a broker that is never started."""

    service_name = "billing"
    http_port: int = 0


@dataclass
class Inbox:
    """Delivers messages to the consumers as a partition would, without a broker."""

    engine: AsyncEngine
    subscriptions: Sequence[Subscription[Any]]
    broker: KafkaBroker

    async def send(self, *messages: ProtobufMessage) -> None:
        """Delivers messages of one topic as one batch."""
        raws = [raw(message) for message in messages]
        await self.subscription(raws[0].topic).delivery.deliver(raws)

    def subscription(self, topic: str) -> Subscription[Any]:
        return next(s for s in self.subscriptions if s.delivery.place.topic == topic)

    async def rows(self, query: str) -> list[Any]:
        async with transaction(self.engine) as session:
            return list((await session.execute(text(query))).all())

    async def balances(self, *accounts: Account) -> tuple[int, ...]:
        async with transaction(self.engine) as session:
            found = await ledger_rows.lock_balances(session, accounts)
        return tuple(found[account] for account in accounts)


def raw(message: ProtobufMessage) -> Raw:
    value: Any = message
    key = getattr(value, "lease_id", "") or getattr(value, "grant_id", "") or "key"
    event_id = getattr(value, "event_id", "") or value.request_id
    headers = {"ce_type": message.DESCRIPTOR.full_name, "ce_id": event_id}
    topic = topic_of(type(message))
    return Raw(topic, key, event_id, message.SerializeToString(), headers, datetime.now(UTC))


def make_inbox(engine: AsyncEngine, chain_id: int, escrow: str, operator: str) -> Inbox:
    """The consumers of one installation on this database."""
    settings = Settings.model_validate({"kafka_bootstrap": "127.0.0.1:1"})
    broker = make_broker(settings)
    handlers = Consumers(Serving(operator, {chain_id: escrow}))
    return Inbox(engine, subscribe_all(broker, settings, engine, handlers), broker)
