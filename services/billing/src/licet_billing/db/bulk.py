"""Inserts many rows by one statement over arrays: the fastest way that still allows ON CONFLICT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

AMOUNT = "numeric"
JSON = "jsonb"
# These travel as text: the driver has no exact integer form of the one and no array form of the other.
_AS_TEXT = frozenset({AMOUNT, JSON})


def _source(column: str, type_: str) -> str:
    wire = "text" if type_ in _AS_TEXT else type_
    cast = f"CAST(:{column} AS {wire}[])"
    return f"CAST({cast} AS {type_}[])" if wire != type_ else cast


async def insert_rows(
    session: AsyncSession,
    table: str,
    columns: Mapping[str, str],
    rows: Sequence[Sequence[object]],
    *,
    conflict: str = "",
) -> None:
    """Inserts `rows`, whose values stand in the order of `columns` (name to Postgres type).

    `conflict` is an ON CONFLICT clause. Table and column names are constants of the caller.
    """
    if not rows:
        return
    sources = ", ".join(_source(name, type_) for name, type_ in columns.items())
    names = ", ".join(f'"{name}"' for name in columns)
    statement = f"INSERT INTO {table} ({names}) SELECT * FROM unnest({sources}) {conflict}"  # noqa: S608 - constants only
    values: dict[str, list[object]] = {}
    for (name, type_), column in zip(columns.items(), zip(*rows, strict=True), strict=True):
        values[name] = [str(value) for value in column] if type_ == AMOUNT else list(column)
    await session.execute(text(statement), values)
