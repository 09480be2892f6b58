"""Rebuilds charges and batches from what was signed: the receipts' side of a reconciliation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from licet_schemas import settlement
from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing import events
from licet_billing.db import charges as charge_rows
from licet_billing.db import evidence as rows
from licet_billing.db import reconciliation as ledger_rows
from licet_billing.db import rights
from licet_billing.db import settlement as settlement_rows
from licet_billing.db.charges import ReceiptedCharge
from licet_billing.db.tables import ChargeRow, ItemRow
from licet_billing.domain.errors import MissingParent, PlanUnknown, ReceiptInvalid, RecordInconsistent
from licet_billing.domain.receipts import KeyIntervals
from licet_billing.domain.reconciliation import (
    Check,
    Difference,
    Span,
    compare,
    compare_columns,
)
from licet_billing.domain.settlement import BatchKey, BatchState, Leaf
from licet_billing.domain.usage import Disposition, Grant, Plan, PlanKey, Source, rate, terms_of
from licet_billing.usecases import receipts
from licet_billing.usecases.batches import lines_of, sum_tree

# Charges or ledger transactions of one page: about 40 ms of rebuilding, for which intake and API wait.
PAGE: Final = 200
# Calls of a lease end in any order, and last an hour at most (GATEWAY_CALL_TIMEOUT_S); twice that, so that a record
# which is still missing is lost.
SETTLED_AFTER_S: Final = 7200.0
# What a key's latest statement says of its time may have changed since intake compared the receipt with it.
_ANY_TIME: Final = (0, 2**63)


@dataclass(frozen=True, slots=True)
class Page:
    """What a page of a span showed. `through` is the place of its last one; None where there is nothing behind."""

    compared: int
    through: int | None
    differences: Sequence[Difference]


@dataclass(frozen=True, slots=True)
class _Known:
    """What the charges of a page build on."""

    domain: bytes
    plans: Mapping[PlanKey, Sequence[Plan]]
    grants: Mapping[str, Grant]
    keys: Mapping[tuple[int, str], KeyIntervals]


async def check_charges(session: AsyncSession, chain_id: int, domain: bytes, span: Span) -> Page:
    """Rebuilds the oldest charges of a span from their signed records, and looks for those that are missing between.

    `domain` is the domain separator of the chain's receipts.
    """
    page = await rows.charges_after(session, chain_id, span.after, span.through, PAGE)
    versions = {key for row in page if (key := _plan_key(row)) is not None}
    plans = await rights.statements(session, versions)
    servers = {(chain_id, plan.server) for stated in plans.values() for plan in stated}
    known = _Known(
        domain=domain,
        plans=plans,
        grants=await rows.grants(session, {row.grant_id for row in page}),
        keys={
            who: dict.fromkeys(keys, _ANY_TIME)
            for who, keys in (await rights.operator_keys(session, servers)).items()
        },
    )
    rebuilt = [difference for row in page for difference in _rebuilt(row, known)]
    missing = await _missing(session, page)
    return Page(len(page), page[-1].seq if len(page) == PAGE else None, [*rebuilt, *missing])


def _plan_key(row: ChargeRow) -> PlanKey | None:
    try:
        return PlanKey.parse(row.price_book_version)
    except RecordInconsistent:
        return None


def _rebuilt(row: ChargeRow, known: _Known) -> list[Difference]:
    """Where a charge is not what its receipt, its plan and its grant make of it."""
    try:
        expected = _columns(row, known)
    except (RecordInconsistent, ReceiptInvalid, MissingParent) as error:
        return [Difference(Check.RECEIPTS, row.request_id, "a signed receipt of these terms", str(error))]
    found = {name: getattr(row, name) for name in expected}
    return compare_columns(Check.RECEIPTS, row.request_id, expected, found)


def _columns(row: ChargeRow, known: _Known) -> dict[str, object]:
    record, segment = events.stored_usage(row.record)
    key = PlanKey.parse(record.price_book_version)
    stated = known.plans.get(key)
    grant = known.grants.get(record.grant_id)
    if stated is None:
        raise PlanUnknown(record.price_book_version)
    plan = terms_of(record, _as_rated(row, stated))
    if grant is None:
        raise RecordInconsistent("grant_id", row.grant_id, record.grant_id)
    keys = known.keys.get((key.chain_id, plan.server), {})
    digest = receipts.verify(record, segment, domain=known.domain, operator=plan.server, keys=keys)
    charge, _ = rate(record, grant, plan, fenced=True)
    billed = row.disposition == Disposition.BILLED and charge.source is not Source.LICENSE
    charge = replace(charge, amount=charge.value if billed else 0, disposition=Disposition(row.disposition))
    expected = charge_rows.columns_of(ReceiptedCharge(charge, record, digest, row.salt, row.record))
    if charge.source is Source.LICENSE:
        del expected["payer"]  # a license has had another holder since, and nobody pays for it here
    return expected


def _as_rated(row: ChargeRow, stated: Sequence[Plan]) -> Sequence[Plan]:
    """These statements, those with the charge's terms first: one that a reorg put in their place rated later ones."""
    terms = (row.unit_price, row.currency, row.operator)
    return sorted(stated, key=lambda plan: (plan.unit_price, plan.currency, plan.server) != terms)


