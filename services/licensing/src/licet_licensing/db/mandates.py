"""Mandates as they stand, and the keys that spend by them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, case, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from licet_licensing.db import tables
from licet_licensing.db.accounts import KEYS
from licet_licensing.db.leases import LEASES, OPEN
from licet_licensing.db.tables import table
from licet_licensing.domain.mandates import Mandate

MANDATES = table(tables.MandateRow)


def _mandate(row: Row[Any]) -> Mandate:
    values = {**row._mapping, "asset_ids": tuple(filter(None, row.asset_ids.split(",")))}
    return Mandate(**values)


async def save(session: AsyncSession, mandate: Mandate) -> None:
    """Write a mandate as its facts say it is. Waits for those that lend by it."""
    values = {**asdict(mandate), "asset_ids": ",".join(mandate.asset_ids)}
    statement = insert(MANDATES).values(values)
    changed = {name: values[name] for name in values if name != "key"}
    await session.execute(statement.on_conflict_do_update(index_elements=[MANDATES.c.key], set_=changed))


async def withdraw(session: AsyncSession, key: str) -> None:
    """The mandate's opening left the chain."""
    await session.execute(update(MANDATES).where(MANDATES.c.key == key).values(is_final=False, stands=False))


async def read(session: AsyncSession, keys: Collection[str], *, lock: bool) -> dict[str, Mandate]:
    """These mandates; locked, none of them is revoked before this transaction ends."""
    query = select(MANDATES).where(MANDATES.c.key.in_(keys)).order_by(MANDATES.c.key)
    rows = await session.execute(query.with_for_update(read=True) if lock else query)
    return {row.key: _mandate(row) for row in rows}


async def of_wallets(session: AsyncSession, mandate_id: str, wallets: Collection[str]) -> Mandate | None:
    """A mandate that one of these wallets has opened."""
    query = select(MANDATES).where(MANDATES.c.mandate_id == mandate_id, MANDATES.c.payer.in_(wallets))
    row = (await session.execute(query.order_by(MANDATES.c.key).limit(1))).one_or_none()
    return None if row is None else _mandate(row)


async def of_credentials(session: AsyncSession, hashes: Collection[bytes]) -> dict[bytes, str]:
    """The mandate of each of these keys that is bound to one."""
    query = select(KEYS.c.key_hash, KEYS.c.mandate_key).where(
        KEYS.c.key_hash.in_(hashes), KEYS.c.mandate_key != ""
    )
    return {row.key_hash: row.mandate_key for row in await session.execute(query)}


async def calls_lent(session: AsyncSession, grant_ids: Collection[str]) -> dict[str, int]:
    """Calls that were made, or may still be made, by the leases of each of these windows."""
    # A lease that made all its calls has one record more, which ended it and is no call.
    called = case((LEASES.c.records > LEASES.c.calls, LEASES.c.records - 1), else_=LEASES.c.records)
    made = case((LEASES.c.state.in_(OPEN), func.greatest(LEASES.c.calls, called)), else_=called)
    rows = await session.execute(
        select(LEASES.c.grant_id, func.sum(made).label("calls"))
        .where(LEASES.c.grant_id.in_(grant_ids), LEASES.c.calls > 0)
        .group_by(LEASES.c.grant_id)
    )
    return {row.grant_id: int(row.calls) for row in rows}
