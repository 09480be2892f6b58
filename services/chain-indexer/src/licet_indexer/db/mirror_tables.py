"""Tables of the mirror: the columns of their row type in `domain.rows`, in its names.

A chain's times are Unix seconds. Hashes and addresses are lowercase 0x-hex. Ids and amounts are up to 256 bits wide.
"""

from __future__ import annotations

from typing import ClassVar

import sqlalchemy as sa
from licet_kit.db import Amount
from sqlmodel import Field

from licet_indexer.db.base import Base
from licet_indexer.domain import rows as r


class MirrorBase(Base):
    """What every mirror table has."""

    row: ClassVar[type[r.Row]]

    chain_id: int = Field(sa_type=sa.BigInteger, primary_key=True)
    changed_block: int = Field(sa_type=sa.BigInteger)


class AssetRow(MirrorBase, table=True):
    """Assets."""

    __tablename__ = "asset"
    __table_args__ = (sa.Index("ix_asset_slug", "slug"), sa.Index("ix_asset_owner", "owner"))
    row = r.Asset

    asset_id: str = Field(primary_key=True)
    contract: str
    token_id: int = Field(sa_type=Amount)
    owner: str
    kind: int
    slug: str
    active_version: str | None
    version_count: int = Field(sa_type=sa.BigInteger)
    registered_block: int = Field(sa_type=sa.BigInteger)


class VersionRow(MirrorBase, table=True):
    """Versions."""

    __tablename__ = "version"
    row = r.Version

    asset_id: str = Field(primary_key=True)
    version_digest: str = Field(primary_key=True)
    uri: str
    ordinal: int = Field(sa_type=sa.BigInteger)
    published_at: int = Field(sa_type=sa.BigInteger)


class PlanRow(MirrorBase, table=True):
    """Plans."""

    __tablename__ = "plan"
    __table_args__ = (sa.Index("ix_plan_asset_id", "asset_id"), sa.Index("ix_plan_server", "server"))
    row = r.Plan

    plan_id: int = Field(sa_type=Amount, primary_key=True)
    contract: str
    creator: str
    open: bool
    asset_id: str
    currency: str
    price: int = Field(sa_type=Amount)
    period_s: int = Field(sa_type=sa.BigInteger)
    included_units: int = Field(sa_type=Amount)
    unit_price: int = Field(sa_type=Amount)
    metering_rule: str
    requests_per_s: int = Field(sa_type=sa.BigInteger)
    transferable: bool
    commercial: bool
    optimistic_units: int = Field(sa_type=Amount)
    optimistic_amount: int = Field(sa_type=Amount)
    server: str
    terms_digest: str
    supply: int = Field(sa_type=Amount)
    per_recipient: int = Field(sa_type=sa.BigInteger)
    trial_period_s: int = Field(sa_type=Amount)
    trial_units: int = Field(sa_type=Amount)
    seats: int = Field(sa_type=sa.BigInteger)


class LicenseRow(MirrorBase, table=True):
    """Licences."""

    __tablename__ = "license"
    __table_args__ = (sa.Index("ix_license_holder", "holder"), sa.Index("ix_license_asset_id", "asset_id"))
    row = r.License

    token_id: int = Field(sa_type=Amount, primary_key=True)
    contract: str
    plan_id: int = Field(sa_type=Amount)
    asset_id: str
    holder: str
    payer: str
    price: int = Field(sa_type=Amount)
    start_time: int = Field(sa_type=sa.BigInteger)
    end_time: int = Field(sa_type=sa.BigInteger)
    ordinal: int = Field(sa_type=sa.BigInteger)


class DepositRow(MirrorBase, table=True):
    """Deposits."""

    __tablename__ = "deposit"
    __table_args__ = (sa.Index("ix_deposit_payer", "payer"), sa.Index("ix_deposit_operator", "operator"))
    row = r.Deposit

    deposit_id: str = Field(primary_key=True)
    payer: str
    operator: str
    token: str
    total: int = Field(sa_type=Amount)
    drawn: int = Field(sa_type=Amount)
    direct_until: int = Field(sa_type=sa.BigInteger)


class ExitRow(MirrorBase, table=True):
    """Exits."""

    __tablename__ = "deposit_exit"
    # Of the open ones alone: a deposit has few of them, and may have any number behind it.
    __table_args__ = (
        sa.Index("ix_deposit_exit_open", "deposit_id", postgresql_where=sa.text("withdrawn IS NULL")),
    )
    row = r.Exit

    exit_id: int = Field(sa_type=Amount, primary_key=True)
    deposit_id: str
    amount: int = Field(sa_type=Amount)
    drawn: int = Field(sa_type=Amount)
    unlock_time: int = Field(sa_type=sa.BigInteger)
    withdrawn: int | None = Field(sa_type=Amount)


