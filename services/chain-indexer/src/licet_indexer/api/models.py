"""What the read API answers. Amounts and ids wider than 64 bits are decimal text."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

from licet_kit.cursor import Page
from pydantic import BaseModel, BeforeValidator, Field

T = TypeVar("T")

Decimal = Annotated[str, BeforeValidator(str), Field(pattern=r"^-?[0-9]+$", examples=["1000000"])]
Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
Address = Annotated[str, Field(pattern=r"^0x[0-9a-f]{40}$")]


class Position(BaseModel):
    """The block at which the mirror was read, and the highest final one. None before the first of either."""

    chain_id: int
    block_number: int | None
    block_hash: Hash | None
    final: int | None = Field(description="Number of the highest final block")


class Listing(Page[T], Generic[T]):
    """One page of a list, and where the mirrors of the chains it speaks of stood."""

    positions: list[Position]


class BlockOut(BaseModel):
    """A block."""

    block_number: int
    block_hash: Hash
    block_time: int


class ChainOut(BaseModel):
    """A chain and how far its mirror is."""

    chain_id: int
    name: str
    state: str = Field(description="following | halted")
    halt_reason: str | None
    head: BlockOut | None = Field(description="The mirror's newest block")
    final: BlockOut | None
    node_head: int | None = Field(description="Height of the node's newest block, when it last answered")
    lag: int = Field(description="Blocks that the mirror is behind the node")
    heard_at: str | None = Field(description="When the node last answered")


class RowOut(BaseModel):
    """What every row of the mirror has."""

    chain_id: int
    changed_block: int = Field(description="Last block that changed this")
    is_final: bool = Field(description="Whether that block is final")


class AssetOut(RowOut):
    """An asset."""

    asset_id: Hash
    contract: Address
    token_id: Decimal
    owner: Address
    kind: int = Field(description="1 model, 2 dataset, 3 pipeline, 4 agent")
    slug: str
    active_version: Hash | None
    version_count: int
    registered_block: int


class VersionOut(RowOut):
    """A version of an asset."""

    asset_id: Hash
    version_digest: Hash
    uri: str
    ordinal: int
    published_at: int
    active: bool


class PlanOut(RowOut):
    """A plan: `PlanTerms` of licet.chain.v1, and its state."""

    plan_id: Decimal
    contract: Address
    creator: Address
    open: bool = Field(description="Not closed; of another chain's asset it sells while its mirror is open")
    asset_id: Hash
    currency: Address
    price: Decimal
    period_s: int
    included_units: int
    unit_price: Decimal
    metering_rule: str
    requests_per_s: int
    transferable: bool
    commercial: bool
    optimistic_units: int
    optimistic_amount: Decimal
    server: Address
    terms_digest: Hash
    supply: int
    per_recipient: int
    trial_period_s: int
    trial_units: int
    seats: int


class SeriesOut(RowOut):
    """A series of credits: prepaid units of a plan."""

    token: Address = Field(description="ERC-20 over the units, in which they are deposited")
    contract: Address
    plan_id: Decimal
    asset_id: Hash
    currency: Address
    unit_price: Decimal
    supply: Decimal
    expires_at: int
    transferable: bool
    issued: Decimal
    redeemed: Decimal
    expired: Decimal


class MirrorOut(RowOut):
    """Another chain's asset on this one. What its owner at home signed is None before the first statement, what
    reporters say of that owner before the first report."""

    asset_id: Hash
    slug: str | None
    home_chain_id: Decimal | None
    home_registry: Address | None
    owner: Address | None = Field(description="Who makes plans and earns on this chain")
    home_owner: Address | None
    epoch: Decimal | None
    valid_until: int | None
    reported_owner: Address | None
    reported_epoch: Decimal | None
    reported_at: int | None
    lineage: Hash | None
    open: bool = Field(description="Whether it sold at the time of the mirror's newest block")


class LicenseOut(RowOut):
    """A license."""

    token_id: Decimal
    contract: Address
    plan_id: Decimal
    asset_id: Hash
    holder: Address
    payer: Address
    price: Decimal
    start_time: int
    end_time: int
    ordinal: int = Field(description="How often it was renewed")


class ExitOut(BaseModel):
    """An exit that waits to be withdrawn."""

    exit_id: Decimal
    amount: Decimal
    drawn: Decimal = Field(description="What settlements took from it while it waited")
    unlock_time: int
    is_final: bool


class DepositOut(RowOut):
    """The running deposit of a payer with an operator."""

    deposit_id: Hash
    payer: Address
    operator: Address
    token: Address
    spendable: Decimal
    drawn: Decimal
    total: Decimal = Field(description="Spendable plus everything that settlements ever drew")
    direct_until: int = Field(description="From then on drawn from by mandates and vouchers alone; 0: never")
    exits: list[ExitOut] = Field(description="Those that are open; withdrawn ones are in the events")


class BatchOut(RowOut):
    """A settled batch."""

    operator: Address
    batch: int
    root: Hash
    data_uri: str
    items: int
    due: Decimal
    paid: Decimal
    tx_hash: Hash
    block_number: int


class HoldOut(RowOut):
    """What a group of a batch paid: held until `release_at`, then anybody brings it to the router."""

    operator: Address
    batch: int
    asset_id: Hash
    token: Address
    paid: Decimal
    refunded: Decimal
    released: Decimal
    held: Decimal = Field(description="What is neither refunded nor released")
    release_at: int


class EventOut(BaseModel):
    """An event of a canonical block; `payload` has the fields of the licet.chain.v1 message that `name` names."""

    event_id: str
    chain_id: int
    block_number: int
    block_hash: Hash
    block_time: int
    tx_hash: Hash
    log_index: int
    contract: Address
    name: str
    payload: dict[str, Any]
    is_final: bool


class AssetAnswer(AssetOut):
    """One asset."""

    position: Position


class PlanAnswer(PlanOut):
    """One plan."""

    position: Position


class LicenseAnswer(LicenseOut):
    """One license."""

    position: Position
