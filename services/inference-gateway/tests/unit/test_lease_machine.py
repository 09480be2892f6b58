"""The lease book under any order of calls, answers, time and revocations."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from licet_gateway.dataplane.clock import SECOND
from licet_gateway.dataplane.lease import Lease
from licet_gateway.domain import Limits
from licet_gateway.testing.lease_desk import EXHAUSTED, TERMS, Caller, Desk, end, wait


class LeaseMachine(RuleBasedStateMachine):
    """Calls, answers, time and revocations in any order: units add up, and sequences have no gap."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.book = self.desk.book()
        self.waiting: list[tuple[Caller, int]] = []
        self.held: list[tuple[Caller, int, int | None]] = []
        self.leases: dict[str, Lease] = {}
        self.answered = 0
        self.generation = 0

    @rule(units=st.integers(1, 5), begins=st.booleans())
    def call(self, units: int, begins: bool) -> None:
        self.waiting.append((wait(self.book, units), units))
        self.collect(begins=begins)

    @precondition(lambda self: self.answered < len(self.desk.asks))
    @rule(units=st.integers(1, 12), most=st.integers(0, 3), begins=st.booleans())
    def grant(self, units: int, most: int, begins: bool) -> None:
        ask = self.desk.asks[self.answered]
        self.answered += 1
        if ask.renewed is not None:
            terms = replace(ask.renewed.terms, units=ask.renewed.lent + units)
        else:
            terms = replace(
                TERMS,
                lease_id=f"{self.answered:032x}",
                generation=self.generation,
                units=units,
                limits=Limits(max_calls=most),
            )
        self.book.granted(ask, terms)
        self.collect(begins=begins)

    @precondition(lambda self: self.answered < len(self.desk.asks))
    @rule()
    def deny(self) -> None:
        self.answered += 1
        self.book.denied(self.desk.asks[self.answered - 1], EXHAUSTED)
        self.collect(begins=True)

    @rule(seconds=st.integers(1, 12))
    def time_passes(self, seconds: int) -> None:
        self.desk.now += seconds * SECOND
        self.book.sweep()
        self.collect(begins=True)

    @rule()
    def revoke(self) -> None:
        self.generation += 1
        self.book.revoke(TERMS.grant_id, self.generation, "license_revoked")
        self.collect(begins=True)

    @precondition(lambda self: self.held)
    @rule(place=st.integers(0, 100), paid=st.booleans())
    def call_ends(self, place: int, paid: bool) -> None:
        caller, units, sequence = self.held.pop(place % len(self.held))
        assert caller.lease is not None
        if sequence is None:
            self.book.release(caller.lease, units)
        else:
            end(self.book, caller, sequence, held=units, units=units if paid else 0)

    def collect(self, *, begins: bool) -> None:
        told = [entry for entry in self.waiting if entry[0].lease is not None or entry[0].refusal is not None]
        self.waiting = [entry for entry in self.waiting if entry not in told]
        for caller, units in told:
            if caller.lease is not None:
                self.leases[caller.lease.terms.lease_id] = caller.lease
                self.held.append((caller, units, self.book.begin(caller.lease, 1) if begins else None))

    @invariant()
    def units_add_up(self) -> None:
        for lease in self.leases.values():
            assert lease.lent == lease.available + lease.held + lease.spent
            assert min(lease.available, lease.held, lease.spent, lease.holders) >= 0
            assert not lease.limits.max_calls or lease.calls <= lease.limits.max_calls

    def teardown(self) -> None:
        while self.held:
            self.call_ends(0, True)
        self.book.close()
        for lease_id, lease in self.leases.items():
            records = [record for of, record in self.desk.closed if of == lease_id]
            assert sorted(record.sequence for record in records) == list(range(1, len(records) + 1))
            assert [record.last for record in records] == [False] * (len(records) - 1) + [True]
            assert records[-1].sequence == len(records)
            assert sum(record.units for record in records) == lease.spent
            assert self.desk.returned.count((lease_id, lease.spent, lease.sequence)) == 1


TestLeaseMachine = LeaseMachine.TestCase
