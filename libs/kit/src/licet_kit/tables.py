"""The tables of reliable messaging, part of the schema of every service that consumes or produces events.

`messaging_tables` describes them for queries; `migrations.messaging_v1` creates them. A test holds both equal.
"""

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB


@dataclass(frozen=True, slots=True)
class MessagingTables:
    """Outbox, inbox, quarantined keys, and the messages parked behind them."""

    outbox: Table
    inbox: Table
    quarantine: Table
    parked: Table


def messaging_tables(metadata: MetaData) -> MessagingTables:
    """Add the messaging tables to a service's metadata."""
    return MessagingTables(
        outbox=_outbox(metadata),
        inbox=_inbox(metadata),
        quarantine=_quarantine(metadata),
        parked=_parked(metadata),
    )


def _outbox(metadata: MetaData) -> Table:
    return Table(
        "outbox",
        metadata,
        Column("id", BigInteger, primary_key=True, autoincrement=True),
        # Rows of one key share a bucket, and one relay holds a bucket at a time.
        Column("bucket", SmallInteger, nullable=False),
        Column("topic", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("event_id", Text, nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("headers", JSONB, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        UniqueConstraint("topic", "event_id"),
        Index(None, "bucket", "id"),
    )


def _inbox(metadata: MetaData) -> Table:
    return Table(
        "inbox",
        metadata,
        Column("consumer", Text, primary_key=True),
        Column("event_id", Text, primary_key=True),
        Column("received_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    )


def _quarantine(metadata: MetaData) -> Table:
    return Table(
        "quarantine",
        metadata,
        Column("consumer", Text, primary_key=True),
        Column("topic", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("reason", Text, nullable=False),
        Column("detail", Text, nullable=False),
        Column("event_id", Text, nullable=False),
        Column("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
        # When the replayer tries by itself; NULL: only when somebody asks.
        Column("retry_at", DateTime(timezone=True), nullable=True),
        Column("attempts", Integer, nullable=False, server_default=text("0")),
        Index(None, "consumer", "topic", "retry_at"),
    )


def _parked(metadata: MetaData) -> Table:
    return Table(
        "parked",
        metadata,
        Column("id", BigInteger, primary_key=True, autoincrement=True),
        Column("consumer", Text, nullable=False),
        Column("topic", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("event_id", Text, nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("headers", JSONB, nullable=False),
        Column("timestamp_ms", BigInteger, nullable=False),
        Column("parked_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        UniqueConstraint("consumer", "event_id"),
        Index(None, "consumer", "topic", "key", "id"),
    )
