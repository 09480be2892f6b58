"""Loads and writes mirror rows in bulk, and takes blocks back."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncSession

from licet_indexer.db.mirror_tables import MIRROR
from licet_indexer.db.tables import UndoRow
from licet_indexer.domain.chain import ChainId
from licet_indexer.domain.rows import Row, RowKey, Undo

_undo = UndoRow.__table__  # type: ignore[attr-defined]
TABLE_OF: dict[type[Row], sa.Table] = {table.row: table.__table__ for table in MIRROR}  # type: ignore[attr-defined]
_TYPE: dict[str, type[Row]] = {table.name: row for row, table in TABLE_OF.items()}
_NAMES: dict[type[Row], tuple[str, ...]] = {row: tuple(f.name for f in fields(row)) for row in TABLE_OF}
# asyncpg takes 32,767 parameters a statement; a key has up to five.
_KEYS_A_QUERY = 4000


async def load(session: AsyncSession, keys: Iterable[RowKey]) -> dict[RowKey, Row]:
    """The rows of these keys that exist."""
    by_type: defaultdict[type[Row], list[tuple[int | str, ...]]] = defaultdict(list)
    for row_type, key in dict.fromkeys(keys):
        by_type[row_type].append(key)
    found: dict[RowKey, Row] = {}
    for row_type, wanted in by_type.items():
        for i in range(0, len(wanted), _KEYS_A_QUERY):
            found |= await _load(session, row_type, wanted[i : i + _KEYS_A_QUERY])
    return found


async def _load(
    session: AsyncSession, row_type: type[Row], keys: list[tuple[int | str, ...]]
) -> dict[RowKey, Row]:
    table = TABLE_OF[row_type]
    columns = [table.c[name] for name in row_type.KEY]
    rows = await session.execute(sa.select(table).where(sa.tuple_(*columns).in_(keys)))
    loaded = (row_type(**row) for row in rows.mappings())
    return {(row_type, tuple(getattr(row, name) for name in row_type.KEY)): row for row in loaded}


async def save(session: AsyncSession, rows: Iterable[Row]) -> None:
    """Inserts or replaces rows."""
    by_type: defaultdict[type[Row], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_type[type(row)].append(_values(row))
    for row_type, values in by_type.items():
        # One order for all writers, so that two transactions can never wait for each other.
        values.sort(key=lambda v: tuple(v[name] for name in row_type.KEY))
        statement = insert(TABLE_OF[row_type])
        changes = {name: statement.excluded[name] for name in _NAMES[row_type] if name not in row_type.KEY}
        await session.execute(
            statement.on_conflict_do_update(index_elements=list(row_type.KEY), set_=changes), values
        )


async def remember(session: AsyncSession, chain_id: ChainId, undo: Iterable[Undo]) -> None:
    """Keeps what rows were before their blocks."""
    rows = [
        {
            "chain_id": chain_id,
            "block_number": entry.block_number,
            "table_name": TABLE_OF[entry.key[0]].name,
            "row_key": json.dumps(entry.key[1], separators=(",", ":")),
            "before": _values(entry.before) if entry.before else None,
        }
        for entry in undo
    ]
    if rows:
        await session.execute(insert(_undo), rows)


async def take_back(session: AsyncSession, chain_id: ChainId, above: int) -> None:
    """Gives every row the content that it had at a height, for blocks whose undo is kept."""
    newer = (_undo.c.chain_id == chain_id) & (_undo.c.block_number > above)
    # Of the blocks that changed a row, the lowest one knows what it was before all of them.
    oldest = (
        sa.select(_undo.c.table_name, _undo.c.row_key, _undo.c.before)
        .ext(distinct_on(_undo.c.table_name, _undo.c.row_key))
        .where(newer)
        .order_by(_undo.c.table_name, _undo.c.row_key, _undo.c.block_number)
    )
    restored: list[Row] = []
    born: defaultdict[type[Row], list[tuple[int | str, ...]]] = defaultdict(list)
    for entry in (await session.execute(oldest)).all():
        row_type = _TYPE[entry.table_name]
        if entry.before is None:
            born[row_type].append(tuple(json.loads(entry.row_key)))
        else:
            restored.append(row_type(**entry.before))
    await save(session, restored)
    for row_type, keys in born.items():
        await _delete(session, row_type, keys)
    await session.execute(sa.delete(_undo).where(newer))


async def _delete(session: AsyncSession, row_type: type[Row], keys: list[tuple[int | str, ...]]) -> None:
    table = TABLE_OF[row_type]
    columns = sa.tuple_(*(table.c[name] for name in row_type.KEY))
    for i in range(0, len(keys), _KEYS_A_QUERY):
        await session.execute(sa.delete(table).where(columns.in_(keys[i : i + _KEYS_A_QUERY])))


async def forget(session: AsyncSession, chain_id: ChainId, up_to: int) -> None:
    """Drops what would take back blocks that are final now."""
    old = (_undo.c.chain_id == chain_id) & (_undo.c.block_number <= up_to)
    await session.execute(sa.delete(_undo).where(old))


def _values(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _NAMES[type(row)]}
