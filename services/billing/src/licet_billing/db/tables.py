"""Tables of the billing database; migrations/ holds their constraints and triggers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from licet_kit.db import Amount, SignedAmount, make_metadata
from licet_kit.outbox import Outbox
from licet_kit.tables import messaging_tables
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Integer,
    LargeBinary,
    SmallInteger,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

NOW: Final = sql("now()")


metadata = make_metadata()
TABLES: Final = messaging_tables(metadata)
OUTBOX: Final = Outbox(TABLES.outbox, source="billing")


class Base(SQLModel, registry=registry(metadata=metadata)):
    """Tables of this service alone."""


def _time(*, nullable: bool = False, default: bool = False) -> Any:  # Field() is typed as Any
    return Field(
        sa_column=Column(DateTime(timezone=True), nullable=nullable, server_default=NOW if default else None)
    )


class GrantRow(Base, table=True):
    """A right as licensing last stated it."""

    __tablename__ = "grants"
    grant_id: str = Field(primary_key=True)
    version: int = Field(sa_type=Amount)
    source: str
    state: str
    account_id: str
    wallet: str
    chain_id: int = Field(sa_type=BigInteger)
    contract: str
    token_id: str
    plan_id: str
    asset_id: str
    currency: str
    operator: str
    granted: int = Field(sa_type=Amount)
    charged: int = Field(sa_type=Amount)
    window: int = Field(sa_type=BigInteger)


class PlanRow(Base, table=True):
    """Terms of a plan in the truth `position_id`; of several that are not retracted the latest on chain counts."""

    __tablename__ = "plans"
    position_id: str = Field(primary_key=True)
    chain_id: int = Field(sa_type=BigInteger)
    contract: str
    plan_id: str
    asset_id: str
    currency: str
    unit_price: int = Field(sa_type=Amount)
    metering_rule: str
    server: str
    block_number: int = Field(sa_type=BigInteger)
    log_index: int
    retracted: bool


class OperatorKeyRow(Base, table=True):
    """One statement of a receipt key's validity; of several for a key the latest on chain counts."""

    __tablename__ = "operator_keys"
    position_id: str = Field(primary_key=True)
    chain_id: int = Field(sa_type=BigInteger)
    operator: str
    receipt_key: str
    valid_from: int = Field(sa_type=BigInteger)
    valid_until: int = Field(sa_type=BigInteger)
    block_number: int = Field(sa_type=BigInteger)
    log_index: int


class ChargeRow(Base, table=True):
    """One metered call and what it costs."""

    __tablename__ = "charges"
    request_id: str = Field(primary_key=True)
    seq: int = Field(sa_column=Column(BigInteger, Identity(always=True), unique=True))
    lease_id: str
    sequence: int = Field(sa_type=Amount)
    account_id: str
    account_lease: int = Field(sa_type=Amount)
    grant_id: str
    source: str
    chain_id: int = Field(sa_type=BigInteger)
    operator: str
    payer: str
    deposit_id: str
    asset_id: str
    plan_id: str
    price_book_version: str
    currency: str
    units: int = Field(sa_type=Amount)
    unit_price: int = Field(sa_type=Amount)
    value: int = Field(sa_type=Amount)
    amount: int = Field(sa_type=Amount)
    disposition: str
    outcome: int = Field(sa_type=SmallInteger)
    started_at: datetime = _time()
    ended_at: datetime = _time()
    receipt_hash: bytes = Field(sa_type=LargeBinary)
    salt: bytes = Field(sa_type=LargeBinary)
    record: bytes = Field(sa_type=LargeBinary)
    recorded_at: datetime = _time(default=True)
    batch: int | None = Field(sa_type=BigInteger, nullable=True)
    item: int | None = Field(sa_type=Integer, nullable=True)
    leaf: int | None = Field(sa_type=Integer, nullable=True)
    authority: str
    window: int = Field(sa_type=BigInteger)


