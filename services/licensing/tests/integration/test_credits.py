"""Prepaid units are lent once they are deposited and final, until they end, and only for the plan of their series."""

from __future__ import annotations

import asyncio

import pytest
from licet_licensing.domain.codes import Code
from licet_licensing.testing.words import (
    PLAN_KEY,
    SERIES_GRANT,
    credits_deposited,
    credits_exit,
    direct_draws,
    retracted,
    series_opened,
)
from licet_licensing.testing.world import World, record
from licet_schemas.licet.licensing.v1 import licensing_pb2 as licensing


def end_of(world: World) -> int:
    return int(world.now.timestamp()) + 1_000


@pytest.fixture
async def prepaid(world: World) -> World:
    """A plan without a price for more units, and fifty prepaid units of it in the escrow, all final."""
    await world.market(included_units=20, optimistic_units=0)
    await world.hear(series_opened(3, end=end_of(world)), credits_deposited(4, 50))
    await world.finality(4)
    return world


async def test_prepaid_units_are_lent_without_a_license(prepaid: World) -> None:
    lease = await prepaid.lease(wanted=10)
    assert (lease.grant_id, lease.source, lease.plan_key) == (SERIES_GRANT, "credits", PLAN_KEY)
    assert (lease.units, lease.max_amount, lease.requires_grant_id) == (10, 10, "")
    assert await prepaid.units(SERIES_GRANT) == (40, 10, 0, 0, 0)
    told = [said for said in await prepaid.told(licensing.GrantChanged) if said.grant_id == SERIES_GRANT]
    assert (told[-1].source, told[-1].plan_id) == (licensing.GRANT_SOURCE_CREDITS, "1")
    await prepaid.count(record(lease, 1, 4), record(lease, 2, 1, last=True))
    assert await prepaid.units(SERIES_GRANT) == (45, 0, 0, 5, 0)


async def test_no_more_than_the_units_is_ever_lent(prepaid: World) -> None:
    assert (await prepaid.lease(wanted=80)).units == 50
    refused = await prepaid.refusal()
    assert refused.code == Code.QUOTA_EXHAUSTED


async def test_a_license_comes_before_prepaid_units(prepaid: World) -> None:
    await prepaid.buy()
    await prepaid.finality(5)
    first = await prepaid.lease(wanted=20)
    assert first.source == "license"
    await prepaid.count(record(first, 1, 20, last=True))
    assert (await prepaid.lease(wanted=20)).source == "credits"


async def test_units_that_are_not_final_are_not_lent(world: World) -> None:
    await world.market(optimistic_units=0)
    await world.hear(series_opened(3, end=end_of(world)), credits_deposited(4, 50))
    assert (await world.refusal()).code == Code.QUOTA_EXHAUSTED


async def test_units_end_with_their_series(prepaid: World) -> None:
    lease = await prepaid.lease(wanted=10)
    assert lease.expires_at <= end_of(prepaid)
    prepaid.clock.advance(1_000)
    await prepaid.block(6)
    assert (await prepaid.refusal()).code == Code.QUOTA_EXHAUSTED
    await prepaid.sweep()
    row = await prepaid.grant(SERIES_GRANT)
    assert (row.state, row.free, row.lapsed) == ("expired", 0, 40)
    # An exit afterwards wakes nothing.
    await prepaid.hear(credits_exit(7, 10))
    row = await prepaid.grant(SERIES_GRANT)
    assert (row.state, row.free) == ("expired", 0)


async def test_a_lease_never_outlives_the_series(prepaid: World) -> None:
    prepaid.clock.advance(990)
    await prepaid.block(6)
    lease = await prepaid.lease(wanted=10)
    assert lease.expires_at <= prepaid.now.timestamp() + 10


async def test_a_deposit_that_is_heard_of_before_its_series_becomes_one_of_credits(world: World) -> None:
    await world.market(optimistic_units=0)
    await world.hear(credits_deposited(4, 50))
    await world.finality(4)
    assert (await world.grant(SERIES_GRANT)).source == "deposit"
    assert (await world.refusal()).code == Code.LICENSE_MISSING
    await world.hear(series_opened(3, end=end_of(world)))
    assert (await world.lease(wanted=5)).source == "credits"


async def test_both_heard_at_once_by_two_replicas_leave_no_trace_of_their_order(world: World) -> None:
    await world.market(optimistic_units=0)
    opened, deposited = series_opened(3, end=end_of(world)), credits_deposited(4, 50)
    await world.finality(4)
    await asyncio.gather(world.hear(deposited), world.hear(opened))
    assert (await world.grant(SERIES_GRANT)).source == "credits"
    assert (await world.lease(wanted=5)).source == "credits"


async def test_a_series_that_left_the_chain_with_its_deposit_lends_nothing(world: World) -> None:
    await world.market(optimistic_units=0)
    await world.hear(series_opened(3, end=end_of(world)), credits_deposited(4, 50))
    opened, deposited = world.sent[-2:]
    await world.hear(retracted(opened))
    await world.hear(retracted(deposited))
    await world.finality(4)
    row = await world.grant(SERIES_GRANT)
    assert (row.source, row.granted, row.free) == ("credits", 0, 0)
    assert (await world.refusal()).code == Code.QUOTA_EXHAUSTED


async def test_an_exit_takes_units_at_once(prepaid: World) -> None:
    await prepaid.hear(credits_exit(6, 10))
    assert (await prepaid.lease(wanted=40)).units == 10


async def test_units_of_another_operators_plan_are_not_lent(world: World) -> None:
    await world.market(server="0x" + "99" * 20, optimistic_units=0)
    await world.hear(series_opened(3, end=end_of(world)), credits_deposited(4, 50))
    await world.finality(4)
    assert (await world.refusal()).code == Code.LICENSE_MISSING


async def test_prepaid_units_never_cover_what_a_lost_license_used(world: World) -> None:
    """They are drawn by settlement alone, which knows nothing of that debt."""
    await world.market(included_units=20, optimistic_units=20)
    await world.hear(series_opened(3, end=end_of(world)), credits_deposited(4, 50))
    await world.finality(4)
    bought = await world.buy()
    lease = await world.lease(wanted=10)
    assert lease.source == "license"
    await world.count(record(lease, 1, 3, last=True))
    await world.hear(retracted(bought))
    await world.sweep()
    assert len(await world.rows("debts")) == 1
    assert (await world.grant(SERIES_GRANT)).spent == 0


async def test_a_payer_who_allows_mandates_alone_is_not_lent_units(prepaid: World) -> None:
    said = direct_draws(6, 5)
    said.direct_draws_set.deposit_id = SERIES_GRANT.split(":")[2]
    await prepaid.hear(said)
    assert (await prepaid.refusal()).code == Code.QUOTA_EXHAUSTED
