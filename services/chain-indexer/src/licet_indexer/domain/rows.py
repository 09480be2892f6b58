"""Rows of the mirror, and the working set through which a batch of blocks changes them.

A row holds only what the chain says, so that two mirrors of the same chain are equal row by row. `changed_block` is the
last block that touched it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row; `KEY` names the fields of its primary key, in order."""

    KEY: ClassVar[tuple[str, ...]] = ()

    chain_id: int
    changed_block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset(Row):
    """An asset of a chain's registry."""

    KEY: ClassVar[tuple[str, ...]] = ("chain_id", "asset_id")

    asset_id: str
    contract: str
    token_id: int
    owner: str
    kind: int
    slug: str
    active_version: str | None
    version_count: int
    registered_block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Version(Row):
    """A published version."""

    KEY: ClassVar[tuple[str, ...]] = ("chain_id", "asset_id", "version_digest")

    asset_id: str
    version_digest: str
    uri: str
    ordinal: int
    published_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Row):
    """A plan with its terms."""

    KEY: ClassVar[tuple[str, ...]] = ("chain_id", "plan_id")

    plan_id: int
    contract: str
    creator: str
    open: bool
    asset_id: str
    currency: str
    price: int
    period_s: int
    included_units: int
    unit_price: int
    metering_rule: str
    requests_per_s: int
    transferable: bool
    commercial: bool
    optimistic_units: int
    optimistic_amount: int
    server: str
    terms_digest: str
    supply: int
    per_recipient: int
    trial_period_s: int
    trial_units: int
    seats: int


@dataclass(frozen=True, slots=True, kw_only=True)
class License(Row):
    """A licence; payer and price are those of its purchase."""

    KEY: ClassVar[tuple[str, ...]] = ("chain_id", "token_id")

    token_id: int
    contract: str
    plan_id: int
    asset_id: str
    holder: str
    payer: str
    price: int
    start_time: int
    end_time: int
    ordinal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit(Row):
    """The running deposit of a payer with an operator. Spendable is `total - drawn`.

    From `direct_until` on it is drawn from by a mandate or a voucher alone; 0: it needs neither.
    """

    KEY: ClassVar[tuple[str, ...]] = ("chain_id", "deposit_id")

    deposit_id: str
    payer: str
    operator: str
    token: str
    total: int
    drawn: int
    direct_until: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit(Row):
    """A requested exit; `withdrawn` is None while it is open."""

    KEY: ClassVar[tuple[str, ...]] = ("chain_id", "exit_id")

    exit_id: int
    deposit_id: str
    amount: int
    drawn: int
    unlock_time: int
    withdrawn: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(Row):
    """A settled batch."""

    KEY: ClassVar[tuple[str, ...]] = ("chain_id", "operator", "batch")

    operator: str
    batch: int
    root: str
    data_uri: str
    items: int
    due: int
    paid: int
    tx_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementItem(Row):
    """One line of a settled batch. `refunded` is 0, or all that was paid."""

    KEY: ClassVar[tuple[str, ...]] = ("chain_id", "operator", "batch", "index")

    operator: str
    batch: int
    index: int
    deposit_id: str
    authority: str
    asset_id: str
    token: str
    due: int
    paid: int
    refunded: int
    window: int
    records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Row):
    """What a group of a batch paid; `paid - refunded - released` is still held, from `release_at` on for nobody."""

    KEY: ClassVar[tuple[str, ...]] = ("chain_id", "operator", "batch", "asset_id", "token")

    operator: str
    batch: int
    asset_id: str
    token: str
    paid: int
    refunded: int
    released: int
    release_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revenue(Row):
    """Totals of an asset's revenue in one token; pending is `sale + usage - distributed`.

    Royalties, which come from assets that were derived from this one, count as its usage, and as distributed by those.
    """

    KEY: ClassVar[tuple[str, ...]] = ("chain_id", "asset_id", "token")

    asset_id: str
    token: str
    sale: int
    usage: int
    distributed: int
    fee: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Earning(Row):
    """Totals of an account in one token: what distributions gave it as payee, and what it claimed."""

    KEY: ClassVar[tuple[str, ...]] = ("chain_id", "account", "token")

    account: str
    token: str
    earned: int
    claimed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorKey(Row):
    """A receipt key of an operator and its validity."""

    KEY: ClassVar[tuple[str, ...]] = ("chain_id", "operator", "receipt_key")

    operator: str
    receipt_key: str
    valid_from: int
    valid_until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetMirror(Row):
    """Another chain's asset on this one: what its owner at home signed, and what reporters say of that owner."""

    KEY: ClassVar[tuple[str, ...]] = ("chain_id", "asset_id")

    asset_id: str
    slug: str | None = None
    home_chain_id: int | None = None
    home_registry: str | None = None
    owner: str | None = None
    home_owner: str | None = None
    epoch: int | None = None
    valid_until: int | None = None
    reported_owner: str | None = None
    reported_epoch: int | None = None
    reported_at: int | None = None
    lineage: str | None = None

    def is_open(self, at: int) -> bool:
        """Whether it sells at this chain time, as MirrorBook.isOpen has it."""
        if self.valid_until is None or at >= self.valid_until:
            return False
        return (self.home_owner, self.epoch) == (self.reported_owner, self.reported_epoch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series(Row):
    """A series of credits; `issued - redeemed - expired` units are with holders and in the escrow."""

    KEY: ClassVar[tuple[str, ...]] = ("chain_id", "token")

    token: str
    contract: str
    plan_id: int
    asset_id: str
    currency: str
    unit_price: int
    supply: int
    expires_at: int
    transferable: bool
    issued: int
    redeemed: int
    expired: int


TABLES: tuple[type[Row], ...] = (
    Asset,
    Version,
    Plan,
    License,
    Deposit,
    Exit,
    Batch,
    SettlementItem,
    Revenue,
    Earning,
    OperatorKey,
    AssetMirror,
    Hold,
    Series,
)

RowKey = tuple[type[Row], tuple[int | str, ...]]
RowT = TypeVar("RowT", bound=Row)


def key_of(row: Row) -> RowKey:
    """Table and primary key of a row."""
    return type(row), tuple(getattr(row, name) for name in row.KEY)


@dataclass(frozen=True, slots=True)
class Undo:
    """What a row was before a block changed it; None: it did not exist."""

    block_number: int
    key: RowKey
    before: Row | None


class Rows:
    """The rows that a batch of blocks touches: loaded once, changed in memory, written once.

    Remembers, for each block, what each row was before that block.
    """

    def __init__(self, loaded: dict[RowKey, Row]) -> None:
        self._rows = dict(loaded)
        self._changed: set[RowKey] = set()
        self._undo: dict[tuple[int, RowKey], Row | None] = {}

    def get(self, table: type[RowT], *key: int | str) -> RowT | None:
        """The row as the events so far have left it, None where it does not exist."""
        row = self._rows.get((table, key))
        if row is None:
            return None
        if not isinstance(row, table):
            raise TypeError(f"{table.__name__} holds a {type(row).__name__}")
        return row

    def put(self, row: Row) -> None:
        """Sets a row; `changed_block` says which block does it."""
        key = key_of(row)
        self._undo.setdefault((row.changed_block, key), self._rows.get(key))
        self._rows[key] = row
        self._changed.add(key)

    def changed(self) -> list[Row]:
        """Rows as they are at the end, grouped by nothing, each once."""
        return [self._rows[key] for key in self._changed]

    def undo(self, above: int) -> list[Undo]:
        """What would take the blocks above a height back."""
        return [Undo(number, key, row) for (number, key), row in self._undo.items() if number > above]
