"""Counting use: records of the usage log turn lent units into spent ones, and fences give up what never came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from licet_licensing.db import leases, rights
from licet_licensing.db.leases import LentLease, Loss
from licet_licensing.domain.grants import Debt, Grant, follow_draws
from licet_licensing.domain.leases import (
    Lease,
    LossReason,
    Outcome,
    Record,
    apply_fence,
    apply_record,
    check_record,
)


@dataclass(frozen=True, slots=True)
class Fence:
    """Licensing's own word, read back from the usage log: this lease is given up from here on."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the usage log, seen for the first time."""

    event_id: str
    said: Record | Fence


@dataclass(slots=True)
class _Count:
    lent: dict[str, LentLease]
    grants: dict[str, Grant]
    leases: dict[str, Lease] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    debts: list[Debt] = field(default_factory=list)

    def take(self, outcome: Outcome) -> None:
        """Keep what an event made of a lease and its grant."""
        lease = outcome.lease
        self.leases[lease.lease_id] = lease
        grant = self.grants[lease.grant_id]
        if outcome.balance != grant.balance:
            self.grants[lease.grant_id] = grant.with_balance(outcome.balance)


async def count_usage(session: AsyncSession, entries: Sequence[Entry], now: datetime) -> None:
    """Apply entries of the usage log in their order. Each must be new: the inbox sees to that.

    Raises `RecordContradictsLease` for a record that names another right than its lease: the batch is undone, and the
    record's key is quarantined. Records of leases that nobody lent are a loss.
    """
    names = {entry.said.lease_id for entry in entries}
    found = await leases.read_leases(session, names)
    before = await rights.lock_grants(session, {lent.lease.grant_id for lent in found.values()})
    lent = await leases.lock_leases(session, found.keys()) if found else {}
    count = _Count(lent, dict(before), {lease_id: each.lease for lease_id, each in lent.items()})
    for entry in entries:
        _apply(count, entry)
    after = follow_draws(before, count.grants)
    await rights.save_grants(session, [after[name] for name in after if after[name] != before[name]])
    await leases.save_leases(
        session, [count.leases[name] for name in lent if count.leases[name] != lent[name].lease]
    )
    await leases.add_losses(session, count.losses, now)
    await rights.add_debts(session, count.debts, now)


def _apply(count: _Count, entry: Entry) -> None:
    said = entry.said
    lease = count.leases.get(said.lease_id)
    if isinstance(said, Fence):
        if lease is not None:
            count.take(apply_fence(lease, count.grants[lease.grant_id].balance))
        return
    if lease is None:
        if said.units:
            loss = Loss(
                entry.event_id,
                said.lease_id,
                said.grant_id,
                said.account_id,
                said.units,
                LossReason.UNKNOWN_LEASE,
            )
            count.losses.append(loss)
        return
    check_record(lease, said)
    outcome = apply_record(lease, count.grants[lease.grant_id].balance, said)
    count.take(outcome)
    if outcome.reason is not None:
        _lose(count, entry.event_id, outcome)


def _lose(count: _Count, event_id: str, outcome: Outcome) -> None:
    lease = outcome.lease
    reason = outcome.reason or LossReason.ABOVE_LEASE
    count.losses.append(
        Loss(event_id, lease.lease_id, lease.grant_id, lease.account_id, outcome.loss, reason)
    )
    if reason is LossReason.RIGHT_RETRACTED:
        lent = count.lent[lease.lease_id]
        count.debts.append(Debt(lent.payer, lent.wallet, lease.plan_key, lease.grant_id, outcome.loss))
