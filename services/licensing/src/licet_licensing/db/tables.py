"""The schema. A `table=True` class validates nothing; the CHECK constraints do."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from licet_kit.db import Amount, make_metadata
from licet_kit.outbox import Outbox
from licet_kit.tables import messaging_tables
from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, Table, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

metadata = make_metadata()

STANDING = text("standing")
NOT_FINAL = text("standing AND NOT is_final")
PURCHASE = text("kind = 'license_purchased'")
UNSEEN = text("version > published_version")


class Base(SQLModel, registry=registry(metadata=metadata)):
    """Root of this service's tables; services do not share SQLModel's metadata."""


class AccountRow(Base, table=True):
    """An account. `lease_ordinal` is the ordinal of its newest lease; its row lock keeps ordinals gapless."""

    __tablename__ = "accounts"
    account_id: str = Field(primary_key=True)
    lease_ordinal: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=DateTime(timezone=True))


class WalletRow(Base, table=True):
    """A wallet belongs to at most one account: its address is the key."""

    __tablename__ = "wallets"
    address: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="accounts.account_id", index=True)
    created_at: datetime = Field(sa_type=DateTime(timezone=True))


class SignInRow(Base, table=True):
    """A sign-in message that was used. Redis may forget its nonce; this row never lets it pass again."""

    __tablename__ = "sign_ins"
    message_hash: bytes = Field(primary_key=True)
    nonce: str = Field(unique=True)
    address: str
    used_at: datetime = Field(sa_type=DateTime(timezone=True))


class SessionRow(Base, table=True):
    """A session, by the SHA-256 of its token."""

    __tablename__ = "sessions"
    token_hash: bytes = Field(primary_key=True)
    account_id: str = Field(foreign_key="accounts.account_id")
    created_at: datetime = Field(sa_type=DateTime(timezone=True))
    expires_at: datetime = Field(sa_type=DateTime(timezone=True), index=True)


class ApiKeyRow(Base, table=True):
    """An API key, by its SHA-256. `hint` is what people recognise it by."""

    __tablename__ = "api_keys"
    key_id: str = Field(primary_key=True)
    account_id: str = Field(foreign_key="accounts.account_id", index=True)
    name: str
    hint: str
    key_hash: bytes = Field(unique=True)
    # The mandate that it spends by alone; empty: by any right of its account.
    mandate_key: str
    created_at: datetime = Field(sa_type=DateTime(timezone=True))
    revoked_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class MirrorRow(Base, table=True):
    """How far a chain is known, and when the indexer was heard of it last."""

    __tablename__ = "mirrors"
    chain_id: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    block_number: int = Field(sa_type=BigInteger)
    block_hash: str
    final_block: int = Field(sa_type=BigInteger)
    heard_at: datetime = Field(sa_type=DateTime(timezone=True))


class FactRow(Base, table=True):
    """What one contract event in one block says of a right, standing or retracted; `incarnation` counts how often
    its block returned."""

    __tablename__ = "facts"
    chain_id: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    block_hash: str = Field(primary_key=True)
    log_index: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    subject: str = Field(primary_key=True)
    block_number: int = Field(sa_type=BigInteger)
    kind: str
    body: dict[str, Any] = Field(sa_type=JSONB)
    incarnation: int
    standing: bool
    is_final: bool
    __table_args__ = (
        Index("ix_facts_subject", "subject", "block_number", "log_index", postgresql_where=STANDING),
        Index("ix_facts_plan", text("(body ->> 'plan_key')"), postgresql_where=PURCHASE),
        Index("ix_facts_not_final", "chain_id", "block_number", postgresql_where=NOT_FINAL),
    )


class AssetRow(Base, table=True):
    """A model that can be called."""

    __tablename__ = "assets"
    asset_id: str = Field(primary_key=True)
    chain_id: int = Field(sa_type=BigInteger)
    slug: str = Field(index=True)
    version_digest: str | None
    last_block: int = Field(sa_type=BigInteger)
    standing: bool


class PlanRow(Base, table=True):
    """Sale terms, by price book version."""

    __tablename__ = "plans"
    plan_key: str = Field(primary_key=True)
    chain_id: int = Field(sa_type=BigInteger)
    plan_id: str
    asset_id: str
    currency: str
    period_s: int = Field(sa_type=BigInteger)
    included_units: int = Field(sa_type=Amount)
    unit_price: int = Field(sa_type=Amount)
    metering_rule: str
    requests_per_s: int = Field(sa_type=BigInteger)
    transferable: bool
    optimistic_units: int = Field(sa_type=Amount)
    optimistic_amount: int = Field(sa_type=Amount)
    server: str
    trial_units: int = Field(sa_type=Amount)
    seats: int = Field(sa_type=BigInteger)
    __table_args__ = (Index("ix_plans_server", "chain_id", "server", "currency"),)


class MandateRow(Base, table=True):
    """What a payer lets be drawn from a deposit, and whether it stands."""

    __tablename__ = "mandates"
    key: str = Field(primary_key=True)
    chain_id: int = Field(sa_type=BigInteger)
    contract: str
    mandate_id: str
    deposit_id: str
    payer: str
    operator: str
    currency: str
    window_amount: int = Field(sa_type=Amount)
    total_amount: int = Field(sa_type=Amount)
    window_s: int = Field(sa_type=BigInteger)
    window_records: int = Field(sa_type=BigInteger)
    in_flight_cap: int = Field(sa_type=Amount)
    grace_s: int = Field(sa_type=BigInteger)
    valid_from: int = Field(sa_type=BigInteger)
    valid_until: int = Field(sa_type=BigInteger)
    asset_ids: str
    is_final: bool
    stands: bool
    __table_args__ = (Index("ix_mandates_id", "mandate_id"),)


class LicenseMoveRow(Base, table=True):
    """A wallet that held a license of an asset and gave it away."""

    __tablename__ = "license_moves"
    subject: str = Field(primary_key=True)
    wallet: str = Field(primary_key=True)
    asset_id: str
    __table_args__ = (Index("ix_license_moves_wallet", "wallet", "asset_id"),)


EQUATION = "granted = free + leased + suspended + spent + lapsed"
NEVER_NEGATIVE = "least(target, free, leased, suspended, spent, lapsed, shortage) >= 0"


class GrantRow(Base, table=True):
    """One spendable right and its equation, in one row that is locked for every change."""

    __tablename__ = "grants"
    grant_id: str = Field(primary_key=True)
    subject: str
    source: str
    chain_id: int = Field(sa_type=BigInteger)
    contract: str
    token_id: str
    window_ordinal: int = Field(sa_type=BigInteger)
    wallet: str
    user_wallet: str
    user_until: int = Field(sa_type=BigInteger)
    payer: str
    operator: str
    currency: str
    plan_key: str
    asset_id: str
    origin: str
    state: str
    quarantined: bool
    end_time: int = Field(sa_type=BigInteger)
    generation: int = Field(sa_type=BigInteger)
    floor: int = Field(sa_type=Amount)
    target: int = Field(sa_type=Amount)
    granted: int = Field(sa_type=Amount)
    free: int = Field(sa_type=Amount)
    leased: int = Field(sa_type=Amount)
    suspended: int = Field(sa_type=Amount)
    spent: int = Field(sa_type=Amount)
    lapsed: int = Field(sa_type=Amount)
    shortage: int = Field(sa_type=Amount)
    ended: bool
    draws_on: str
    mandates_only: bool
    version: int = Field(sa_type=BigInteger)
    published_version: int = Field(sa_type=BigInteger)
    published_at: datetime = Field(sa_type=DateTime(timezone=True))
    __table_args__ = (
        CheckConstraint(EQUATION, name="equation"),
        CheckConstraint("granted = target + shortage", name="target"),
        CheckConstraint(NEVER_NEGATIVE, name="parts"),
        CheckConstraint("NOT (ended AND free > 0) AND (ended OR lapsed = 0)", name="lapse"),
        CheckConstraint("source IN ('license', 'credits', 'deposit', 'mandate')", name="source"),
        Index("ix_grants_subject", "subject"),
        Index("ix_grants_draws", "draws_on", postgresql_where=text("draws_on <> ''")),
        Index("ix_grants_wallet", "wallet", "asset_id"),
        Index("ix_grants_user", "user_wallet", "asset_id", postgresql_where=text("user_wallet <> ''")),
        Index("ix_grants_payer", "payer", postgresql_where=text("shortage > 0")),
        Index(
            "ix_grants_end",
            "end_time",
            postgresql_where=text("state IN ('provisional', 'live') AND end_time > 0"),
        ),
        Index("ix_grants_unpublished", "published_at", postgresql_where=UNSEEN),
    )


class HoldRow(Base, table=True):
    """A quarantined key of a topic that denies a grant until it is lifted."""

    __tablename__ = "holds"
    grant_id: str = Field(primary_key=True)
    topic: str = Field(primary_key=True)
    held_key: str = Field(primary_key=True)
    __table_args__ = (Index("ix_holds_key", "topic", "held_key"),)


class DebtRow(Base, table=True):
    """Use that a reorganisation left without a right; `units` are still uncovered."""

    __tablename__ = "debts"
    debt_id: str = Field(primary_key=True)
    payer: str = Field(index=True)
    wallet: str
    plan_key: str
    grant_id: str
    units: int = Field(sa_type=Amount)
    created_at: datetime = Field(sa_type=DateTime(timezone=True))
    __table_args__ = (CheckConstraint("units > 0", name="units"),)


class LeaseRow(Base, table=True):
    """One lease. `payer` and `wallet` are those of its right when it was lent."""

    __tablename__ = "leases"
    lease_id: str = Field(primary_key=True)
    grant_id: str
    generation: int = Field(sa_type=BigInteger)
    account_id: str
    account_lease: int = Field(sa_type=BigInteger)
    worker_id: str
    asset_id: str
    plan_key: str
    payer: str
    wallet: str
    credential_hash: bytes
    requires_grant_id: str | None
    requires_generation: int | None = Field(sa_type=BigInteger)
    units: int = Field(sa_type=Amount)
    unit_price: int = Field(sa_type=Amount)
    reserved: int = Field(sa_type=Amount)
    remaining: int = Field(sa_type=Amount)
    calls: int = Field(sa_type=BigInteger)
    state: str
    orphaned: bool
    records: int = Field(sa_type=BigInteger)
    last_sequence: int | None = Field(sa_type=BigInteger)
    opened_at: datetime = Field(sa_type=DateTime(timezone=True))
    expires_at: datetime = Field(sa_type=DateTime(timezone=True))
    suspended_at: datetime | None = Field(sa_type=DateTime(timezone=True))
    __table_args__ = (
        CheckConstraint("remaining <= reserved", name="remaining"),
        CheckConstraint("state IN ('active', 'suspended', 'fencing', 'fenced', 'closed')", name="state"),
        Index("ix_leases_account", "account_id", "account_lease", unique=True),
        Index(
            "ix_leases_open", "grant_id", postgresql_where=text("state IN ('active', 'suspended', 'fencing')")
        ),
        Index("ix_leases_calls", "grant_id", postgresql_where=text("calls > 0")),
        Index("ix_leases_active", "expires_at", postgresql_where=text("state = 'active'")),
        Index("ix_leases_suspended", "suspended_at", postgresql_where=text("state = 'suspended'")),
    )


class LeaseRequestRow(Base, table=True):
    """A request that was answered, with its answer: asked again, it is answered again and nothing is lent."""

    __tablename__ = "lease_requests"
    request_id: str = Field(primary_key=True)
    fingerprint: bytes
    reply: dict[str, Any] | None = Field(sa_type=JSONB)
    created_at: datetime = Field(sa_type=DateTime(timezone=True), index=True)


class DecisionRow(Base, table=True):
    """Why a call was admitted or refused."""

    __tablename__ = "decisions"
    decision_id: str = Field(primary_key=True)
    account_id: str | None
    worker_id: str
    asset_id: str
    code: str
    grant_id: str
    lease_id: str
    units: int = Field(sa_type=Amount)
    chain_id: int = Field(sa_type=BigInteger)
    block_number: int = Field(sa_type=BigInteger)
    block_hash: str
    steps: list[dict[str, str]] = Field(sa_type=JSONB)
    decided_at: datetime = Field(sa_type=DateTime(timezone=True), index=True)


class WorkerRow(Base, table=True):
    """A gateway worker and when it asked last."""

    __tablename__ = "workers"
    worker_id: str = Field(primary_key=True)
    seen_at: datetime = Field(sa_type=DateTime(timezone=True), index=True)


class LossRow(Base, table=True):
    """Use that nobody pays, with its reason, in the measure of its grant."""

    __tablename__ = "losses"
    loss_id: str = Field(primary_key=True)
    lease_id: str
    grant_id: str
    account_id: str
    units: int = Field(sa_type=Amount)
    reason: str = Field(index=True)
    recorded_at: datetime = Field(sa_type=DateTime(timezone=True))


def table(row: type[SQLModel]) -> Table:
    """The Core table behind a row class, for queries in bulk."""
    found: Table = metadata.tables[str(row.__tablename__)]
    return found


MESSAGING = messaging_tables(metadata)
OUTBOX = Outbox(MESSAGING.outbox, source="licensing")
