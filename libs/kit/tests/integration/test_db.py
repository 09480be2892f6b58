"""Engine, transactions, amounts and migrations on real Postgres."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from licet_kit.db import (
    Amount,
    SignedAmount,
    asyncpg_url,
    make_metadata,
    open_engine,
    ping,
    reading,
    transaction,
)
from licet_kit.migrations import SchemaOutdated, migrate, require_head
from licet_kit.tables import messaging_tables
from licet_kit.testing.plugin import CreateDatabase, StartProxy
from licet_kit.testing.store import WordStore
from licet_kit.units import MAX_AMOUNT, AmountInvalid
from sqlalchemy import BigInteger, Column, Connection, Identity, Table, insert, select, text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

MIGRATIONS = Path(__file__).parent / "migrations"

metadata = make_metadata()
amounts = Table(
    "amount",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("value", Amount, nullable=False),
)


@pytest.mark.parametrize(
    ("given", "opened"),
    [
        ("postgresql://u@h:5/d", "postgresql+asyncpg://u@h:5/d"),
        ("postgres://u:p%40@h/d", "postgresql+asyncpg://u:p%40@h/d"),
        ("postgresql://h/d?sslmode=require", "postgresql+asyncpg://h/d?ssl=require"),
        ("postgresql+asyncpg://h/d", "postgresql+asyncpg://h/d"),
    ],
)
def test_any_postgres_url_is_opened_with_asyncpg(given: str, opened: str) -> None:
    assert asyncpg_url(given) == opened


@pytest.mark.parametrize("amount", [0, 1, 10**77, MAX_AMOUNT])
async def test_an_amount_comes_back_exactly(database: CreateDatabase, amount: int) -> None:
    async with open_engine(await database(metadata)) as engine:
        async with transaction(engine) as session:
            await session.execute(insert(amounts).values(value=amount))
        async with transaction(engine) as session:
            found = await session.scalar(select(amounts.c.value))
    assert found == amount
    assert type(found) is int


@pytest.mark.parametrize("amount", [-1, MAX_AMOUNT + 1, 1.5, "1"])
async def test_what_is_not_an_amount_does_not_reach_the_database(store: WordStore, amount: object) -> None:
    async with store.engine.connect() as connection:
        with pytest.raises(StatementError, match="not an amount"):
            await connection.execute(select(amounts).where(amounts.c.value == amount))


def test_a_signed_amount_may_be_negative() -> None:
    dialect = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
    process = SignedAmount().process_bind_param
    assert process(-MAX_AMOUNT, dialect) == -MAX_AMOUNT
    with pytest.raises(AmountInvalid):
        process(-MAX_AMOUNT - 1, dialect)


async def test_a_transaction_commits_whole_or_not_at_all(store: WordStore) -> None:
    async def fail() -> None:
        async with transaction(store.engine) as session:
            await session.execute(insert(store.effect).values(event_id="1", key="k", value="v"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await store.effects("k") == []


async def test_reading_sees_one_state_and_changes_nothing(store: WordStore) -> None:
    async with reading(store.engine) as session:
        assert (await session.scalars(select(store.effect.c.value))).all() == []
        async with transaction(store.engine) as other:
            await other.execute(insert(store.effect).values(event_id="1", key="k", value="v"))
        assert (await session.scalars(select(store.effect.c.value))).all() == []
        with pytest.raises(DBAPIError, match="read-only"):
            await session.execute(insert(store.effect).values(event_id="2", key="k", value="v"))


async def test_parameters_are_not_shown_with_errors(store: WordStore) -> None:
    async with store.engine.connect() as connection:
        with pytest.raises(DBAPIError) as raised:
            await connection.execute(text("SELECT CAST(:value AS int) / 0"), {"value": 424242})
    assert "424242" not in str(raised.value)


async def test_a_connection_that_broke_is_replaced_before_it_is_used(
    store: WordStore, proxy: StartProxy
) -> None:
    server = urlsplit(store.url)
    door = await proxy(server.hostname or "", server.port or 0)
    async with open_engine(store.url.replace(f":{server.port}/", f":{door.port}/")) as engine:
        await ping(engine)
        await door.cut()
        await door.restore()
        await ping(engine)


async def test_two_services_can_have_tables_of_one_name() -> None:
    first, second = make_metadata(), make_metadata()

    class First(SQLModel, registry=registry(metadata=first)):
        """One service's base."""

    class Second(SQLModel, registry=registry(metadata=second)):
        """Another's."""

    class FirstRow(First, table=True):
        """A row of the first."""

        __tablename__ = "row"
        id: int = Field(primary_key=True)

    class SecondRow(Second, table=True):
        """A row of the second."""

        __tablename__ = "row"
        id: int = Field(primary_key=True)
        value: int = Field(sa_type=Amount)

    assert list(first.tables) == ["row"]
    assert "value" in second.tables["row"].c
    assert "value" not in first.tables["row"].c


