"""Usage intake: one charge for each metered call, and its transaction in the ledger."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from licet_schemas import eip712
from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing.db import charges as charge_rows
from licet_billing.db import ledger as ledger_rows
from licet_billing.db import rights
from licet_billing.db.charges import ReceiptedCharge
from licet_billing.domain.errors import GrantUnknown, PlanUnknown, RecordConflict, RecordInconsistent
from licet_billing.domain.ledger import Book, Transaction, accounts_touched, reversal
from licet_billing.domain.money import charge_transaction
from licet_billing.domain.receipts import KeyIntervals, SignedSegment
from licet_billing.domain.usage import (
    Charge,
    Disposition,
    Grant,
    Plan,
    PlanKey,
    UsageRecord,
    check_identity,
    cover,
    rate,
    terms_of,
)
from licet_billing.usecases import receipts

_SALT_BYTES = 32
# Charges that one grant covers late, in one transaction; the next look takes the rest.
COVER_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Call:
    """A usage record, what signs its receipt (nothing, for a closing marker), and the message as it arrived."""

    record: UsageRecord
    segment: SignedSegment | None
    message: bytes


@dataclass(frozen=True, slots=True)
class Fence:
    """Licensing gave this lease up at this place of the usage log."""

    lease_id: str
    grant_id: str
    event_id: str
    fenced_at: datetime


@dataclass(frozen=True, slots=True)
class Serving:
    """Whose usage this is: the operator, and each chain's UsageEscrow, which is part of what receipts sign."""

    operator: str
    escrows: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class _Known:
    """What the calls of a batch build on.

    `ends` maps leases to their last sequence, `charged` requests that are charged already to their receipts.
    """

    grants: dict[str, Grant]
    plans: Mapping[PlanKey, Sequence[Plan]]
    keys: Mapping[tuple[int, str], KeyIntervals]
    fenced: set[str]
    ends: dict[str, int]
    charged: dict[str, bytes]

    def is_behind_end(self, record: UsageRecord) -> bool:
        """Whether it came behind its lease's fence, or has a sequence beyond the last one that its lease told."""
        last = self.ends.get(record.lease_id)
        return record.lease_id in self.fenced or (last is not None and record.sequence > last)

    def end_lease(self, record: UsageRecord) -> None:
        """Keeps the last sequence that a lease told, unless it came behind its end itself."""
        if record.last and not self.is_behind_end(record):
            self.ends[record.lease_id] = record.sequence


async def record_usage(
    session: AsyncSession, log: Sequence[Call | Fence], serving: Serving
) -> list[ReceiptedCharge]:
    """Charges the calls of one piece of the usage log, in its order; returns the new charges.

    A record that is charged already changes nothing. Raises MissingParent for a grant, plan or receipt key that
    has not arrived, and RecordInconsistent, ReceiptInvalid or RecordConflict for a record that can never be
    charged; then nothing of the whole piece is stored.
    """
    known = await _known(session, log)
    kept_ends = dict(known.ends)
    made = []
    for entry in log:
        if isinstance(entry, Fence):
            known.fenced.add(entry.lease_id)
            await _save_fence(session, entry)
            continue
        if (charged := _charge(entry, known, serving)) is not None:
            made.append(charged)
        known.end_lease(entry.record)
    await rights.save_ends(session, {i: end for i, end in known.ends.items() if kept_ends.get(i) != end})
    await charge_rows.insert_charges(session, made)
    await rights.save_charged(session, list(known.grants.values()))
    await _post(session, [made.charge for made in made])
    return made


async def learn_grant(session: AsyncSession, grant: Grant) -> bool:
    """Stores a grant's state; False where a newer one is known."""
    return await rights.save_grant(session, grant)


async def _save_fence(session: AsyncSession, fence: Fence) -> None:
    await rights.save_fence(
        session,
        lease_id=fence.lease_id,
        grant_id=fence.grant_id,
        event_id=fence.event_id,
        fenced_at=fence.fenced_at,
    )


