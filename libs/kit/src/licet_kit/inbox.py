"""The inbox: an event id has one effect, because its row is written in the transaction of that effect."""

from collections.abc import Sequence

from sqlalchemy import ARRAY, Table, Text, bindparam, func, literal, select
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
    # One statement for any number of ids, so that it is compiled once: a list of rows is compiled for each length.
    ids = func.unnest(bindparam("ids", list(dict.fromkeys(event_ids)), ARRAY(Text)))
    given = ids.table_valued("event_id", with_ordinality="place").render_derived(name="given")
    rows = select(literal(consumer, Text), given.c.event_id).order_by(given.c.place)
    statement = (
        insert(inbox)
        .from_select([inbox.c.consumer, inbox.c.event_id], rows)
        .on_conflict_do_nothing()
        .returning(inbox.c.event_id)
    )
    return set((await session.scalars(statement)).all())


async def first_time(session: AsyncSession, inbox: Table, event_id: str, *, consumer: str) -> bool:
    """Record one id; true when this consumer had not recorded it before."""
    return event_id in await first_times(session, inbox, [event_id], consumer=consumer)
