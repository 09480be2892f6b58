"""What the chain says, folded into grants; the equation of a grant."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_licensing.domain.balance import Balance
from licet_licensing.domain.codes import Code
from licet_licensing.domain.errors import EquationBroken
from licet_licensing.domain.facts import DepositTotals, LicenseFact, deposit_totals, fold_license
from licet_licensing.domain.grants import (
    Debt,
    GrantState,
    expire,
    follow_deposit,
    follow_license,
    lift_quarantine,
    open_license_grant,
    quarantine,
    revoke_uncovered,
)

from .builders import (
    ALICE,
    BOB,
    NOW,
    PLAN,
    deposit_grant,
    license_grant,
    purchased,
    renewed,
    said,
    transferred,
)

UNITS = st.integers(0, 10**6)


@given(UNITS, UNITS, UNITS, UNITS, st.booleans())
def test_the_equation_holds_for_every_balance(
    target: int, lent: int, held: int, spent: int, ended: bool
) -> None:
    balance = Balance(target, lent, held, spent, ended)
    parts = (balance.free, balance.leased, balance.suspended, balance.spent, balance.lapsed)
    assert balance.granted == sum(parts)
    assert min(parts) >= 0
    assert balance.granted == max(target, lent + held + spent)


@pytest.mark.parametrize(
    "verb",
    [
        lambda b: b.lend(91),
        lambda b: b.charge(91),
        lambda b: b.spend(11, suspended=False),
        lambda b: b.release(11, suspended=False),
        lambda b: b.release(1, suspended=True),
        lambda b: b.suspend(11),
    ],
)
def test_no_verb_moves_more_than_is_there(verb: object) -> None:
    balance = Balance(target=100, leased=10)
    with pytest.raises(EquationBroken):
        verb(balance)  # type: ignore[operator]


def test_facts_fold_to_the_same_license_in_any_order() -> None:
    there, back = transferred(12, ALICE, BOB), transferred(16, BOB, ALICE)
    facts: tuple[LicenseFact, ...] = (purchased(), there, renewed(1, 14, end=3_000), back)
    expected = fold_license(facts)
    assert expected is not None
    assert expected.holder == ALICE
    assert expected.former_holders == {BOB}
    assert [(w.ordinal, w.end_time) for w in expected.windows] == [(0, 2_000), (1, 3_000)]
    assert all(fold_license(order) == expected for order in permutations(facts))


def test_without_its_purchase_a_token_is_nothing() -> None:
    assert fold_license([transferred(12, ALICE, BOB), renewed(1, 14, end=3_000)]) is None


def test_a_second_purchase_of_a_token_id_starts_anew() -> None:
    folded = fold_license([purchased(10), transferred(12, ALICE, BOB), purchased(20, to=BOB, payer=BOB)])
    assert folded is not None
    assert folded.holder == BOB
    assert not folded.moved
    assert [w.payer for w in folded.windows] == [BOB]


def test_a_purchase_counts_optimistic_units_until_it_is_final() -> None:
    provisional = open_license_grant(said(final_block=9), "g", "c", "1", NOW)
    assert (provisional.state, provisional.balance.free) == (GrantState.PROVISIONAL, 5)
    change = follow_license(provisional, said(final_block=10), NOW)
    assert change is not None
    assert (change.grant.state, change.grant.balance.free) == (GrantState.LIVE, 100)
    assert change.revoked is None
    assert change.grant.generation == 1
    assert follow_license(change.grant, said(final_block=11), NOW) is None


def test_a_trial_grants_its_own_units_and_its_renewal_those_of_the_plan() -> None:
    plan = replace(PLAN, trial_units=3)
    trial = open_license_grant(said(plan=plan, trial=True), "g", "c", "1", NOW)
    assert trial.balance.free == 3
    early = open_license_grant(said(plan=plan, trial=True, final_block=9), "g", "c", "1", NOW)
    assert early.balance.free == 3, "no more before finality than after it, whatever the plan lends"
    folded = fold_license([replace(purchased(), trial=True), renewed(1, 14, end=3_000)])
    assert folded is not None
    assert [window.trial for window in folded.windows] == [True, False]


def test_units_follow_the_token_and_leases_do_not() -> None:
    grant = license_grant(balance=Balance(target=100, leased=10, spent=20))
    change = follow_license(grant, said(holder=BOB, moved=True), NOW)
    assert change is not None
    assert change.revoked is Code.LICENSE_TRANSFERRED
    assert change.grant.wallet == BOB
    assert change.grant.generation == 2
    assert change.grant.balance == grant.balance


def test_a_transfer_that_the_plan_forbids_leaves_nobody_a_right() -> None:
    plan = replace(PLAN, transferable=False)
    change = follow_license(license_grant(), said(holder=BOB, moved=True, plan=plan), NOW)
    assert change is not None
    assert change.grant.state is GrantState.TRANSFERRED
    assert change.revoked is Code.LICENSE_TRANSFERRED
    assert not change.grant.is_running(NOW)
    back = follow_license(change.grant, said(plan=plan), NOW)
    assert back is not None
    assert (back.grant.state, back.revoked) == (GrantState.LIVE, None)


def test_a_retracted_purchase_takes_its_units_and_leaves_a_debt() -> None:
    grant = license_grant(balance=Balance(target=100, leased=10, suspended=5, spent=20))
    change = follow_license(grant, None, NOW)
    assert change is not None
    assert change.revoked is Code.LICENSE_REVOKED
    assert change.orphaned
    assert change.debt == Debt(ALICE, ALICE, PLAN.plan_key, grant.grant_id, 20)
    assert change.grant.state is GrantState.RETRACTED
    assert change.grant.balance.granted == 0
    assert change.grant.generation == 2
    assert follow_license(change.grant, None, NOW) is None


def test_a_purchase_that_returns_opens_the_grant_again() -> None:
    gone = follow_license(license_grant(balance=Balance(target=100, spent=20)), None, NOW)
    assert gone is not None
    change = follow_license(gone.grant, said(final_block=9), NOW)
    assert change is not None
    assert (change.grant.state, change.grant.balance.free, change.revoked) == (
        GrantState.PROVISIONAL,
        5,
        None,
    )
    assert change.grant.generation == 2


def test_another_purchase_on_the_same_token_id_does_not_inherit_its_use() -> None:
    grant = license_grant(balance=Balance(target=100, leased=10, spent=20))
    change = follow_license(grant, said(holder=BOB, payer=BOB, block=11), NOW)
    assert change is not None
    assert (change.revoked, change.orphaned) == (Code.LICENSE_REVOKED, True)
    assert change.debt is not None
    assert change.debt.payer == ALICE
    assert change.grant.wallet == BOB
    assert change.grant.balance == Balance(target=100)
    assert change.grant.generation == 2


def test_an_expired_grant_keeps_what_was_committed_and_lapses_the_rest() -> None:
    grant = expire(license_grant(balance=Balance(target=100, leased=10, spent=20)))
    assert grant.state is GrantState.EXPIRED
    assert (grant.balance.free, grant.balance.lapsed, grant.balance.leased) == (0, 70, 10)
    released = grant.balance.release(10, suspended=False)
    assert (released.lapsed, released.granted) == (80, 100)


def test_an_exit_leaves_at_once_but_never_below_what_is_committed() -> None:
    grant = deposit_grant(balance=Balance(target=1_000, leased=50, spent=150))
    change = follow_deposit(grant, DepositTotals(latest=120, floor=120), 0)
    assert change is not None
    balance = change.grant.balance
    assert (balance.free, balance.granted, balance.shortage) == (0, 200, 80)
    assert change.revoked is None
    drawn = follow_deposit(change.grant, DepositTotals(latest=150, floor=150), 0)
    assert drawn is not None
    assert drawn.grant.balance.shortage == 50


def test_a_deposit_that_left_the_chain_under_its_leases_ends_them() -> None:
    grant = deposit_grant(balance=Balance(target=1_000, leased=50))
    change = follow_deposit(grant, DepositTotals(latest=0, floor=0), 0)
    assert change is not None
    revoked = revoke_uncovered(change)
    assert (revoked.revoked, revoked.grant.generation) == (Code.QUOTA_EXHAUSTED, 2)
    covered = follow_deposit(grant, DepositTotals(latest=50, floor=50), 0)
    assert covered is not None
    assert revoke_uncovered(covered) == covered


def test_a_deposit_that_is_not_final_counts_up_to_the_optimistic_amount() -> None:
    change = follow_deposit(deposit_grant(total=0), DepositTotals(latest=1_000, floor=0), 40)
    assert change is not None
    assert (change.grant.state, change.grant.balance.free) == (GrantState.PROVISIONAL, 40)


@given(st.integers(0, 100), st.lists(st.integers(0, 100), max_size=6))
def test_the_floor_survives_every_reorganisation_that_keeps_a_beginning(final: int, later: list[int]) -> None:
    totals = deposit_totals(final, later)
    kept = [deposit_totals(final, later[:n]).latest for n in range(len(later) + 1)]
    assert totals.floor == min(kept)
    assert totals.latest == kept[-1]


def test_quarantine_denies_and_revokes_until_it_is_lifted() -> None:
    held = quarantine(license_grant())
    assert (held.grant.public_state, held.grant.generation, held.revoked) == (
        "quarantined",
        2,
        Code.MIRROR_STALE,
    )
    lifted = lift_quarantine(held.grant)
    assert (lifted.grant.public_state, lifted.grant.generation) == ("live", 2)
