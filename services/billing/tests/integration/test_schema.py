"""The tables that queries see are the tables that the migrations make."""

from __future__ import annotations

from licet_billing.db.tables import metadata
from licet_kit.db import reading
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine


async def test_mapped_tables_equal_the_migrated_ones(engine: AsyncEngine) -> None:
    async with reading(engine) as session:
        rows = await session.execute(
            text(
                "SELECT table_name, column_name, is_nullable = 'YES' AS nullable"
                " FROM information_schema.columns WHERE table_schema = 'public'"
            )
        )
        found = {(row.table_name, row.column_name): row.nullable for row in rows}
    for table in metadata.sorted_tables:
        for column in table.columns:
            assert found[table.name, column.name] is bool(column.nullable), f"{table.name}.{column.name}"
