"""The one decision: order of rights, refusals, lease sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_licensing.domain.balance import Balance
from licet_licensing.domain.codes import Code
from licet_licensing.domain.decisions import Approval, Decision, Refusal, decide, lease_size
from licet_licensing.domain.grants import Grant, GrantState
from licet_licensing.domain.scene import Ask, Mirror, Policy, Scene

from .builders import ALICE, ASSET, BOB, NOW, OPERATOR, PLAN, deposit_grant, license_grant

POLICY = Policy(operator=OPERATOR, ttl_s=10, retry_after_ms=500, mirror_silence_s=60)
MIRROR = Mirror(chain_id=1, block_number=100, block_hash="0xhh", final_block=98, heard_at=NOW - 1)
PRICED = replace(PLAN, unit_price=7)


def scene(**changes: Any) -> Scene:
    plans, mine = {PLAN.plan_key: PLAN}, frozenset({ALICE})
    base = Scene(now=NOW, account_id="acc", asset=ASSET, mirror=MIRROR, plans=plans, wallets=mine)
    return replace(base, **changes)


def ask(wanted: int = 10, minimum: int = 1, min_block: int = 0) -> Ask:
    return Ask(wanted, minimum, min_block)


def approved(decision: Decision) -> Approval:
    assert isinstance(decision, Approval), decision
    return decision


def refused(decision: Decision) -> Refusal:
    assert isinstance(decision, Refusal), decision
    return decision


def test_a_running_license_with_free_units_is_lent() -> None:
    lease = approved(decide(ask(), scene(licenses=(license_grant(),)), POLICY))
    assert (lease.units, lease.cost, lease.max_amount, lease.ttl_ms) == (10, 10, 0, 10_000)
    assert lease.requires is None


def test_the_license_that_ends_first_is_used_first() -> None:
    late = license_grant(grant_id="a", end_time=9_000)
    soon = license_grant(grant_id="b", end_time=1_500)
    assert approved(decide(ask(), scene(licenses=(late, soon)), POLICY)).grant == soon
    empty = replace(soon, balance=Balance(target=5, spent=5))
    assert approved(decide(ask(), scene(licenses=(late, empty)), POLICY)).grant == late


def test_no_lease_outlives_its_right() -> None:
    grant = license_grant(end_time=int(NOW) + 3)
    assert approved(decide(ask(), scene(licenses=(grant,)), POLICY)).ttl_ms == 3_000


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"account_id": None}, Code.CREDENTIAL_INVALID),
        ({"asset": None}, Code.MODEL_UNKNOWN),
        ({"asset": replace(ASSET, version_digest=None)}, Code.MODEL_NOT_READY),
        ({"mirror": None}, Code.MIRROR_STALE),
        ({"mirror": replace(MIRROR, heard_at=NOW - 61)}, Code.MIRROR_STALE),
        ({}, Code.LICENSE_MISSING),
        ({"licenses": (license_grant(end_time=int(NOW)),)}, Code.LICENSE_EXPIRED),
        ({"licenses": (license_grant(state=GrantState.RETRACTED),)}, Code.LICENSE_REVOKED),
        ({"licenses": (license_grant(state=GrantState.TRANSFERRED),)}, Code.LICENSE_TRANSFERRED),
        ({"licenses": (license_grant(quarantined=True),)}, Code.MIRROR_STALE),
        ({"licenses": (license_grant(free=0),)}, Code.QUOTA_EXHAUSTED),
        ({"licenses": (license_grant(),), "plans": {}}, Code.LICENSE_MISSING),
        (
            {"licenses": (license_grant(),), "plans": {PLAN.plan_key: replace(PLAN, server=BOB)}},
            Code.LICENSE_MISSING,
        ),
        ({"history": frozenset({Code.LICENSE_TRANSFERRED})}, Code.LICENSE_TRANSFERRED),
        ({"history": frozenset({Code.LICENSE_EXPIRED, Code.LICENSE_TRANSFERRED})}, Code.LICENSE_EXPIRED),
        ({"deposits": (deposit_grant(),)}, Code.LICENSE_MISSING),
    ],
)
def test_each_refusal_has_its_code(changes: dict[str, Any], code: Code) -> None:
    refusal = refused(decide(ask(), scene(**changes), POLICY))
    assert refusal.code is code
    assert refusal.message
    assert refusal.remedy
    assert refusal.steps[-1].code is code or refusal.steps[0].code is code


def test_a_block_that_is_not_known_yet_is_waited_for() -> None:
    rights = scene(licenses=(license_grant(),))
    assert refused(decide(ask(min_block=99), rights, POLICY)).code is Code.MIRROR_STALE
    approved(decide(ask(min_block=98), rights, POLICY))
    seen = replace(rights, asset=replace(ASSET, last_block=99))
    approved(decide(ask(min_block=99), seen, POLICY))


def test_a_deposit_pays_beyond_the_included_units_and_needs_the_license() -> None:
    used_up = license_grant(balance=Balance(target=100, spent=100))
    rights = scene(licenses=(used_up,), deposits=(deposit_grant(),), plans={PRICED.plan_key: PRICED})
    lease = approved(decide(ask(wanted=10), rights, POLICY))
    assert (lease.units, lease.cost, lease.max_amount) == (10, 70, 70)
    assert lease.requires == used_up
    assert [(step.subject, step.code) for step in lease.steps] == [
        (used_up.grant_id, Code.QUOTA_EXHAUSTED),
        (deposit_grant().grant_id, Code.OK),
    ]
    expired = replace(used_up, end_time=int(NOW))
    assert refused(decide(ask(), replace(rights, licenses=(expired,)), POLICY)).code is Code.LICENSE_EXPIRED


def test_a_deposit_is_charged_at_the_license_that_ends_first_and_that_it_covers() -> None:
    dear = replace(PRICED, plan_key="1:0xb00c:8", unit_price=100)
    soon = license_grant(grant_id="b", free=0, end_time=int(NOW) + 3)
    late = license_grant(grant_id="a", free=0, end_time=9_000, plan_key=dear.plan_key)
    plans = {PRICED.plan_key: PRICED, dear.plan_key: dear}
    rights = scene(licenses=(late, soon), deposits=(deposit_grant(),), plans=plans)
    lease = approved(decide(ask(), rights, POLICY))
    assert (lease.requires, lease.unit_price, lease.cost, lease.ttl_ms) == (soon, 7, 70, 3_000)
    swapped = (replace(late, plan_key=PRICED.plan_key), replace(soon, plan_key=dear.plan_key))
    lease = approved(decide(ask(), replace(rights, licenses=swapped), POLICY))
    assert (lease.requires, lease.units, lease.unit_price) == (swapped[1], 10, 100)
    small = replace(rights, licenses=swapped, deposits=(deposit_grant(total=50),))
    lease = approved(decide(ask(), small, POLICY))
    assert (lease.requires, lease.units, lease.unit_price, lease.ttl_ms) == (swapped[0], 7, 7, 10_000)


@pytest.mark.parametrize(
    "other", [{"operator": BOB}, {"currency": BOB}, {"chain_id": 2}, {"quarantined": True}]
)
def test_a_deposit_of_another_operator_currency_or_chain_pays_nothing(other: dict[str, Any]) -> None:
    used_up = license_grant(free=0)
    rights = scene(licenses=(used_up,), deposits=(deposit_grant(**other),), plans={PRICED.plan_key: PRICED})
    assert refused(decide(ask(), rights, POLICY)).code is Code.QUOTA_EXHAUSTED


def test_a_deposit_that_covers_less_than_the_call_is_refused() -> None:
    used_up, deposit = license_grant(free=0), deposit_grant(total=20)
    rights = scene(licenses=(used_up,), deposits=(deposit,), plans={PLAN.plan_key: PRICED})
    assert approved(decide(ask(minimum=2), rights, POLICY)).units == 2
    assert refused(decide(ask(minimum=3), rights, POLICY)).code is Code.QUOTA_EXHAUSTED


def test_money_that_is_not_final_is_lent_up_to_each_plans_own_limit() -> None:
    deposit = deposit_grant(total=1_000, floor=100, state=GrantState.PROVISIONAL)
    plan = replace(PRICED, optimistic_amount=40)
    rights = scene(licenses=(license_grant(free=0),), deposits=(deposit,), plans={plan.plan_key: plan})
    assert approved(decide(ask(wanted=1_000), rights, POLICY)).units == 140 // 7
    indebted = replace(rights, indebted=frozenset({ALICE}))
    assert approved(decide(ask(wanted=1_000), indebted, POLICY)).units == 100 // 7


def test_an_indebted_payer_waits_for_finality() -> None:
    provisional = license_grant(free=5, state=GrantState.PROVISIONAL)
    rights = scene(licenses=(provisional,), indebted=frozenset({ALICE}))
    refusal = refused(decide(ask(), rights, POLICY))
    assert (refusal.code, refusal.retry_after_ms) == (Code.QUOTA_EXHAUSTED, 500)
    approved(decide(ask(), replace(rights, licenses=(license_grant(),)), POLICY))


def test_units_that_other_leases_hold_are_worth_waiting_for() -> None:
    held = license_grant(balance=Balance(target=10, leased=10))
    assert refused(decide(ask(), scene(licenses=(held,)), POLICY)).retry_after_ms == 500
    used = license_grant(balance=Balance(target=10, spent=10))
    assert refused(decide(ask(), scene(licenses=(used,)), POLICY)).retry_after_ms == 0


def test_rate_is_shared_among_workers() -> None:
    rights = scene(licenses=(license_grant(),))
    assert approved(decide(ask(), replace(rights, workers=4), POLICY)).requests_per_s == 2
    assert approved(decide(ask(), replace(rights, workers=40), POLICY)).requests_per_s == 1


@given(st.integers(0, 1000), st.integers(0, 50), st.integers(0, 1000), st.integers(0, 8))
def test_a_lease_holds_the_waiting_call_and_no_more_than_is_free(
    wanted: int, minimum: int, free: int, workers: int
) -> None:
    units = lease_size(Ask(wanted, minimum), free, workers)
    if units == 0:
        assert free < max(1, minimum)
    else:
        assert max(1, minimum) <= units <= free
        assert units <= max(wanted, minimum, 1)
        assert units <= max(minimum, 1, free // max(1, workers))


def test_leases_shrink_to_single_calls_near_the_end() -> None:
    sizes, free = [], 20
    while free:
        sizes.append(lease_size(Ask(wanted=100, minimum=1), free, workers=4))
        free -= sizes[-1]
    assert sizes == [5, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1]


def lent(**changes: Any) -> Grant:
    return license_grant(wallet=BOB, user=ALICE, user_until=int(NOW) + 5, **changes)


def test_a_delegated_license_is_used_by_its_user_alone_and_by_its_holder_alone_from_its_end_on() -> None:
    grant = lent()
    rights = {ALICE: scene(licenses=(grant,)), BOB: scene(licenses=(grant,), wallets=frozenset({BOB}))}
    approved(decide(ask(), rights[ALICE], POLICY))
    assert refused(decide(ask(), rights[BOB], POLICY)).code is Code.LICENSE_DELEGATED
    later = {wallet: replace(seen, now=NOW + 5) for wallet, seen in rights.items()}
    assert refused(decide(ask(), later[ALICE], POLICY)).code is Code.DELEGATION_ENDED
    approved(decide(ask(), later[BOB], POLICY))


def test_no_lease_outlives_a_delegation_nor_one_of_the_deposit_beside_it() -> None:
    assert approved(decide(ask(), scene(licenses=(lent(),)), POLICY)).ttl_ms == 5_000
    used_up = lent(balance=Balance(target=100, spent=100))
    rights = scene(licenses=(used_up,), deposits=(deposit_grant(),), plans={PRICED.plan_key: PRICED})
    assert approved(decide(ask(), rights, POLICY)).ttl_ms == 5_000


def test_own_licenses_come_before_delegated_ones() -> None:
    own = license_grant(grant_id="z", end_time=9_000)
    assert approved(decide(ask(), scene(licenses=(lent(grant_id="a"), own)), POLICY)).grant == own


def test_an_ended_or_foreign_right_is_told_as_what_it_is() -> None:
    gone = frozenset({Code.DELEGATION_ENDED})
    assert refused(decide(ask(), scene(history=gone), POLICY)).code is Code.DELEGATION_ENDED
    assert (
        refused(decide(ask(), scene(licenses=(lent(end_time=int(NOW)),)), POLICY)).code
        is Code.LICENSE_EXPIRED
    )


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20))
def test_at_no_moment_may_two_wallets_use_one_license(at: int, until: int, end: int) -> None:
    grant = license_grant(wallet=BOB, user=ALICE, user_until=until, end_time=end)
    for now in (float(at), at + 0.5):
        seen = replace(MIRROR, heard_at=now)
        users = {
            wallet
            for wallet in (ALICE, BOB)
            if isinstance(
                decide(
                    ask(), scene(licenses=(grant,), now=now, mirror=seen, wallets=frozenset({wallet})), POLICY
                ),
                Approval,
            )
        }
        assert users == (set() if now >= end else {ALICE} if now < until else {BOB})