async def test_migrations_make_the_tables_that_the_code_describes(database: CreateDatabase) -> None:
    described = make_metadata()
    messaging_tables(described)
    Table(
        "amount",
        described,
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("value", Amount, nullable=False),
    )
    url = await database()
    assert await migrate(url, MIGRATIONS) == "0001"
    async with open_engine(url) as engine, engine.connect() as connection:
        differences = await connection.run_sync(
            lambda c: compare_metadata(
                MigrationContext.configure(c, opts={"compare_type": True, "compare_server_default": True}),
                described,
            )
        )
        assert await connection.run_sync(constraint_names) == await described_names(described, database)
    assert differences == []


def constraint_names(connection: Connection) -> set[str]:
    query = "SELECT conname FROM pg_constraint WHERE conrelid > 16384 AND contype IN ('p', 'u', 'c')"
    indexes = "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'"
    return {
        str(row[0]) for statement in (query, indexes) for row in connection.exec_driver_sql(statement)
    } - {"alembic_version_pkc"}


async def described_names(described: object, database: CreateDatabase) -> set[str]:
    async with open_engine(await database(described)) as engine, engine.connect() as connection:
        return await connection.run_sync(constraint_names)


async def test_an_old_schema_is_refused(database: CreateDatabase) -> None:
    url = await database()
    async with open_engine(url) as engine:
        with pytest.raises(SchemaOutdated, match=r"revision None, this code needs 0001: run `migrate`"):
            await require_head(engine, MIGRATIONS)
        await migrate(url, MIGRATIONS)
        await require_head(engine, MIGRATIONS)


async def test_migrating_twice_at_the_same_time_is_safe(database: CreateDatabase) -> None:
    url = await database()
    assert await asyncio.gather(*(migrate(url, MIGRATIONS) for _ in range(3))) == ["0001"] * 3


async def test_a_migration_does_not_wait_long_for_a_lock(
    database: CreateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("licet_kit.migrations.LOCK_TIMEOUT_S", 1)
    url = await database(MIGRATIONS)
    async with open_engine(url) as engine, engine.connect() as blocker:
        await blocker.execute(text("DELETE FROM alembic_version"))
        await blocker.commit()
        await blocker.execute(text("LOCK TABLE alembic_version"))
        with pytest.raises((DBAPIError, asyncpg.PostgresError), match="lock timeout"):
            await migrate(url, MIGRATIONS)


async def test_a_database_from_the_template_is_migrated_and_alone(database: CreateDatabase) -> None:
    urls = [await database(MIGRATIONS), await database(MIGRATIONS)]
    for url in urls:
        async with open_engine(url) as engine:
            await require_head(engine, MIGRATIONS)
            async with transaction(engine) as session:
                await session.execute(insert(amounts).values(value=1))
            assert await rows(engine) == 1


async def rows(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return len((await connection.execute(select(amounts))).all())
