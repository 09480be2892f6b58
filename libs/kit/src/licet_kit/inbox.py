"""The inbox: an event id has one effect, because its row is written in the transaction of that effect."""

from collections.abc import Sequence

from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession


async def first_times(
    session: AsyncSession, inbox: Table, event_ids: Sequence[str], *, consumer: str
) -> set[str]:
    """Record the ids and return those that this consumer had not recorded before.

    Waits for a concurrent transaction that recorded one of them: an id is new to one of two, whatever happens.
    Ids are taken in the order given, so that two workers with the same records cannot deadlock.
    """
    if not event_ids:
        return set()
    rows = [{"consumer": consumer, "event_id": event_id} for event_id in dict.fromkeys(event_ids)]
    statement = insert(inbox).values(rows).on_conflict_do_nothing().returning(inbox.c.event_id)
    return set((await session.scalars(statement)).all())


async def first_time(session: AsyncSession, inbox: Table, event_id: str, *, consumer: str) -> bool:
    """Record one id; true when this consumer had not recorded it before."""
    return event_id in await first_times(session, inbox, [event_id], consumer=consumer)
