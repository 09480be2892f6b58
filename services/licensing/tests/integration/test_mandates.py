"""An agent's key spends by a mandate alone: within its windows, amounts and calls, and not after it was revoked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from licet_licensing.domain.codes import Code
from licet_licensing.domain.errors import InvalidRequest
from licet_licensing.testing.words import (
    ALICE,
    BOB,
    CHAIN_ID,
    DEPOSIT_GRANT,
    ESCROW,
    MANDATE_ID,
    direct_draws,
    mandate_revoked,
    mandated,
    retracted,
)
from licet_licensing.testing.world import World, record
from licet_licensing.usecases.leasing import Denied, Granted, RenewAsk
from licet_schemas.licet.licensing.v1 import licensing_pb2 as licensing

AGENT = f"agent of {ALICE}"
PRICE = 7


def window(number: int = 0) -> str:
    return f"{CHAIN_ID}:{ESCROW}:{MANDATE_ID}:{number}"


@pytest.fixture
async def open_world(world: World) -> World:
    """A licence with a unit price, a deposit of 1,000, a final mandate over it, and a key that is bound to it."""
    await opened(world)
    return world


async def opened(world: World, **terms: Any) -> None:
    await world.market(unit_price=str(PRICE), included_units=20, optimistic_units=0)
    await world.buy()
    await world.deposit()
    await world.hear(mandated(7, begin=int(world.now.timestamp()), **terms))
    await world.finality(7)
    await world.bind_key(ALICE, MANDATE_ID)


async def test_a_bound_key_is_lent_of_the_window_and_of_the_deposit_alike(open_world: World) -> None:
    lease = await open_world.lease(AGENT, wanted=10)
    assert (lease.grant_id, lease.source, lease.units) == (window(), "mandate", 10)
    assert (lease.max_amount, lease.max_calls) == (70, 10)
    assert lease.requires_grant_id.endswith(":1:0"), "its license"
    assert await open_world.units(window()) == (230, 70, 0, 0, 0)
    assert await open_world.units(DEPOSIT_GRANT) == (930, 70, 0, 0, 0)
    told = [said for said in await open_world.told(licensing.GrantChanged) if said.grant_id == window()]
    assert (told[0].source, told[0].token_id, told[0].window, told[0].wallet) == (
        licensing.GRANT_SOURCE_MANDATE,
        MANDATE_ID,
        0,
        ALICE,
    )
    await open_world.count(record(lease, 1, 4), record(lease, 2, 1, last=True))
    assert await open_world.units(window()) == (265, 0, 0, 35, 0)
    assert await open_world.units(DEPOSIT_GRANT) == (965, 0, 0, 35, 0)


async def test_the_windows_amount_and_the_total_bound_what_is_lent(open_world: World) -> None:
    lease = await open_world.lease(AGENT, wanted=100)
    assert lease.units == 300 // PRICE
    refused = await open_world.refusal(AGENT)
    assert refused.code == Code.QUOTA_EXHAUSTED
    assert refused.retry_after_ms > 0
    await open_world.count(record(lease, 1, 42, last=True))
    open_world.clock.advance(100)
    await open_world.block(7)
    second = await open_world.lease(AGENT, wanted=100)
    assert (second.grant_id, second.units) == (window(1), (500 - 294) // PRICE)


async def test_no_window_is_lent_beyond_the_in_flight_cap(world: World) -> None:
    """Or a payer would use a window, revoke before it is settled, and pay the cap."""
    await opened(world, in_flight_cap="70")
    assert (await world.lease(AGENT, wanted=100)).units == 10
    assert await world.units(window()) == (0, 70, 0, 0, 0)


async def test_an_older_request_lends_nothing_of_a_window_that_a_later_one_has_closed(
    open_world: World,
) -> None:
    open_world.clock.advance(100)
    await open_world.block(7)
    await open_world.lease(AGENT, wanted=5)
    asked = open_world.ask(await open_world.key_of(AGENT))
    (late,) = await open_world.answer(asked, late_s=100)
    assert isinstance(late, Denied)
    assert late.code == Code.MIRROR_STALE


async def test_a_mandate_and_its_deposit_that_go_in_one_batch_leave_no_live_window(open_world: World) -> None:
    money = next(said for said in open_world.sent if said.HasField("deposited"))
    await open_world.lease(AGENT, wanted=10)
    await open_world.hear(mandate_revoked(9), retracted(money))
    row = await open_world.grant(window())
    assert (row.state, row.free, row.generation) == ("revoked", 0, 2)
    assert (await open_world.revocations())[-1][1:] == (2, "quota_exhausted")


async def test_a_deposit_that_left_the_chain_ends_leases_by_mandate(open_world: World) -> None:
    money = next(said for said in open_world.sent if said.HasField("deposited"))
    await open_world.lease(AGENT, wanted=10)
    await open_world.hear(retracted(money))
    assert (window(), 2, "quota_exhausted") in await open_world.revocations()
    assert (await open_world.refusal(AGENT)).code == Code.QUOTA_EXHAUSTED


async def test_a_mandate_whose_opening_left_the_chain_lends_nothing_more(open_world: World) -> None:
    await open_world.lease(AGENT, wanted=10)
    opened_by = next(said for said in open_world.sent if said.HasField("mandate_opened"))
    await open_world.hear(retracted(opened_by))
    await open_world.hear(retracted(opened_by))
    assert (window(), 2, "mandate_ended") in await open_world.revocations()
    assert (await open_world.refusal(AGENT)).code == Code.MANDATE_ENDED


async def test_a_mandate_that_leaves_no_time_to_settle_binds_no_key(world: World) -> None:
    with pytest.raises(InvalidRequest, match="too short"):
        await opened(world, grace_s=59)


async def test_the_deposit_bounds_it_as_well(open_world: World) -> None:
    direct = await open_world.lease(ALICE, wanted=20)
    await open_world.count(record(direct, 1, 20, last=True))
    direct = await open_world.lease(ALICE, wanted=110)
    assert direct.grant_id == DEPOSIT_GRANT
    lease = await open_world.lease(AGENT, wanted=100)
    assert lease.units == (1_000 - 110 * PRICE) // PRICE
    assert (await open_world.refusal(AGENT)).code == Code.QUOTA_EXHAUSTED


async def test_the_record_that_ends_a_lease_is_no_call_of_its_window(world: World) -> None:
    await opened(world, window_records=5)
    lease = await world.lease(AGENT, wanted=3)
    calls = [record(lease, number, 1) for number in range(1, lease.max_calls + 1)]
    await world.count(*calls, record(lease, lease.max_calls + 1, 0, last=True))
    assert (await world.lease(AGENT, wanted=5)).max_calls == 5 - lease.max_calls


async def test_the_calls_of_a_window_are_bounded(world: World) -> None:
    await opened(world, window_records=3)
    lease = await world.lease(AGENT, wanted=8, minimum=5)
    assert (lease.units, lease.max_calls) == (8, 3)
    assert (await world.refusal(AGENT)).code == Code.QUOTA_EXHAUSTED
    # Two of the three were not made, so that they come back with the lease's end.
    await world.count(record(lease, 1, 5, last=True))
    assert (await world.lease(AGENT, wanted=8)).max_calls == 2


async def test_a_lease_ends_with_its_window(open_world: World) -> None:
    open_world.clock.advance(95)
    await open_world.block(7)
    lease = await open_world.lease(AGENT)
    assert lease.expires_at == open_world.now.timestamp() + 5
    key = open_world.keys[AGENT]
    open_world.clock.advance(2)
    (kept,) = await open_world.answer(RenewAsk("again", key, "worker-1", lease.lease_id, 5))
    assert isinstance(kept, Granted)
    assert kept.expires_at == lease.expires_at
    open_world.clock.advance(4)
    (over,) = await open_world.answer(RenewAsk("late", key, "worker-1", lease.lease_id, 5))
    assert getattr(over, "code", "") == Code.QUOTA_EXHAUSTED


async def test_a_revoked_mandate_ends_its_leases_and_lends_nothing_more(open_world: World) -> None:
    lease = await open_world.lease(AGENT, wanted=10)
    await open_world.hear(mandate_revoked(9))
    assert (await open_world.revocations())[-1] == (window(), 2, "mandate_ended")
    assert (await open_world.refusal(AGENT)).code == Code.MANDATE_ENDED
    # What was used before is counted; the rest comes back to the deposit, and lapses in the window.
    await open_world.count(record(lease, 1, 2, last=True))
    assert await open_world.units(window()) == (0, 0, 0, 14, 286)
    assert await open_world.units(DEPOSIT_GRANT) == (986, 0, 0, 14, 0)
    await open_world.hear(retracted(mandate_revoked(9)))
    assert (await open_world.lease(AGENT)).generation == 2


async def test_a_mandate_is_used_once_it_is_final_and_while_it_runs(world: World) -> None:
    await world.market(unit_price=str(PRICE), included_units=20, optimistic_units=0)
    await world.buy()
    await world.deposit()
    begin = int(world.now.timestamp()) + 50
    await world.hear(mandated(7, begin=begin, valid_until=begin + 150))
    await world.bind_key(ALICE, MANDATE_ID)
    assert (await world.refusal(AGENT)).code == Code.MIRROR_STALE
    await world.finality(7)
    assert (await world.refusal(AGENT)).code == Code.MANDATE_ENDED
    for advance, name in ((50, window()), (100, window(1))):
        world.clock.advance(advance)
        await world.block(7)
        assert (await world.lease(AGENT)).grant_id == name
    world.clock.advance(50)
    await world.block(7)
    assert (await world.refusal(AGENT)).code == Code.MANDATE_ENDED


async def test_a_mandate_of_another_model_or_operator_covers_nothing(world: World) -> None:
    await opened(world, asset_ids=("0x" + "77" * 32,))
    assert (await world.refusal(AGENT)).code == Code.LICENSE_MISSING
    assert (await world.lease(ALICE)).source == "license", "other keys are as before"


async def test_only_a_wallets_own_mandate_binds_a_key(open_world: World) -> None:
    for wallet, mandate_id in ((BOB, MANDATE_ID), (ALICE, "0x" + "99" * 32), (ALICE, "\n")):
        with pytest.raises(InvalidRequest):
            await open_world.bind_key(wallet, mandate_id)


async def test_a_deposit_can_be_kept_for_mandates(open_world: World) -> None:
    first = await open_world.lease(ALICE, wanted=20)
    await open_world.count(record(first, 1, 20, last=True))
    lease = await open_world.lease(ALICE, wanted=5)
    await open_world.hear(direct_draws(9, 2**40))
    key = open_world.keys[ALICE]
    (kept,) = await open_world.answer(RenewAsk("again", key, "worker-1", lease.lease_id, 5))
    assert getattr(kept, "code", "") == Code.QUOTA_EXHAUSTED, "what was lent ends by its time"
    assert (await open_world.refusal(ALICE)).code == Code.QUOTA_EXHAUSTED
    assert (await open_world.lease(AGENT)).source == "mandate"
    await open_world.hear(direct_draws(10, 0))
    assert (await open_world.lease(ALICE)).grant_id == DEPOSIT_GRANT


async def test_leases_that_run_out_are_held_back_in_both(open_world: World) -> None:
    await open_world.lease(AGENT, wanted=10)
    open_world.clock.advance(60)
    await open_world.sweep()
    assert await open_world.units(window()) == (230, 0, 70, 0, 0)
    assert await open_world.units(DEPOSIT_GRANT) == (930, 0, 70, 0, 0)


async def test_workers_that_ask_at_once_never_get_more_than_the_window(open_world: World) -> None:
    key = open_world.keys[AGENT]
    asks = [open_world.ask(key, wanted=5, worker_id=f"worker-{n}") for n in range(12)]
    await asyncio.gather(*(open_world.answer(ask) for ask in asks))
    free, leased, *_ = await open_world.units(window())
    assert free + leased == 300
    deposit_free, deposit_leased, *_ = await open_world.units(DEPOSIT_GRANT)
    assert (deposit_leased, deposit_free) == (leased, 1_000 - leased)


async def test_a_revocation_races_the_first_lease_of_a_window(open_world: World) -> None:
    """Whichever comes first: afterwards no live window is left."""
    key = open_world.keys[AGENT]
    await asyncio.gather(open_world.answer(open_world.ask(key)), open_world.hear(mandate_revoked(9)))
    rows = await open_world.rows("grants", source="mandate")
    assert {row.state for row in rows} <= {"revoked"}