async def _missing(session: AsyncSession, page: Sequence[ChargeRow]) -> list[Difference]:
    """Calls without a charge between those that have one, or before the end that their lease told.

    A fenced lease is left out: licensing gave it up, and what is missing of it is operator loss. Each is seen from
    its successor, so that no lease is read as a whole.
    """
    old = datetime.now(UTC) - timedelta(seconds=SETTLED_AFTER_S)
    settled = [row for row in page if row.recorded_at <= old]
    leases = {row.lease_id for row in settled}
    leases -= await rights.fenced(session, leases)
    before = {
        f"{row.lease_id}-{row.sequence - 1}": row.request_id
        for row in settled
        if row.sequence > 1 and row.lease_id in leases
    }
    ends = await rights.ends(session, leases)
    # A lease's last record is a call, or a marker behind its last call.
    last = {lease: {f"{lease}-{n}", f"{lease}-{n - 1}"} for lease, n in ends.items() if n > 1}
    there = await rows.charged(session, before.keys() | {id_ for ids in last.values() for id_ in ids})
    gaps = {id_: f"nothing before {successor}" for id_, successor in before.items() if id_ not in there}
    gaps |= {f"{lease}-{ends[lease] - 1}": "nothing" for lease, ids in last.items() if not ids & there}
    return [Difference(Check.SEQUENCES, id_, "a charge", found) for id_, found in sorted(gaps.items())]


async def check_postings(session: AsyncSession, span: Span) -> Page:
    """Hashes the oldest posting batches of a span and their transactions once more.

    A batch holds up to hundreds of transactions, so these are what is counted.
    """
    page = await ledger_rows.postings_page(session, span, PAGE) if span.after < span.through else span
    differences = await ledger_rows.chain_differences(session, page)
    through = page.through if page.through < span.through else None
    return Page(page.through - page.after, through, differences)


async def check_batch(session: AsyncSession, key: BatchKey, batch: Any) -> list[Difference]:
    """Receipts of a batch against what was sent, and what was paid against the ledger.

    `batch` is a row of `batches_posted`.
    """
    leaves = await charge_rows.leaves(session, key)
    items = await settlement_rows.items(session, key)
    paid, lost = await ledger_rows.settled_in_ledger(session, key)
    sums = {
        "due": int(batch.due),
        "paid": int(batch.paid or 0),
        "shortfall": int(batch.due) - int(batch.paid or 0),
        "records": int(batch.charges),
    }
    booked = {"due": int(batch.lines), "paid": paid, "shortfall": lost, "records": int(batch.records)}
    return [
        *(found for item in items for found in _line(key, item, leaves.get(item.position, []))),
        *_root(batch, items),
        *(replace(d, subject=f"{key.number}:{d.subject}") for d in compare(Check.BATCH_PAID, sums, booked)),
        *_document(batch, await settlement_rows.content(session, batch.digest)),
        *_state(batch),
    ]


def _line(key: BatchKey, item: ItemRow, leaves: Sequence[Leaf]) -> list[Difference]:
    stated = _line_text({_sides(item)}, item.payer_root, item.amount, item.records)
    proven = "no leaves"
    if leaves:
        tree = sum_tree(leaves)
        proven = _line_text({_sides(leaf) for leaf in leaves}, f"0x{tree.root.hex()}", tree.sum, len(leaves))
    if stated == proven:
        return []
    return [Difference(Check.BATCH_LEAVES, f"{key.number}:{item.position}", proven, stated)]


def _sides(of: ItemRow | Leaf) -> str:
    return f"{of.deposit_id} {of.authority} {of.window} {of.asset_id} {of.currency} {of.payer}"


def _line_text(sides: set[str], root: str, amount: int, records: int) -> str:
    return f"{' / '.join(sorted(sides))} {root} {amount} {records}"


def _root(batch: Any, items: Sequence[ItemRow]) -> list[Difference]:
    root = "0x" + settlement.batch_tree(lines_of(items)).root.hex()
    return [] if root == batch.root else [Difference(Check.BATCH_LEAVES, str(batch.number), root, batch.root)]


def _document(batch: Any, body: bytes | None) -> list[Difference]:
    """The public document against its name, which is on chain, and the batch."""
    found = "no document"
    if body is not None and (found := hashlib.sha256(body).hexdigest()) == batch.digest:
        document = json.loads(body)
        expected, found = f"{batch.number} {batch.root}", f"{document['batch']} {document['root']}"
    else:
        expected = batch.digest
    return [] if found == expected else [Difference(Check.BATCH_DOCUMENT, str(batch.number), expected, found)]


def _state(batch: Any) -> list[Difference]:
    """A batch whose lines are posted is on its way to final, in the transaction that the ledger booked."""
    booked = batch.booked_tx
    if batch.state == BatchState.CONFLICT:
        return [Difference(Check.BATCH_STATE, str(batch.number), booked, batch.state)]
    if batch.state == BatchState.FINAL and batch.tx_hash != booked:
        return [Difference(Check.BATCH_STATE, str(batch.number), booked, batch.tx_hash or "")]
    return []
