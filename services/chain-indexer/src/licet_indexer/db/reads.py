"""Queries of the read API: rows of the mirror by filter, in a fixed order, from a place on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from licet_indexer.db.blocks import StoredEvent, stored_event
from licet_indexer.db.mirror import TABLE_OF
from licet_indexer.db.tables import BlockRow, RawEventRow
from licet_indexer.domain.rows import Exit, Hold, RowT

_block = BlockRow.__table__  # type: ignore[attr-defined]
_raw_event = RawEventRow.__table__  # type: ignore[attr-defined]
_exit = TABLE_OF[Exit]
_hold = TABLE_OF[Hold]
# As in the index of it.
IS_HELD = _hold.c.paid > _hold.c.refunded + _hold.c.released

Value = int | str | bool


async def page(
    session: AsyncSession,
    table: type[RowT],
    *,
    where: Mapping[str, Value | None],
    order: Sequence[str],
    after: Sequence[Value] | None,
    limit: int,
    only: sa.ColumnElement[bool] | None = None,
) -> list[RowT]:
    """Up to `limit` rows that equal `where` (None: any value), after the place `after` in ascending `order`.

    `only` is a further condition.
    """
    columns = TABLE_OF[table].c
    chosen = sa.select(TABLE_OF[table]).order_by(*(columns[name] for name in order)).limit(limit)
    for name, value in where.items():
        if value is not None:
            chosen = chosen.where(columns[name] == value)
    if only is not None:
        chosen = chosen.where(only)
    if after is not None:
        place = [sa.literal(value, columns[name].type) for name, value in zip(order, after, strict=True)]
        chosen = chosen.where(sa.tuple_(*(columns[name] for name in order)) > sa.tuple_(*place))
    rows = await session.execute(chosen)
    return [table(**row) for row in rows.mappings()]


async def events(
    session: AsyncSession,
    *,
    chain_id: int | None,
    asset_id: str | None,
    after: tuple[int, int, int] | None,
    limit: int,
) -> list[StoredEvent]:
    """Emitted events of canonical blocks in chain order, after (chain, height, log index)."""
    place = (_raw_event.c.chain_id, _raw_event.c.block_number, _raw_event.c.log_index)
    joined = _raw_event.join(
        _block, (_block.c.chain_id == _raw_event.c.chain_id) & (_block.c.hash == _raw_event.c.block_hash)
    )
    chosen = (
        sa.select(_raw_event, _block.c.time, _block.c.incarnation)
        .select_from(joined)
        .where(_block.c.canonical & _raw_event.c.payload.is_not(None))
        .order_by(*place)
        .limit(limit)
    )
    if chain_id is not None:
        chosen = chosen.where(_raw_event.c.chain_id == chain_id)
    if asset_id is not None:
        chosen = chosen.where(_raw_event.c.asset_id == asset_id)
    if after is not None:
        chosen = chosen.where(sa.tuple_(*place) > sa.tuple_(*after))
    return [stored_event(row) for row in (await session.execute(chosen)).all()]


async def open_exits_of(session: AsyncSession, deposits: Sequence[tuple[int, str]]) -> list[Exit]:
    """Exits of these deposits (chain, deposit id) that wait, oldest first; the escrow allows few for each."""
    if not deposits:
        return []
    ours = sa.tuple_(_exit.c.chain_id, _exit.c.deposit_id).in_(deposits) & _exit.c.withdrawn.is_(None)
    rows = await session.execute(sa.select(_exit).where(ours).order_by(_exit.c.chain_id, _exit.c.exit_id))
    return [Exit(**row) for row in rows.mappings()]
