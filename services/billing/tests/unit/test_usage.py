"""Rating and coverage."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_billing.domain.errors import GrantUnknown, RecordInconsistent
from licet_billing.domain.usage import (
    Disposition,
    Grant,
    Outcome,
    Plan,
    PlanKey,
    Source,
    UsageRecord,
    cover,
    rate,
)

PLAN = Plan(
    key=PlanKey(31337, "0xb0", "1"),
    asset_id="0xaa",
    currency="0xcc",
    unit_price=7,
    metering_rule="rows:INPUT",
    server="0x0e",
)
DEPOSIT = Grant(
    grant_id="31337:0xe5:0xdd:0",
    version=1,
    source=Source.DEPOSIT,
    state="live",
    account_id="acc",
    wallet="0xfa",
    chain_id=31337,
    contract="0xe5",
    token_id="0xdd",
    plan_id="",
    asset_id="",
    currency="0xcc",
    operator="0x0e",
    granted=1000,
)
LICENSE = replace(
    DEPOSIT,
    grant_id="31337:0x11:5:0",
    source=Source.LICENSE,
    token_id="5",
    plan_id="1",
    asset_id="0xaa",
    granted=50,
)


def record(sequence: int, units: int, grant: Grant = DEPOSIT) -> UsageRecord:
    return UsageRecord(
        request_id=f"lease-{sequence}",
        lease_id="lease",
        sequence=sequence,
        last=False,
        account_id="acc",
        account_lease=1,
        grant_id=grant.grant_id,
        asset_id="0xaa",
        version_digest="0xdd",
        plan_id="1",
        metering_rule="rows:INPUT",
        units=units,
        price_book_version="31337:0xb0:1",
        outcome=Outcome.OK,
        started_at_ms=1,
        ended_at_ms=2,
        request_commitment=b"",
        response_commitment=b"",
    )


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**128 - 1))
def test_deposit_pays_units_times_unit_price_exactly(units: int, price: int) -> None:
    rich = replace(DEPOSIT, granted=2**256 - 1)
    charge, grant = rate(record(1, units), rich, replace(PLAN, unit_price=price), fenced=False)
    assert (charge.amount, charge.disposition) == (units * price, Disposition.BILLED)
    assert grant.charged == units * price


@given(st.integers(0, 50))
def test_license_units_are_charged_zero_and_counted_in_units(units: int) -> None:
    charge, grant = rate(record(1, units, LICENSE), LICENSE, PLAN, fenced=False)
    assert (charge.amount, charge.deposit_id, charge.disposition) == (0, "", Disposition.BILLED)
    assert charge.value == units * 7
    assert grant.charged == units


@given(
    st.lists(st.integers(0, 60), max_size=30),
    st.sampled_from([DEPOSIT, LICENSE]),
    st.sets(st.integers(0, 29)),
)
def test_billed_never_exceeds_granted_and_nothing_is_lost_or_doubled(
    calls: list[int], grant: Grant, fenced: set[int]
) -> None:
    before, charges = grant, []
    for sequence, units in enumerate(calls):
        charge, grant = rate(record(sequence + 1, units, before), grant, PLAN, fenced=sequence in fenced)
        charges.append(charge)
    billed = [c for c in charges if c.disposition is Disposition.BILLED]
    assert grant.charged == sum(c.quantity for c in billed) <= before.granted
    assert sum(c.value for c in charges) == sum(calls) * 7
    assert all(c.amount == 0 for c in charges if c.disposition is not Disposition.BILLED)
    assert all(charges[i].disposition is Disposition.FENCED for i in fenced if i < len(calls))


def test_uncovered_charge_is_billed_when_its_grant_rises_but_a_fenced_one_is_not_offered() -> None:
    small = replace(DEPOSIT, granted=6)
    loss, after = rate(record(1, 1), small, PLAN, fenced=False)
    assert (loss.disposition, loss.amount, after.charged) == (Disposition.UNCOVERED, 0, 0)
    assert cover(loss, small) == (loss, small)
    billed, raised = cover(loss, replace(small, granted=7))
    assert (billed.amount, billed.disposition, raised.charged) == (7, Disposition.BILLED, 7)


@pytest.mark.parametrize(
    "false",
    [
        replace(record(1, 1), asset_id="0xbb"),
        replace(record(1, 1), plan_id="2"),
        replace(record(1, 1), metering_rule="request"),
        replace(record(1, 1), request_id="other-1"),
    ],
    ids=["asset", "plan", "rule", "request"],
)
def test_record_that_contradicts_its_plan_is_refused(false: UsageRecord) -> None:
    with pytest.raises(RecordInconsistent):
        rate(false, DEPOSIT, PLAN, fenced=False)


@pytest.mark.parametrize(
    "grant",
    [
        replace(DEPOSIT, source=Source.MANDATE, currency="0xother"),
        replace(DEPOSIT, operator="0xother"),
        replace(LICENSE, plan_id="2"),
        replace(DEPOSIT, chain_id=1),
    ],
    ids=["currency", "operator", "plan", "chain"],
)
def test_record_on_a_grant_that_cannot_pay_this_plan_is_refused(grant: Grant) -> None:
    with pytest.raises(RecordInconsistent):
        rate(record(1, 1, grant), grant, PLAN, fenced=False)


def test_record_on_a_deposit_of_another_token_waits_for_what_its_token_is() -> None:
    with pytest.raises(GrantUnknown):
        rate(record(1, 1), replace(DEPOSIT, currency="0xseries"), PLAN, fenced=False)


@pytest.mark.parametrize("text", ["", "1:2", "x:0xb0:1", "1:2:3:4"])
def test_price_book_version_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(RecordInconsistent):
        PlanKey.parse(text)


def test_closing_marker_is_told_from_an_aborted_call() -> None:
    nothing = bytes(32)
    marker = replace(
        record(2, 0),
        last=True,
        outcome=Outcome.ABORTED,
        request_commitment=nothing,
        response_commitment=nothing,
    )
    assert marker.is_closing_marker
    assert not replace(marker, units=1).is_closing_marker
    assert not replace(marker, last=False).is_closing_marker
    assert not replace(marker, outcome=Outcome.OK).is_closing_marker
    assert not replace(marker, request_commitment=bytes([1]) * 32).is_closing_marker
    assert not replace(marker, response_commitment=bytes([1]) * 32).is_closing_marker
