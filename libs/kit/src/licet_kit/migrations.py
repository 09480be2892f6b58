"""Schema migrations with alembic: one folder a service, applied under a lock, checked at start.

A service's `migrations/env.py` is `from licet_kit.migrations import run_env` and `run_env()`.
"""

from pathlib import Path
from typing import Protocol

from alembic import command, context
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_kit.db import open_engine
from licet_kit.errors import PermanentError

# A migration that waits longer for a lock would block every query behind it; it fails and is run again.
LOCK_TIMEOUT_S = 5

# Only one process migrates; the number is arbitrary and fixed.
_MIGRATION_LOCK = 7_203_911_654


class SchemaOutdated(PermanentError):
    """The database is not at the revision that this code needs."""

    code = "schema_outdated"

    def __init__(self, found: str | None, needed: str | None) -> None:
        super().__init__(f"the database is at revision {found}, this code needs {needed}: run `migrate`")
        self.found = found
        self.needed = needed


async def migrate(database_url: str, folder: Path) -> str | None:
    """Bring the database to the newest revision of `folder` and return it. Safe to run at the same time twice."""
    async with (
        open_engine(database_url, pool_size=1, application="licet-migrate") as engine,
        engine.begin() as connection,
    ):
        await connection.run_sync(_upgrade, folder)
    return _head(folder)


async def require_head(engine: AsyncEngine, folder: Path) -> None:
    """Raise SchemaOutdated unless the database is at the newest revision of `folder`."""
    async with engine.connect() as connection:
        found = await connection.run_sync(_current)
    if found != _head(folder):
        raise SchemaOutdated(found, _head(folder))


def run_env() -> None:
    """Run the migrations on the connection that `migrate` opened: the whole of a service's env.py."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()


class Executes(Protocol):
    """What a migration has at hand: `alembic.op`."""

    def execute(self, sqltext: str) -> None:
        """Run one statement."""
        ...


def messaging_v1(op: Executes) -> None:
    """Create outbox, inbox, quarantine and parked in their first form; call it in a service's migration.

    Frozen: a change of `licet_kit.tables` comes with a `messaging_v2` that alters what this made.
    """
    for statement in _MESSAGING_V1:
        op.execute(statement)


def _config(folder: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _head(folder: Path) -> str | None:
    return ScriptDirectory.from_config(_config(folder)).get_current_head()


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _upgrade(connection: Connection, folder: Path) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
    config = _config(folder)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


_MESSAGING_V1 = (
    """
    CREATE TABLE outbox (
        id BIGSERIAL CONSTRAINT pk_outbox PRIMARY KEY,
        bucket SMALLINT NOT NULL,
        topic TEXT NOT NULL,
        key TEXT NOT NULL,
        event_id TEXT NOT NULL,
        payload BYTEA NOT NULL,
        headers JSONB NOT NULL,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT uq_outbox_topic_event_id UNIQUE (topic, event_id)
    )
    """,
    "CREATE INDEX ix_outbox_bucket_id ON outbox (bucket, id)",
    """
    CREATE TABLE inbox (
        consumer TEXT NOT NULL,
        event_id TEXT NOT NULL,
        received_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT pk_inbox PRIMARY KEY (consumer, event_id)
    )
    """,
    """
    CREATE TABLE quarantine (
        consumer TEXT NOT NULL,
        topic TEXT NOT NULL,
        key TEXT NOT NULL,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        event_id TEXT NOT NULL,
        since TIMESTAMPTZ NOT NULL DEFAULT now(),
        retry_at TIMESTAMPTZ,
        attempts INTEGER NOT NULL DEFAULT 0,
        CONSTRAINT pk_quarantine PRIMARY KEY (consumer, topic, key)
    )
    """,
    "CREATE INDEX ix_quarantine_consumer_topic_retry_at ON quarantine (consumer, topic, retry_at)",
    """
    CREATE TABLE parked (
        id BIGSERIAL CONSTRAINT pk_parked PRIMARY KEY,
        consumer TEXT NOT NULL,
        topic TEXT NOT NULL,
        key TEXT NOT NULL,
        event_id TEXT NOT NULL,
        payload BYTEA NOT NULL,
        headers JSONB NOT NULL,
        timestamp_ms BIGINT NOT NULL,
        parked_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT uq_parked_consumer_event_id UNIQUE (consumer, event_id)
    )
    """,
    "CREATE INDEX ix_parked_consumer_topic_key_id ON parked (consumer, topic, key, id)",
)
