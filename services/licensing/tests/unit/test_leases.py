"""Lease accounting, and a machine that interleaves everything that can happen to a grant."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from licet_licensing.domain import leases
from licet_licensing.domain.balance import Balance
from licet_licensing.domain.decisions import lease_size
from licet_licensing.domain.errors import RecordContradictsLease
from licet_licensing.domain.grants import (
    GrantState,
    LicenseWindow,
    expire,
    follow_license,
    open_license_grant,
)
from licet_licensing.domain.leases import Lease, LeaseState, LossReason, Record
from licet_licensing.domain.scene import Ask

from .builders import ALICE, BOB, END, NOW, PLAN, said

DEFAULT = Record("l", 1, False, "g", "acc", "7", PLAN.asset_id, 1)


def lease(units: int = 10, *, unit_price: int = 0, lease_id: str = "l") -> Lease:
    held = units * unit_price if unit_price else units
    return Lease(
        lease_id=lease_id,
        grant_id="g",
        generation=1,
        account_id="acc",
        account_lease=1,
        worker_id="w",
        asset_id=PLAN.asset_id,
        plan_key=PLAN.plan_key,
        units=units,
        unit_price=unit_price,
        reserved=held,
        remaining=held,
        expires_at=NOW + 10,
    )


def record(sequence: int, units: int = 1, *, last: bool = False) -> Record:
    return replace(DEFAULT, sequence=sequence, units=units, last=last)


def test_a_complete_lease_returns_its_remainder() -> None:
    first = leases.apply_record(lease(), Balance(target=100, leased=10), record(1, 3))
    assert first.balance == Balance(target=100, leased=7, spent=3)
    closed = leases.apply_record(first.lease, first.balance, record(2, 2, last=True))
    assert closed.lease.state is LeaseState.CLOSED
    assert closed.balance == Balance(target=100, spent=5)


def test_the_closing_record_waits_for_the_ones_before_it() -> None:
    early = leases.apply_record(lease(), Balance(target=100, leased=10), record(2, 2, last=True))
    assert early.lease.state is LeaseState.ACTIVE
    assert early.balance.leased == 8
    late = leases.apply_record(early.lease, early.balance, record(1, 3))
    assert late.lease.state is LeaseState.CLOSED
    assert late.balance == Balance(target=100, spent=5)


def test_a_suspended_lease_is_settled_by_its_recovered_log() -> None:
    held = leases.suspend(lease(), Balance(target=100, leased=10))
    assert held.balance == Balance(target=100, suspended=10)
    first = leases.apply_record(held.lease, held.balance, record(1, 4))
    assert first.balance == Balance(target=100, suspended=6, spent=4)
    closed = leases.apply_record(first.lease, first.balance, record(2, 0, last=True))
    assert closed.balance == Balance(target=100, spent=4)


def test_records_behind_the_fence_are_a_loss() -> None:
    held = leases.suspend(lease(), Balance(target=100, leased=10))
    fencing = leases.announce_fence(held.lease)
    counted = leases.apply_record(fencing, held.balance, record(1, 4))
    assert (counted.loss, counted.balance.spent) == (0, 4)
    fenced = leases.apply_fence(counted.lease, counted.balance)
    assert fenced.balance == Balance(target=100, spent=4)
    behind = leases.apply_record(fenced.lease, fenced.balance, record(2, 3))
    assert (behind.loss, behind.reason, behind.balance) == (3, LossReason.AFTER_FENCE, fenced.balance)


def test_a_fence_behind_the_closing_record_changes_nothing() -> None:
    closed = leases.apply_record(lease(), Balance(target=100, leased=10), record(1, 4, last=True))
    assert leases.apply_fence(closed.lease, closed.balance).balance == closed.balance


def test_use_above_the_lease_is_a_loss_and_never_billed() -> None:
    over = leases.apply_record(lease(), Balance(target=100, leased=10), record(1, 12))
    assert (over.balance.spent, over.loss, over.reason) == (10, 2, LossReason.ABOVE_LEASE)


def test_a_deposit_lease_counts_money() -> None:
    paid = leases.apply_record(
        lease(10, unit_price=7), Balance(target=1_000, leased=70), record(1, 3, last=True)
    )
    assert paid.balance == Balance(target=1_000, spent=21)


def test_a_record_behind_the_last_one_is_a_loss() -> None:
    closing = leases.apply_record(lease(), Balance(target=100, leased=10), record(2, 1, last=True))
    bogus = leases.apply_record(closing.lease, closing.balance, record(3, 5))
    assert (bogus.loss, bogus.reason, bogus.balance) == (5, LossReason.AFTER_CLOSE, closing.balance)


@pytest.mark.parametrize(
    "change", [{"grant_id": "x"}, {"account_id": "x"}, {"asset_id": "x"}, {"plan_id": "8"}]
)
def test_a_record_of_another_right_contradicts_the_lease(change: dict[str, str]) -> None:
    leases.check_record(lease(), DEFAULT)
    with pytest.raises(RecordContradictsLease):
        leases.check_record(lease(), replace(DEFAULT, **change))  # type: ignore[arg-type]


class GrantMachine(RuleBasedStateMachine):
    """One license grant, many leases, and everything in any order: the equation holds and nothing is billed twice."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.final_block = 9
        self.holder = ALICE
        self.moved = False
        self.on_chain = True
        self.grant = open_license_grant(self._said(), "g", "c", "1", self.now)
        self.leases: dict[str, Lease] = {}
        self.pending: list[Record] = []
        self.seen: set[tuple[str, int]] = set()
        self.sequences: dict[str, int] = {}
        self.revoked_below = 1
        self.served = self.lost = self.debts = 0

    def _said(self) -> LicenseWindow:
        return said(holder=self.holder, moved=self.moved, final_block=self.final_block)

    def _follow(self) -> None:
        change = follow_license(self.grant, self._said() if self.on_chain else None, self.now)
        if change is None:
            return
        self.grant = change.grant
        if change.revoked is not None:
            assert change.grant.generation > self.revoked_below
            self.revoked_below = change.grant.generation
        if change.orphaned:
            self.leases = {k: leases.orphan(v) if v.is_open else v for k, v in self.leases.items()}
        if change.debt is not None:
            self.debts += change.debt.units

    def _open(self) -> list[Lease]:
        return [held for held in self.leases.values() if held.is_open]

    @rule(wanted=st.integers(1, 30), workers=st.integers(1, 4))
    def lend(self, wanted: int, workers: int) -> None:
        if not self.grant.is_running(self.now):
            return
        units = lease_size(Ask(wanted, 1), self.grant.balance.free, workers)
        if units:
            name = f"l{len(self.leases)}"
            self.leases[name] = replace(
                lease(units, lease_id=name),
                generation=self.grant.generation,
                expires_at=min(self.now + 10, END),
            )
            self.grant = self.grant.with_balance(self.grant.balance.lend(units))

    @rule(data=st.data(), units=st.integers(0, 12), last=st.booleans())
    def call(self, data: st.DataObject, units: int, last: bool) -> None:
        """A worker serves a call: within its lease, or (a faulty one) above it."""
        alive = [name for name, held in self.leases.items() if self.sequences.get(name, 0) >= 0 and held]
        if not alive:
            return
        name = data.draw(st.sampled_from(sorted(alive)))
        sequence = self.sequences.get(name, 0) + 1
        self.sequences[name] = -1 if last else sequence
        self.pending.append(replace(DEFAULT, lease_id=name, sequence=sequence, units=units, last=last))
        self.served += units

    @rule(data=st.data(), repeat=st.booleans())
    def deliver(self, data: st.DataObject, repeat: bool) -> None:
        """Any pending record arrives, not the oldest first, and perhaps twice."""
        if not self.pending:
            return
        index = data.draw(st.integers(0, len(self.pending) - 1))
        arrived = self.pending[index] if repeat else self.pending.pop(index)
        if (arrived.lease_id, arrived.sequence) in self.seen:
            return  # the inbox
        self.seen.add((arrived.lease_id, arrived.sequence))
        after = leases.apply_record(self.leases[arrived.lease_id], self.grant.balance, arrived)
        self.leases[arrived.lease_id] = after.lease
        self.grant = self.grant.with_balance(after.balance)
        self.lost += after.loss

    @rule(seconds=st.integers(1, 400))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        if self.now >= END and self.grant.state in (GrantState.LIVE, GrantState.PROVISIONAL):
            self.grant = expire(self.grant)

    @rule()
    def suspend_due(self) -> None:
        for held in self._open():
            if held.state is LeaseState.ACTIVE and self.now > held.expires_at + 5:
                after = leases.suspend(held, self.grant.balance)
                self.leases[held.lease_id], self.grant = after.lease, self.grant.with_balance(after.balance)

    @rule(data=st.data())
    def fence(self, data: st.DataObject) -> None:
        suspended = [held for held in self._open() if held.is_suspended]
        if suspended:
            held = data.draw(st.sampled_from(suspended))
            after = leases.apply_fence(leases.announce_fence(held), self.grant.balance)
            self.leases[held.lease_id], self.grant = after.lease, self.grant.with_balance(after.balance)

    @rule()
    def finalise(self) -> None:
        if self.on_chain:
            self.final_block = 10
            self._follow()

    @rule()
    def transfer(self) -> None:
        self.holder, self.moved = (BOB if self.holder == ALICE else ALICE), True
        self._follow()

    @rule()
    def reorganise(self) -> None:
        if self.final_block < 10:
            self.on_chain = not self.on_chain
            self._follow()

    @invariant()
    def the_equation_holds(self) -> None:
        balance = self.grant.balance
        parts = (balance.free, balance.leased, balance.suspended, balance.spent, balance.lapsed)
        assert balance.granted == sum(parts)
        assert min(parts) >= 0

    @invariant()
    def the_grant_holds_exactly_what_its_leases_hold(self) -> None:
        active = sum(held.remaining for held in self._open() if held.state is LeaseState.ACTIVE)
        suspended = sum(held.remaining for held in self._open() if held.is_suspended)
        assert (self.grant.balance.leased, self.grant.balance.suspended) == (active, suspended)

    @invariant()
    def billed_never_exceeds_granted(self) -> None:
        assert self.grant.balance.spent <= self.grant.balance.granted
        assert self.grant.balance.shortage == 0
        limit = PLAN.included_units if self.final_block >= 10 else PLAN.optimistic_units
        assert self.grant.balance.spent <= limit

    @invariant()
    def every_unit_that_arrived_is_billed_owed_or_lost(self) -> None:
        waiting = sum(r.units for r in self.pending if (r.lease_id, r.sequence) not in self.seen)
        assert self.grant.balance.spent + self.debts + self.lost + waiting == self.served


GrantMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=60)
TestGrantMachine = GrantMachine.TestCase