class TransactionRow(Base, table=True):
    """A ledger transaction; its entries are in EntryRow."""

    __tablename__ = "ledger_transactions"
    id: str = Field(primary_key=True)
    kind: str
    state: str
    cause: str
    chain_id: int = Field(sa_type=BigInteger)
    currency: str
    block_number: int | None = Field(sa_type=BigInteger, nullable=True)
    block_hash: str | None
    log_index: int | None
    incarnation: int | None
    tx_hash: str | None
    details: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    salt: bytes = Field(sa_type=LargeBinary)
    commitment: bytes = Field(sa_type=LargeBinary)
    posting_batch: int | None = Field(sa_type=BigInteger, nullable=True)
    posting_index: int | None
    created_at: datetime = _time(default=True)
    posted_at: datetime | None = _time(nullable=True)
    seq: int = Field(sa_column=Column(BigInteger, Identity(always=True), unique=True))


class EntryRow(Base, table=True):
    """One leg of a transaction."""

    __tablename__ = "ledger_entries"
    transaction_id: str = Field(primary_key=True)
    position: int = Field(sa_type=SmallInteger, primary_key=True)
    account_id: str
    amount: int = Field(sa_type=SignedAmount)


class BatchRow(Base, table=True):
    """A settlement batch."""

    __tablename__ = "settlement_batches"
    chain_id: int = Field(sa_type=BigInteger, primary_key=True)
    operator: str = Field(primary_key=True)
    number: int = Field(sa_type=BigInteger, primary_key=True)
    state: str
    version: int
    root: str
    digest: str
    due: int = Field(sa_type=Amount)
    charges: int
    tx_hash: str | None
    block_number: int | None = Field(sa_type=BigInteger, nullable=True)
    block_hash: str | None
    last_error: str
    created_at: datetime = _time(default=True)
    changed_at: datetime = _time(default=True)


class ItemRow(Base, table=True):
    """One line of a batch; `paid` is known when its final event is posted."""

    __tablename__ = "settlement_items"
    chain_id: int = Field(sa_type=BigInteger, primary_key=True)
    operator: str = Field(primary_key=True)
    number: int = Field(sa_type=BigInteger, primary_key=True)
    position: int = Field(primary_key=True)
    deposit_id: str
    authority: str
    window: int = Field(sa_type=BigInteger)
    asset_id: str
    currency: str
    payer: str
    amount: int = Field(sa_type=Amount)
    payer_root: str
    records: int
    paid: int | None = Field(sa_type=Amount, nullable=True)
    settled_by: str | None


class AttemptRow(Base, table=True):
    """One signed transaction of a batch."""

    __tablename__ = "settlement_attempts"
    tx_hash: str = Field(primary_key=True)
    chain_id: int = Field(sa_type=BigInteger)
    operator: str
    number: int = Field(sa_type=BigInteger)
    nonce: int = Field(sa_type=BigInteger)
    raw: bytes = Field(sa_type=LargeBinary)
    max_fee_wei: int = Field(sa_type=Amount)
    priority_fee_wei: int = Field(sa_type=Amount)
    state: str
    epoch: int = Field(sa_type=BigInteger)
    signed_at: datetime = _time(default=True)
    sent_at: datetime | None = _time(nullable=True)


class ReconciliationRow(Base, table=True):
    """The result of one reconciliation of one chain."""

    __tablename__ = "reconciliations"
    id: str = Field(primary_key=True)
    seq: int = Field(sa_column=Column(BigInteger, Identity(always=True), unique=True))
    chain_id: int = Field(sa_type=BigInteger)
    block_number: int = Field(sa_type=BigInteger)
    block_hash: str
    exact: bool
    counts: dict[str, int] = Field(sa_column=Column(JSONB, nullable=False))
    differences: list[dict[str, str]] = Field(sa_column=Column(JSONB, nullable=False))
    started_at: datetime = _time(default=True)