class BatchRow(MirrorBase, table=True):
    """Settled batches."""

    __tablename__ = "settlement_batch"
    row = r.Batch

    operator: str = Field(primary_key=True)
    batch: int = Field(sa_type=sa.BigInteger, primary_key=True)
    root: str
    data_uri: str
    items: int = Field(sa_type=sa.BigInteger)
    due: int = Field(sa_type=Amount)
    paid: int = Field(sa_type=Amount)
    tx_hash: str


class SettlementItemRow(MirrorBase, table=True):
    """Lines of settled batches."""

    __tablename__ = "settlement_item"
    row = r.SettlementItem

    operator: str = Field(primary_key=True)
    batch: int = Field(sa_type=sa.BigInteger, primary_key=True)
    index: int = Field(sa_type=sa.BigInteger, primary_key=True)
    deposit_id: str
    authority: str
    asset_id: str
    token: str
    due: int = Field(sa_type=Amount)
    paid: int = Field(sa_type=Amount)
    refunded: int = Field(sa_type=Amount)
    window: int = Field(sa_type=sa.BigInteger)
    records: int = Field(sa_type=sa.BigInteger)


class HoldRow(MirrorBase, table=True):
    """What groups of batches paid, and what became of it."""

    __tablename__ = "settlement_hold"
    # An owner looks for what is still held for an asset.
    __table_args__ = (
        sa.Index(
            "ix_settlement_hold_open", "asset_id", postgresql_where=sa.text("paid > refunded + released")
        ),
    )
    row = r.Hold

    operator: str = Field(primary_key=True)
    batch: int = Field(sa_type=sa.BigInteger, primary_key=True)
    asset_id: str = Field(primary_key=True)
    token: str = Field(primary_key=True)
    paid: int = Field(sa_type=Amount)
    refunded: int = Field(sa_type=Amount)
    released: int = Field(sa_type=Amount)
    release_at: int = Field(sa_type=sa.BigInteger)


class RevenueRow(MirrorBase, table=True):
    """Revenue of assets."""

    __tablename__ = "revenue"
    row = r.Revenue

    asset_id: str = Field(primary_key=True)
    token: str = Field(primary_key=True)
    sale: int = Field(sa_type=Amount)
    usage: int = Field(sa_type=Amount)
    distributed: int = Field(sa_type=Amount)
    fee: int = Field(sa_type=Amount)


class EarningRow(MirrorBase, table=True):
    """Earnings and claims of accounts."""

    __tablename__ = "earning"
    row = r.Earning

    account: str = Field(primary_key=True)
    token: str = Field(primary_key=True)
    earned: int = Field(sa_type=Amount)
    claimed: int = Field(sa_type=Amount)


class OperatorKeyRow(MirrorBase, table=True):
    """Receipt keys."""

    __tablename__ = "operator_key"
    row = r.OperatorKey

    operator: str = Field(primary_key=True)
    receipt_key: str = Field(primary_key=True)
    valid_from: int = Field(sa_type=sa.BigInteger)
    valid_until: int = Field(sa_type=sa.BigInteger)


class AssetMirrorRow(MirrorBase, table=True):
    """Assets of other chains."""

    __tablename__ = "asset_mirror"
    __table_args__ = (sa.Index("ix_asset_mirror_asset_id", "asset_id"),)
    row = r.AssetMirror

    asset_id: str = Field(primary_key=True)
    slug: str | None
    home_chain_id: int | None = Field(sa_type=Amount)
    home_registry: str | None
    owner: str | None
    home_owner: str | None
    # As wide as uint64, which is wider than BIGINT.
    epoch: int | None = Field(sa_type=Amount)
    valid_until: int | None = Field(sa_type=sa.BigInteger)
    reported_owner: str | None
    reported_epoch: int | None = Field(sa_type=Amount)
    reported_at: int | None = Field(sa_type=sa.BigInteger)
    lineage: str | None


class SeriesRow(MirrorBase, table=True):
    """Series of credits."""

    __tablename__ = "credit_series"
    __table_args__ = (sa.Index("ix_credit_series_asset_id", "asset_id"),)
    row = r.Series

    token: str = Field(primary_key=True)
    contract: str
    plan_id: int = Field(sa_type=Amount)
    asset_id: str
    currency: str
    unit_price: int = Field(sa_type=Amount)
    # As wide as uint64, which is wider than BIGINT.
    supply: int = Field(sa_type=Amount)
    expires_at: int = Field(sa_type=sa.BigInteger)
    transferable: bool
    issued: int = Field(sa_type=Amount)
    redeemed: int = Field(sa_type=Amount)
    expired: int = Field(sa_type=Amount)


MIRROR: tuple[type[MirrorBase], ...] = (
    AssetRow,
    VersionRow,
    PlanRow,
    LicenseRow,
    DepositRow,
    ExitRow,
    BatchRow,
    SettlementItemRow,
    RevenueRow,
    EarningRow,
    OperatorKeyRow,
    AssetMirrorRow,
    HoldRow,
    SeriesRow,
)