async def _known(session: AsyncSession, log: Sequence[Call | Fence]) -> _Known:
    calls = [entry.record for entry in log if isinstance(entry, Call) and not entry.record.is_closing_marker]
    plans = await rights.statements(session, {PlanKey.parse(record.price_book_version) for record in calls})
    leases = {entry.record.lease_id if isinstance(entry, Call) else entry.lease_id for entry in log}
    return _Known(
        grants=await rights.lock_grants(session, {record.grant_id for record in calls}),
        plans=plans,
        keys=await rights.operator_keys(
            session, {(key.chain_id, plan.server) for key, stated in plans.items() for plan in stated}
        ),
        fenced=await rights.fenced(session, leases),
        ends=await rights.ends(session, leases),
        charged=await charge_rows.receipt_hashes(session, [record.request_id for record in calls]),
    )


def _charge(call: Call, known: _Known, serving: Serving) -> ReceiptedCharge | None:
    """The charge of a call, with its grant's charged quantity raised in `known`; None where there is none to make."""
    record = call.record
    if call.segment is None:
        check_identity(record)
        return None
    plan, grant = _parents(record, known)
    escrow = serving.escrows.get(plan.key.chain_id)
    if escrow is None:
        raise RecordInconsistent("chain", str(plan.key.chain_id), "a configured chain")
    if plan.server != serving.operator:
        raise RecordInconsistent("plan server", plan.server, serving.operator)
    digest = receipts.verify(
        record,
        call.segment,
        domain=eip712.domain_separator(plan.key.chain_id, escrow),
        operator=plan.server,
        keys=known.keys.get((plan.key.chain_id, plan.server), {}),
    )
    if record.request_id in known.charged:
        if known.charged[record.request_id] != digest:
            raise RecordConflict(record.request_id)
        return None
    known.charged[record.request_id] = digest
    charge, known.grants[grant.grant_id] = rate(record, grant, plan, fenced=known.is_behind_end(record))
    return ReceiptedCharge(charge, record, digest, secrets.token_bytes(_SALT_BYTES), call.message)


def _parents(record: UsageRecord, known: _Known) -> tuple[Plan, Grant]:
    stated = known.plans.get(PlanKey.parse(record.price_book_version))
    if stated is None:
        raise PlanUnknown(record.price_book_version)
    grant = known.grants.get(record.grant_id)
    if grant is None:
        raise GrantUnknown(record.grant_id)
    return terms_of(record, stated), grant


async def _post(session: AsyncSession, charges: Sequence[Charge], before: Sequence[Transaction] = ()) -> None:
    transactions = [
        *before,
        *(made for charge in charges if (made := charge_transaction(charge)) is not None),
    ]
    book = Book(await ledger_rows.lock_balances(session, accounts_touched(transactions)))
    for transaction in transactions:
        book.post(transaction)
    await ledger_rows.post(session, book.posted)


async def grants_to_cover(session: AsyncSession, limit: int) -> list[str]:
    """Grants that may cover charges which were operator loss when they arrived."""
    return await rights.grants_to_cover(session, limit)


async def cover_late(session: AsyncSession, grant_id: str) -> int:
    """Bills the charges that a grant covers by now, oldest first; returns their number.

    A grant's rise and the use of it travel by different topics, so use may arrive first. Its loss is taken back,
    and it is charged as it would have been.
    """
    grant = (await rights.lock_grants(session, [grant_id])).get(grant_id)
    if grant is None:
        return 0
    covered = []
    for charge in await charge_rows.uncovered(session, grant, COVER_LIMIT):
        billed, grant = cover(charge, grant)
        if billed.disposition is Disposition.BILLED:
            covered.append((charge, billed))
    await charge_rows.save_covered(session, [billed for _, billed in covered])
    await rights.save_charged(session, [grant])
    losses = [made for loss, _ in covered if (made := charge_transaction(loss)) is not None]
    await _post(session, [billed for _, billed in covered], [reversal(loss) for loss in losses])
    return len(covered)
