"""Tables of the chains and their blocks, and of what takes the mirror back; those of the mirror are `mirror_tables`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from licet_kit.outbox import Outbox
from licet_kit.tables import messaging_tables
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field

from licet_indexer.db.base import Base, metadata


class ChainRow(Base, table=True):
    """One chain: how far its mirror is, what is final, who may write (`epoch`)."""

    __tablename__ = "chain"

    chain_id: int = Field(sa_type=sa.BigInteger, primary_key=True, sa_column_kwargs={"autoincrement": False})
    name: str
    contracts: dict[str, str] = Field(sa_type=JSONB)
    start_block: int = Field(sa_type=sa.BigInteger)
    epoch: int = Field(sa_type=sa.BigInteger, default=0)
    state: str = "following"
    halt_reason: str | None = None
    tip_number: int | None = Field(sa_type=sa.BigInteger, default=None)
    tip_hash: str | None = None
    tip_time: int | None = Field(sa_type=sa.BigInteger, default=None)
    final_number: int | None = Field(sa_type=sa.BigInteger, default=None)
    final_hash: str | None = None
    final_time: int | None = Field(sa_type=sa.BigInteger, default=None)
    node_head: int | None = Field(sa_type=sa.BigInteger, default=None)
    # When the leader last heard from the node; a standby judges by it whether somebody follows the chain.
    heard_at: datetime | None = Field(sa_type=sa.DateTime(timezone=True), default=None)


class BlockRow(Base, table=True):
    """A block that was canonical at some time. `incarnation` counts how often it became so."""

    __tablename__ = "block"
    __table_args__ = (
        # Two canonical blocks of one height would be two truths; the database refuses the second.
        sa.Index(
            "ux_block_canonical", "chain_id", "number", unique=True, postgresql_where=sa.text("canonical")
        ),
        sa.Index("ix_block_quiet", "chain_id", "number", postgresql_where=sa.text("logs = 0")),
    )

    chain_id: int = Field(sa_type=sa.BigInteger, primary_key=True)
    hash: str = Field(primary_key=True)
    number: int = Field(sa_type=sa.BigInteger)
    parent: str
    time: int = Field(sa_type=sa.BigInteger)
    canonical: bool
    incarnation: int
    logs: int


class RawEventRow(Base, table=True):
    """A log that was understood, of a block that is or was canonical. `payload` is None where none is emitted."""

    __tablename__ = "raw_event"
    __table_args__ = (
        sa.Index("ix_raw_event_place", "chain_id", "block_number", "log_index"),
        sa.Index(
            "ix_raw_event_asset",
            "asset_id",
            "chain_id",
            "block_number",
            "log_index",
            postgresql_where=sa.text("asset_id IS NOT NULL"),
        ),
    )

    chain_id: int = Field(sa_type=sa.BigInteger, primary_key=True)
    block_hash: str = Field(primary_key=True)
    log_index: int = Field(primary_key=True)
    block_number: int = Field(sa_type=sa.BigInteger)
    tx_hash: str
    contract: str
    topics: list[str] = Field(sa_type=ARRAY(sa.Text))
    data: str
    name: str
    asset_id: str | None
    payload: dict[str, Any] | None = Field(sa_type=JSONB(none_as_null=True))


class UnknownLogRow(Base, table=True):
    """A log of a watched contract that was not understood, raw, with the reason. Nothing else knows of it."""

    __tablename__ = "unknown_log"

    chain_id: int = Field(sa_type=sa.BigInteger, primary_key=True)
    block_hash: str = Field(primary_key=True)
    log_index: int = Field(primary_key=True)
    block_number: int = Field(sa_type=sa.BigInteger)
    tx_hash: str
    contract: str
    topics: list[str] = Field(sa_type=ARRAY(sa.Text))
    data: str
    reason: str


class UndoRow(Base, table=True):
    """What a mirror row was before a block that is not final yet changed it; `before` None: it did not exist."""

    __tablename__ = "undo"

    chain_id: int = Field(sa_type=sa.BigInteger, primary_key=True)
    block_number: int = Field(sa_type=sa.BigInteger, primary_key=True)
    table_name: str = Field(primary_key=True)
    # The primary key as a JSON list.
    row_key: str = Field(primary_key=True)
    before: dict[str, Any] | None = Field(sa_type=JSONB(none_as_null=True))


TABLES = messaging_tables(metadata)
# One leader writes a chain, under the lock of its row: the outbox needs no lock per key of its own.
OUTBOX = Outbox(TABLES.outbox, source="chain-indexer", single_writer=True)
