"""The equations of a mandate's windows and of its deposit, under everything that happens to both in any order."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from licet_licensing.domain import leases
from licet_licensing.domain.facts import DepositTotals
from licet_licensing.domain.grants import (
    Grant,
    follow_deposit,
    follow_draws,
    follow_mandate,
    open_deposit_grant,
)
from licet_licensing.domain.leases import Lease, LeaseState, Outcome, Record
from licet_licensing.domain.mandates import Mandate, open_window

from .builders import ALICE, ASSET_ID, CURRENCY, NOW, OPERATOR, PLAN

TOTAL, WINDOW, CAP, LOCKED = 90, 40, 30, 120
MANDATE = Mandate(
    key="1:0xe5:0x4d",
    chain_id=1,
    contract="0xe5",
    mandate_id="0x4d",
    deposit_id="0xde",
    payer=ALICE,
    operator=OPERATOR,
    currency=CURRENCY,
    window_amount=WINDOW,
    total_amount=TOTAL,
    window_s=100,
    window_records=1_000,
    in_flight_cap=CAP,
    grace_s=60,
    valid_from=0,
    valid_until=2**40,
    asset_ids=(),
    is_final=True,
    stands=True,
)
DEPOSIT = MANDATE.deposit_grant_id


class MandateMachine(RuleBasedStateMachine):
    """A deposit that is lent from directly and by the windows of a mandate, while money comes and goes."""

    def __init__(self) -> None:
        super().__init__()
        deposit = open_deposit_grant(
            grant_id=DEPOSIT,
            chain_id=1,
            contract="0xe5",
            deposit_id="0xde",
            payer=ALICE,
            operator=OPERATOR,
            token=CURRENCY,
        )
        self.grants: dict[str, Grant] = {DEPOSIT: deposit}
        self.leases: dict[str, Lease] = {}
        self.spent: dict[str, int] = {}
        self.sequences: dict[str, int] = {}
        self.window = 0
        self._told(LOCKED)

    def _told(self, total: int) -> None:
        change = follow_deposit(self.grants[DEPOSIT], DepositTotals(total, total), 0)
        if change is not None:
            self.grants[DEPOSIT] = change.grant

    def _running(self) -> Grant:
        name = MANDATE.grant_id(self.window)
        if name not in self.grants:
            others = [grant for grant in self.grants.values() if grant.draws_on]
            self.grants[name] = open_window(MANDATE, self.window, others)
        return self.grants[name]

    @rule(wanted=st.integers(1, 40), by_mandate=st.booleans())
    def lend(self, wanted: int, by_mandate: bool) -> None:
        grant, deposit = (self._running() if by_mandate else self.grants[DEPOSIT]), self.grants[DEPOSIT]
        amount = min(wanted, grant.balance.free, deposit.balance.free)
        if not amount or not grant.is_standing:
            return
        self.grants[DEPOSIT] = deposit.with_balance(deposit.balance.lend(amount))
        if by_mandate:
            self.grants[grant.grant_id] = grant.with_balance(grant.balance.lend(amount))
        name = f"l{len(self.leases)}"
        self.spent[name] = self.sequences[name] = 0
        self.leases[name] = Lease(
            lease_id=name,
            grant_id=grant.grant_id,
            generation=1,
            account_id="acc",
            account_lease=1,
            worker_id="w",
            asset_id=ASSET_ID,
            plan_key=PLAN.plan_key,
            units=amount,
            unit_price=1,
            reserved=amount,
            remaining=amount,
            expires_at=NOW,
        )

    @rule(
        calls=st.lists(
            st.tuples(st.integers(0, 9), st.integers(0, 12), st.booleans()), min_size=1, max_size=4
        )
    )
    def count(self, calls: list[tuple[int, int, bool]]) -> None:
        """A batch of records, of leases of the deposit and of its windows alike."""
        before, grants = dict(self.grants), dict(self.grants)
        for number, units, last in calls:
            lease = self.leases.get(f"l{number}")
            if lease is None:
                continue
            self.sequences[lease.lease_id] += 1
            record = Record(
                lease.lease_id,
                self.sequences[lease.lease_id],
                last,
                lease.grant_id,
                "acc",
                PLAN.plan_id,
                ASSET_ID,
                units,
            )
            outcome = leases.apply_record(lease, grants[lease.grant_id].balance, record)
            self.spent[lease.lease_id] += units - outcome.loss
            self._take(grants, outcome)
        self.grants = follow_draws(before, grants)

    @rule(numbers=st.sets(st.integers(0, 9), min_size=1), fence=st.booleans())
    def sweep(self, numbers: set[int], fence: bool) -> None:
        """Leases ran out: what they have left is held back, or given up."""
        before, grants = dict(self.grants), dict(self.grants)
        for name in (f"l{number}" for number in sorted(numbers)):
            lease = self.leases.get(name)
            if lease is None or lease.state not in (LeaseState.ACTIVE, LeaseState.SUSPENDED):
                continue
            balance = grants[lease.grant_id].balance
            if lease.state is LeaseState.ACTIVE:
                self._take(grants, leases.suspend(lease, balance))
            elif fence:
                self._take(grants, leases.apply_fence(leases.announce_fence(lease), balance))
        self.grants = follow_draws(before, grants)

    def _take(self, grants: dict[str, Grant], outcome: Outcome) -> None:
        self.leases[outcome.lease.lease_id] = outcome.lease
        grant = grants[outcome.lease.grant_id]
        grants[grant.grant_id] = grant.with_balance(outcome.balance)

    @rule(total=st.integers(0, 2 * LOCKED))
    def money_comes_and_goes(self, total: int) -> None:
        self._told(total)

    @rule()
    def next_window(self) -> None:
        self.window += 1

    @rule(stands=st.booleans())
    def revoke(self, stands: bool) -> None:
        for name, grant in self.grants.items():
            change = follow_mandate(grant, stands=stands) if grant.draws_on else None
            if change is not None:
                self.grants[name] = change.grant

    @invariant()
    def both_equations_hold(self) -> None:
        for grant in self.grants.values():
            balance = grant.balance
            parts = (balance.free, balance.leased, balance.suspended, balance.spent, balance.lapsed)
            assert balance.granted == sum(parts)
            assert min(parts) >= 0

    @invariant()
    def the_deposit_has_done_what_all_of_its_leases_did(self) -> None:
        for name, grant in self.grants.items():
            mine = [of for of in self.leases.values() if name in (of.grant_id, DEPOSIT)]
            held = [of.remaining for of in mine if of.is_open]
            balance = grant.balance
            assert balance.leased + balance.suspended == sum(held)
            assert balance.spent == sum(self.spent[of.lease_id] for of in mine)

    @invariant()
    def no_window_and_no_mandate_is_beyond_what_was_signed(self) -> None:
        windows = [grant.balance.committed for grant in self.grants.values() if grant.draws_on]
        assert sum(windows) <= TOTAL
        assert max(windows, default=0) <= min(WINDOW, CAP)


MandateMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestMandateMachine = MandateMachine.TestCase
