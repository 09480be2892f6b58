"""A lease: the slice of one grant that one gateway worker may spend, from lending to closing.

    active ──past TTL and grace──▶ suspended ──past the reclaim horizon──▶ fencing ──own fence read──▶ fenced
       └────────── every record up to the last one is read: closed ◀──────────┘

`remaining` units are held in the grant: under `leased` while active, under `suspended` afterwards. The lease of a
right that left the chain is `orphaned`: it holds nothing, and what it used is a loss.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from licet_licensing.domain.balance import Balance
from licet_licensing.domain.errors import RecordContradictsLease

# The units of a lease are told in 64 bits, while amounts on a chain have up to 256.
MAX_UNITS = 2**64 - 1


class LeaseState(StrEnum):
    """Where a lease stands."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    FENCING = "fencing"
    FENCED = "fenced"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease. `unit_price` 0: included units; else a unit costs that much of the deposit.

    `reserved` and `remaining` are counted in the grant's measure, `units` in units of calls. `calls` bounds how many
    there are; 0: as many as the units allow.
    """

    lease_id: str
    grant_id: str
    generation: int
    account_id: str
    account_lease: int
    worker_id: str
    asset_id: str
    plan_key: str
    units: int
    unit_price: int
    reserved: int
    remaining: int
    expires_at: float
    state: LeaseState = LeaseState.ACTIVE
    orphaned: bool = False
    records: int = 0
    last_sequence: int | None = None
    calls: int = 0

    @property
    def is_open(self) -> bool:
        """Whether records may still be charged to it."""
        return self.state in (LeaseState.ACTIVE, LeaseState.SUSPENDED, LeaseState.FENCING)

    @property
    def is_suspended(self) -> bool:
        """Whether its remainder is held under `suspended`."""
        return self.state in (LeaseState.SUSPENDED, LeaseState.FENCING)

    def cost_of(self, units: int) -> int:
        """What `units` cost in the grant's measure."""
        return units * self.unit_price if self.unit_price else units


class LossReason(StrEnum):
    """Why use became the operator's loss."""

    ABOVE_LEASE = "above_lease"
    AFTER_FENCE = "after_fence"
    AFTER_CLOSE = "after_close"
    UNKNOWN_LEASE = "unknown_lease"
    RIGHT_RETRACTED = "right_retracted"


@dataclass(frozen=True, slots=True)
class Record:
    """What licensing reads of a usage record."""

    lease_id: str
    sequence: int
    last: bool
    grant_id: str
    account_id: str
    plan_id: str
    asset_id: str
    units: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """Lease and balance after an event. `loss` is use that nobody pays, in the grant's measure."""

    lease: Lease
    balance: Balance
    loss: int = 0
    reason: LossReason | None = None


def check_record(lease: Lease, record: Record) -> None:
    """Raises `RecordContradictsLease` when the record does not speak of this lease's right."""
    said = (
        ("grant", record.grant_id, lease.grant_id),
        ("account", record.account_id, lease.account_id),
        ("asset", record.asset_id, lease.asset_id),
        ("plan", record.plan_id, lease.plan_key.rpartition(":")[2]),
    )
    for field, recorded, leased in said:
        if recorded != leased:
            raise RecordContradictsLease(lease.lease_id, field, recorded, leased)


def apply_record(lease: Lease, balance: Balance, record: Record) -> Outcome:
    """Charges one record, which must be seen once only, in whatever order the lease's records come.

    Lent units become spent. Units above what the lease holds, and any behind its end, are a loss. The record that
    completes the sequence closes the lease and returns its remainder.
    """
    cost = lease.cost_of(record.units)
    if not lease.is_open:
        reason = LossReason.AFTER_CLOSE if lease.state is LeaseState.CLOSED else LossReason.AFTER_FENCE
        return Outcome(lease, balance, cost, reason if cost else None)
    if lease.last_sequence is not None and record.sequence > lease.last_sequence:
        return Outcome(lease, balance, cost, LossReason.AFTER_CLOSE if cost else None)
    paid = min(cost, lease.remaining)
    balance = balance.spend(paid, suspended=lease.is_suspended)
    lease = replace(
        lease,
        remaining=lease.remaining - paid,
        records=lease.records + 1,
        last_sequence=record.sequence if record.last else lease.last_sequence,
    )
    lease, balance = _close_if_complete(lease, balance)
    loss = cost - paid
    reason = LossReason.RIGHT_RETRACTED if lease.orphaned else LossReason.ABOVE_LEASE
    return Outcome(lease, balance, loss, reason if loss else None)


def _close_if_complete(lease: Lease, balance: Balance) -> tuple[Lease, Balance]:
    if lease.records != lease.last_sequence:
        return lease, balance
    balance = balance.release(lease.remaining, suspended=lease.is_suspended)
    return replace(lease, state=LeaseState.CLOSED, remaining=0), balance


def suspend(lease: Lease, balance: Balance) -> Outcome:
    """Past its time limit and the grace for late records: the remainder is held back."""
    balance = balance.suspend(lease.remaining)
    return Outcome(replace(lease, state=LeaseState.SUSPENDED), balance)


def announce_fence(lease: Lease) -> Lease:
    """The fence is on its way through the usage log; until it is read there, records still count."""
    return replace(lease, state=LeaseState.FENCING)


def apply_fence(lease: Lease, balance: Balance) -> Outcome:
    """The fence was read at its place in the log: the remainder comes back, later records are a loss."""
    if not lease.is_open:
        return Outcome(lease, balance)
    balance = balance.release(lease.remaining, suspended=lease.is_suspended)
    return Outcome(replace(lease, state=LeaseState.FENCED, remaining=0), balance)


def orphan(lease: Lease) -> Lease:
    """The right left the chain and took the lent units with it."""
    return replace(lease, orphaned=True, remaining=0)
