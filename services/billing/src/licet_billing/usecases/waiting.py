"""Lets parked keys be tried again when what they waited for is there."""

from __future__ import annotations

from typing import Final

from licet_kit.kafka import release
from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing.db import rights
from licet_billing.db.tables import TABLES
from licet_billing.domain.errors import MissingParent

_USAGE_TOPIC: Final = "usage.recorded"


async def release_for(session: AsyncSession, consumer: str, parent: MissingParent) -> None:
    """Releases the leases whose records wait for this parent, which the caller has just stored."""
    for key in await rights.waiting_keys(session, consumer, _USAGE_TOPIC, parent.parent):
        await release(session, TABLES, consumer=consumer, topic=_USAGE_TOPIC, key=key)
