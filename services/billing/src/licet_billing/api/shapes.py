"""Bodies of the answers. Amounts are decimal strings of the smallest unit; hashes and addresses lowercase 0x."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel


class ChargeBody(BaseModel):
    """One metered call of the caller's account."""

    request_id: str
    asset_id: str
    plan_id: str
    grant_id: str
    source: str
    units: str
    unit_price: str
    amount: str
    currency: str
    # not_charged (it failed, or nothing was handed over) | included | operator_loss | unsettled | settling | settled
    state: str
    outcome: int
    started_at: datetime
    ended_at: datetime
    batch: int | None
    tx_hash: str | None


class ReceiptFields(BaseModel):
    """The fields that the receipt's EIP-712 hash covers."""

    request_id: str
    account_id: str
    account_lease: int
    sequence: int
    last: bool
    grant_id: str
    asset_id: str
    version_digest: str
    plan_id: int
    metering_rule: str
    units: int
    price_book_version: str
    outcome: int
    started_at_ms: int
    ended_at_ms: int
    request_commitment: str
    response_commitment: str


class CertificateBody(BaseModel):
    """The operator's receipt key lets this replica sign."""

    operator: str
    replica: str
    valid_from: int
    valid_until: int
    signature: str


class SegmentBody(BaseModel):
    """The signed batch of receipts that holds this one."""

    root: str
    receipts: int
    path: list[str]
    signature: str
    certificate: CertificateBody


class ChargeLeaf(BaseModel):
    """The charge as a leaf of a sum tree."""

    amount: str
    currency: str
    payer: str
    salt: str


class StepBody(BaseModel):
    """One step of a sum-tree proof."""

    hash: str
    sum: str
    left: bool


class LineBody(BaseModel):
    """The line of the batch that holds the charge; its leaf in the batch's tree."""

    index: int
    asset_id: str
    token: str
    payer: str
    authority: str
    window: int
    amount: str
    payer_root: str
    records: int


class SettlementProof(BaseModel):
    """From the charge to the batch's root on chain."""

    operator: str
    batch: int
    tx_hash: str | None
    state: str
    line: LineBody
    steps: list[StepBody]
    line_proof: list[str]


class ReceiptBody(BaseModel):
    """All that proves one call. `settlement` is null for an amount of 0, and until its batch is on chain."""

    request_id: str
    # signed: by the replica, not settled on chain; settled: its batch is final
    state: str
    chain_id: int
    escrow: str
    receipt: ReceiptFields
    segment: SegmentBody
    charge: ChargeLeaf
    disposition: str
    settlement: SettlementProof | None


class DepositBody(BaseModel):
    """A deposit: `available` can still be charged, `owed` is charged beyond it, `unsettled` is charged and not yet
    drawn on chain, `exiting` waits for withdrawal, `provisional` came in a block that is not final."""

    chain_id: int
    deposit_id: str
    payer: str
    operator: str
    currency: str
    available: str
    owed: str
    unsettled: str
    exiting: str
    provisional: str


class BalanceBody(BaseModel):
    """The caller's deposits with this operator."""

    account_id: str
    deposits: list[DepositBody]


class BatchBody(BaseModel):
    """A settlement batch. `paid` is null until the ledger has posted all of its lines."""

    chain_id: int
    operator: str
    batch: int
    # prepared | submitted | unknown | included | reorged | final | conflict
    state: str
    root: str
    data_uri: str
    due: str
    paid: str | None
    items: int
    charges: int
    tx_hash: str | None
    block_number: int | None
    last_error: str
    created_at: datetime
    changed_at: datetime


class StuckBody(BaseModel):
    """The oldest charge of a currency above the operator's whole settler cap: nothing behind it is settled either,
    until the cap is raised."""

    chain_id: int
    currency: str
    request_id: str
    amount: str
    cap: str


class PreparedBody(BaseModel):
    """Batches that were composed now; none where nothing is due, or an earlier batch is still on its way. `stuck`
    names what no batch can take."""

    batches: list[BatchBody]
    stuck: list[StuckBody]


class LegBody(BaseModel):
    """One leg of a transaction."""

    account: str
    side: str
    amount: str


class TransactionBody(BaseModel):
    """A ledger transaction."""

    id: str
    kind: str
    state: str
    cause: str
    chain_id: int
    currency: str
    tx_hash: str | None
    block_number: int | None
    created_at: datetime
    posted_at: datetime | None
    entries: list[LegBody]


class AccountBody(BaseModel):
    """A ledger account with its posted sums."""

    id: str
    kind: str
    chain_id: int
    currency: str
    owner: str
    debits: str
    credits: str
    balance: str


class DifferenceBody(BaseModel):
    """One figure that two sources state differently."""

    chain_id: int
    check: str
    subject: str
    expected: str
    found: str


class ChainReconciliation(BaseModel):
    """The result for one chain."""

    id: str
    chain_id: int
    block_number: int
    exact: bool
    counts: dict[str, int]


class ReconciliationBody(BaseModel):
    """Receipts, ledger and chain compared; `exact` when no chain shows a difference."""

    exact: bool
    chains: list[ChainReconciliation]
    differences: list[DifferenceBody]
