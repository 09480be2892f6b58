"""The migrations make exactly the tables that the code queries."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from licet_indexer.db.base import metadata
from licet_indexer.db.mirror_tables import MIRROR
from licet_indexer.main import MIGRATIONS
from licet_indexer.settings import IndexerSettings
from licet_kit.chains import ChainsInvalid
from licet_kit.db import open_engine
from licet_kit.testing.plugin import CreateDatabase
from sqlalchemy.exc import IntegrityError


async def test_migrated_schema_is_the_one_of_the_code(database: CreateDatabase) -> None:
    def differences(connection: sa.Connection) -> Any:
        context = MigrationContext.configure(
            connection,
            opts={"compare_type": True, "include_name": lambda name, *_: name != "alembic_version"},
        )
        return compare_metadata(context, metadata)

    async with open_engine(await database(MIGRATIONS)) as engine, engine.connect() as connection:
        assert await connection.run_sync(differences) == []


def test_mirror_tables_have_the_columns_of_their_rows() -> None:
    for table in MIRROR:
        columns = table.__table__.columns  # type: ignore[attr-defined]
        assert {column.name for column in columns} == {field.name for field in fields(table.row)}
        assert [column.name for column in table.__table__.primary_key] == list(table.row.KEY)  # type: ignore[attr-defined]


async def test_two_canonical_blocks_of_one_height_are_refused(database: CreateDatabase) -> None:
    insert = sa.text(
        "INSERT INTO block (chain_id, hash, number, parent, time, canonical, incarnation, logs) "
        "VALUES (1, :hash, 5, 'p', 0, true, 1, 0)"
    )
    async with open_engine(await database(MIGRATIONS)) as engine:
        async with engine.begin() as connection:
            await connection.execute(insert, {"hash": "a"})
        with pytest.raises(IntegrityError, match="ux_block_canonical"):
            async with engine.begin() as connection:
                await connection.execute(insert, {"hash": "b"})


def test_chain_that_lacks_a_watched_contract_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chains.json"
    path.write_text(
        '{"chains":[{"chain_id":1,"name":"x","rpc_url":"http://x","finality":{"source":"tag"},"contracts":{}}]}'
    )
    settings = IndexerSettings(database_url="postgresql://x/x", kafka_bootstrap="x:1", chains_file=path)
    with pytest.raises(ChainsInvalid, match="no contract AssetRegistry"):
        settings.followed_chains()
