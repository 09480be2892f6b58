"""Tables of the vault; migrations/ holds their constraints."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final

from licet_kit.db import make_metadata
from licet_kit.outbox import Outbox
from licet_kit.tables import messaging_tables
from sqlalchemy import BigInteger, Column, DateTime, LargeBinary, Table, Text, func
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

MIGRATIONS: Final = Path(__file__).resolve().parents[3] / "migrations"

metadata = make_metadata()
TABLES: Final = messaging_tables(metadata)
OUTBOX: Final = Outbox(TABLES.outbox, source="vault")


class Base(SQLModel, registry=registry(metadata=metadata)):
    """Tables of this service alone."""


def _stamped() -> Any:  # Field() is typed as Any
    return Field(sa_column=Column(DateTime(timezone=True), server_default=func.now(), nullable=False))


class AssetFactRow(Base, table=True):
    """One log about an asset; `live` while its newest truth is that it was observed."""

    __tablename__ = "asset_fact"

    chain_id: int = Field(sa_type=BigInteger, primary_key=True)
    block_hash: str = Field(primary_key=True)
    log_index: int = Field(primary_key=True)
    asset_id: str
    kind: str
    block_number: int = Field(sa_type=BigInteger)
    rank: int = Field(sa_type=BigInteger)
    live: bool
    owner: str
    slug: str
    digest: str
    uri: str


class UploadRow(Base, table=True):
    """An account has shown that it holds the bytes of this digest."""

    __tablename__ = "upload"

    account_id: str = Field(primary_key=True)
    sha256: str = Field(primary_key=True)
    size_bytes: int = Field(sa_type=BigInteger)
    uploaded_at: datetime = _stamped()


class ManifestRow(Base, table=True):
    """A valid manifest, as its canonical bytes."""

    __tablename__ = "manifest"

    digest: str = Field(primary_key=True)
    body: bytes = Field(sa_type=LargeBinary)
    stored_at: datetime = _stamped()


class ManifestWalletRow(Base, table=True):
    """A wallet of an account that uploaded a manifest and all of its artefacts."""

    __tablename__ = "manifest_wallet"

    digest: str = Field(primary_key=True, foreign_key="manifest.digest")
    account_id: str = Field(primary_key=True)
    wallet: str = Field(primary_key=True)


class VersionStateRow(Base, table=True):
    """The vault's view of one version on one Triton."""

    __tablename__ = "version_state"

    asset_id: str = Field(primary_key=True)
    digest: str = Field(primary_key=True)
    triton_url: str = Field(primary_key=True)
    slug: str
    triton_model: str
    state: str
    reason: str
    metering_rule: str
    # `schema_json` is taken by pydantic.
    interface: str = Field(sa_column=Column("schema_json", Text, nullable=False))
    number: int = Field(sa_type=BigInteger)
    changed_at: datetime = _stamped()


ASSET_FACT: Final[Table] = metadata.tables["asset_fact"]
UPLOAD: Final[Table] = metadata.tables["upload"]
MANIFEST: Final[Table] = metadata.tables["manifest"]
MANIFEST_WALLET: Final[Table] = metadata.tables["manifest_wallet"]
VERSION_STATE: Final[Table] = metadata.tables["version_state"]
