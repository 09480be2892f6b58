"""What an operator does about quarantined keys: look at them, and have one replayed by the running service."""

from typing import Any

from sqlalchemy import and_, func, select, update

from licet_kit.db import make_metadata, open_engine, transaction
from licet_kit.tables import messaging_tables

# A list for eyes; more keys than this have one cause.
LIST_LIMIT = 200


async def quarantined(database_url: str) -> list[dict[str, Any]]:
    """Return the keys in quarantine, the oldest first, each with the number of messages parked behind it."""
    tables = messaging_tables(make_metadata())
    held, parked = tables.quarantine, tables.parked
    same = and_(
        parked.c.consumer == held.c.consumer, parked.c.topic == held.c.topic, parked.c.key == held.c.key
    )
    behind = select(func.count()).select_from(parked).where(same).scalar_subquery().label("parked")
    async with open_engine(database_url, pool_size=1) as engine, engine.connect() as connection:
        query = select(held, behind).order_by(held.c.since).limit(LIST_LIMIT)
        return [dict(row) for row in (await connection.execute(query)).mappings()]


async def request_replay(database_url: str, *, topic: str, key: str) -> int:
    """Make a key due, for every consumer that holds it; return how many did. The service's replayer does the rest."""
    held = messaging_tables(make_metadata()).quarantine
    async with open_engine(database_url, pool_size=1) as engine, transaction(engine) as session:
        due = (
            update(held)
            .where(held.c.topic == topic, held.c.key == key)
            .values(retry_at=func.now(), attempts=0)
        )
        return len((await session.execute(due.returning(held.c.consumer))).all())
