"""The vault's view of every version on every Triton."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from licet_vault.db.tables import VERSION_STATE
from licet_vault.domain import State, VersionState

StateKey = tuple[str, str, str]
"""asset_id, digest, triton_url."""

Stamped = tuple[VersionState, datetime]
"""A state and the time of its last change, by the database's clock."""

_KEY = tuple_(VERSION_STATE.c.asset_id, VERSION_STATE.c.digest, VERSION_STATE.c.triton_url)


async def now(session: AsyncSession) -> datetime:
    """The clock by which changes are stamped."""
    return (await session.execute(select(func.now()))).scalar_one()


async def states_of(session: AsyncSession, triton_url: str) -> list[Stamped]:
    """Every state on one Triton."""
    rows = await session.execute(select(VERSION_STATE).where(VERSION_STATE.c.triton_url == triton_url))
    return [(_state(row), row.changed_at) for row in rows]


async def states_elsewhere(session: AsyncSession, triton_urls: Sequence[str]) -> list[VersionState]:
    """States that claim to be ready on a Triton that is none of these."""
    rows = await session.execute(
        select(VERSION_STATE).where(
            VERSION_STATE.c.triton_url.not_in(triton_urls), VERSION_STATE.c.state == State.READY.value
        )
    )
    return [_state(row) for row in rows]


async def stored_state(session: AsyncSession, key: StateKey) -> VersionState | None:
    """One state. Read without a lock: the vault that holds the repository is its only writer."""
    rows = await session.execute(select(VERSION_STATE).where(tuple_(*key) == _KEY).with_for_update())
    row = rows.first()
    return _state(row) if row else None


async def save_state(session: AsyncSession, state: VersionState) -> None:
    """Writes a state over the one before."""
    values = {
        "slug": state.slug,
        "triton_model": state.triton_model,
        "state": state.state.value,
        "reason": state.reason,
        "metering_rule": state.metering_rule,
        "schema_json": state.schema_json,
        "number": state.number,
    }
    key = {"asset_id": state.asset_id, "digest": state.digest, "triton_url": state.triton_url}
    row = insert(VERSION_STATE).values(**key, **values)
    await session.execute(
        row.on_conflict_do_update(constraint="pk_version_state", set_={**values, "changed_at": func.now()})
    )


async def list_states(
    session: AsyncSession, *, slug: str | None, asset_id: str | None, after: StateKey | None, limit: int
) -> list[Stamped]:
    """At most `limit` states in the order of their keys, behind `after`."""
    query = select(VERSION_STATE).order_by(*_KEY.clauses)
    if slug is not None:
        query = query.where(VERSION_STATE.c.slug == slug)
    if asset_id is not None:
        query = query.where(VERSION_STATE.c.asset_id == asset_id)
    if after is not None:
        query = query.where(tuple_(*after) < _KEY)
    rows = await session.execute(query.limit(limit))
    return [(_state(row), row.changed_at) for row in rows]


def _state(row: Row[Any]) -> VersionState:
    return VersionState(
        asset_id=row.asset_id,
        slug=row.slug,
        digest=row.digest,
        triton_model=row.triton_model,
        triton_url=row.triton_url,
        state=State(row.state),
        reason=row.reason,
        metering_rule=row.metering_rule,
        schema_json=row.schema_json,
        number=row.number,
    )
