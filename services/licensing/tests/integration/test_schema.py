"""The migrations make the schema that the code believes in."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from licet_licensing.db.tables import metadata
from licet_licensing.testing.world import World
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine


async def test_the_migrations_make_the_tables_of_the_code(engine: AsyncEngine) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with engine.connect() as connection:
        found = [
            each for each in await connection.run_sync(differences) if "alembic_version" not in str(each)
        ]
    assert found == []


@pytest.mark.parametrize(
    "change", ["free = free + 1", "spent = -1, free = free + 1", "granted = granted + 1", "ended = true"]
)
async def test_the_database_itself_refuses_a_broken_equation(world: World, change: str) -> None:
    await world.market()
    await world.buy()
    with pytest.raises(IntegrityError):
        await world.execute(f"UPDATE grants SET {change}")
