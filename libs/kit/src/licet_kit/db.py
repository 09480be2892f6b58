"""Postgres: engine, one transaction an edge, column types.

Use cases receive a session and may flush; only an edge opens `transaction`, and only it commits.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from sqlalchemy import Dialect, MetaData, Numeric, TypeDecorator, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from licet_kit import units

# Constraint names must not depend on the order of creation, so that migrations can name them.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# A statement that runs longer is stuck: our statements touch bounded batches.
STATEMENT_TIMEOUT_S = 60
# A transaction that idles longer has lost its owner, and holds locks that others wait for.
IDLE_IN_TRANSACTION_TIMEOUT_S = 60
CONNECT_TIMEOUT_S = 5


class Amount(TypeDecorator[int]):
    """NUMERIC(78,0) in SQL, int in Python, within 0 and `units.MAX_AMOUNT`."""

    impl = Numeric(78, 0)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Decimal | None:
        """Check the bounds before SQL sees the value."""
        return None if value is None else Decimal(units.checked(value))

    def process_result_value(self, value: Decimal | None, dialect: Dialect) -> int | None:
        """Return the exact integer."""
        return None if value is None else int(value)


class SignedAmount(TypeDecorator[int]):
    """As Amount, for sums that may be negative."""

    impl = Numeric(78, 0)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Decimal | None:
        """Check the bounds before SQL sees the value."""
        if value is None:
            return None
        units.checked(abs(value))
        return Decimal(value)

    def process_result_value(self, value: Decimal | None, dialect: Dialect) -> int | None:
        """Return the exact integer."""
        return None if value is None else int(value)


def make_metadata() -> MetaData:
    """Return metadata of one service's tables, with the house's constraint names."""
    return MetaData(naming_convention=NAMING_CONVENTION)


def asyncpg_url(url: str) -> str:
    """Turn any Postgres URL into the one that SQLAlchemy opens with asyncpg; `sslmode` becomes `ssl`."""
    parts = urlsplit(url)
    query = [("ssl" if name == "sslmode" else name, value) for name, value in parse_qsl(parts.query)]
    return urlunsplit(("postgresql+asyncpg", parts.netloc, parts.path, urlencode(query), ""))


def make_engine(url: str, *, pool_size: int = 10, application: str = "licet") -> AsyncEngine:
    """Return an engine; connections are checked before use, so that a restarted server costs no request."""
    return create_async_engine(
        asyncpg_url(url),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        # Statements are logged with their errors; what they carried is nobody's business.
        hide_parameters=True,
        connect_args={
            "timeout": CONNECT_TIMEOUT_S,
            "server_settings": {
                "application_name": application,
                "statement_timeout": str(STATEMENT_TIMEOUT_S * 1000),
                "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_S * 1000),
                "timezone": "UTC",
            },
        },
    )


@asynccontextmanager
async def open_engine(
    url: str, *, pool_size: int = 10, application: str = "licet"
) -> AsyncIterator[AsyncEngine]:
    """Open an engine and close its connections at the end."""
    engine = make_engine(url, pool_size=pool_size, application=application)
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """One transaction: committed when the block ends, rolled back when it raises."""
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        yield session


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """One consistent, read-only snapshot: every statement of the block sees the same state."""
    async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
        await session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        yield session


async def ping(engine: AsyncEngine) -> None:
    """Raise unless the database answers; a check for `health.Health`."""
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
