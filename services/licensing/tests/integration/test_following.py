"""Chain events become grants, whatever the order, the repetition and the reorganisation."""

from __future__ import annotations

import random

import pytest
from licet_kit.db import transaction
from licet_licensing.domain.codes import Code
from licet_licensing.testing.words import (
    ALICE,
    ASSET_ID,
    BOB,
    DEPOSIT_GRANT,
    PERIOD_S,
    PLAN_KEY,
    activated,
    block_hash,
    block_said,
    deposited,
    event,
    exit_drawn,
    exit_requested,
    grant_id,
    planned,
    registered,
    renewed,
    retracted,
    returned,
    settled,
    transferred,
)
from licet_licensing.testing.world import World, record
from licet_licensing.usecases.following import finalise
from licet_schemas.licet.chain.v1 import chain_pb2 as chain
from licet_schemas.licet.licensing.v1 import licensing_pb2 as licensing


async def test_a_purchase_is_optimistic_until_it_is_final(world: World) -> None:
    await world.market()
    await world.hear(world.purchased(5))
    assert (await world.grant()).state == "provisional"
    assert await world.units() == (5, 0, 0, 0, 0)
    await world.finality(4)
    assert await world.units() == (5, 0, 0, 0, 0)
    await world.finality(5)
    assert (await world.grant()).state == "live"
    assert await world.units() == (100, 0, 0, 0, 0)
    told = [(said.version, said.state, said.granted) for said in await world.told(licensing.GrantChanged)]
    assert told == [(1, "provisional", "5"), (2, "live", "100")]


async def test_a_purchase_behind_the_final_block_is_final_at_once(world: World) -> None:
    await world.market()
    await world.finality(9)
    await world.hear(world.purchased(5))
    assert await world.units() == (100, 0, 0, 0, 0)


async def test_a_purchase_that_is_heard_before_its_plan_waits_for_it(world: World) -> None:
    await world.hear(registered(), activated())
    await world.hear(world.purchased(5))
    assert await world.rows("grants") == []
    await world.hear(planned())
    assert (await world.grant()).plan_key == PLAN_KEY


async def test_every_order_and_repetition_of_events_ends_in_the_same_grants(world: World) -> None:
    """Seeded: the same events, each twice, shuffled and in batches of any size, on fresh databases' worth of tokens."""
    await world.market()
    end = int(world.now.timestamp()) + 2 * PERIOD_S
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    for token_id in range(1, 9):
        bought = world.purchased(5, token_id=token_id, log=token_id)
        late = renewed(7, 1, end, token_id=token_id)
        late.log_index = token_id
        gone = transferred(6, ALICE, BOB, token_id=token_id)
        gone.log_index = token_id
        for each in (late, gone):
            each.event_id = f"{each.event_id}:{token_id}"
        events = [bought, gone, late, retracted(gone), returned(gone)] * 2
        rng.shuffle(events)
        while events:
            size = rng.randint(1, 4)
            await world.hear(*events[:size])
            del events[:size]
        for window in (0, 1):
            row = await world.grant(grant_id(token_id, window))
            assert (row.wallet, row.state, row.free) == (BOB, "provisional", 5), f"seed {seed}"


async def test_a_renewal_opens_a_new_window_with_its_own_end(world: World) -> None:
    await world.market()
    await world.buy()
    first_end = (await world.grant()).end_time
    await world.hear(renewed(7, 1, first_end + PERIOD_S))
    await world.finality(7)
    assert (await world.grant(grant_id(1, 1))).end_time == first_end + PERIOD_S
    assert await world.units(grant_id(1, 1)) == (100, 0, 0, 0, 0)
    assert (await world.grant()).end_time == first_end


async def test_a_transfer_moves_the_units_and_kills_the_leases(world: World) -> None:
    await world.market()
    await world.buy()
    lease = await world.lease(wanted=10)
    await world.count(record(lease, 1, 3))
    await world.hear(transferred(7, ALICE, BOB))
    row = await world.grant()
    assert (row.wallet, row.generation) == (BOB, 2)
    assert await world.units() == (90, 7, 0, 3, 0)
    assert await world.revocations() == [(grant_id(), 2, "license_transferred")]
    assert (await world.refusal(ALICE)).code == Code.LICENSE_TRANSFERRED
    assert (await world.lease(BOB)).generation == 2
    await world.hear(retracted(world.sent[-1]))
    assert (await world.grant()).wallet == ALICE
    assert (await world.refusal(BOB)).code == Code.LICENSE_MISSING
    assert (await world.revocations())[-1] == (grant_id(), 3, "license_transferred")


async def test_a_retracted_purchase_leaves_a_debt_that_blocks_optimistic_grants_until_it_is_covered(
    world: World,
) -> None:
    await world.market()
    bought = world.purchased(5)
    await world.hear(bought)
    lease = await world.lease(wanted=4)
    await world.count(record(lease, 1, 2))
    await world.hear(retracted(bought))
    row = await world.grant()
    assert (row.state, row.granted, row.generation) == ("retracted", 0, 2)
    assert await world.revocations() == [(grant_id(), 2, "license_revoked")]
    assert (await world.refusal()).code == Code.LICENSE_REVOKED
    # What the lease still used is the operator's loss, and is owed too.
    await world.count(record(lease, 2, 1, last=True))
    assert [(loss.units, loss.reason) for loss in await world.rows("losses")] == [(1, "right_retracted")]
    assert sum(debt.units for debt in await world.rows("debts")) == 3
    # The same purchase in another block: not final, so nothing is lent in good faith again.
    again = world.purchased(6, fork="b")
    await world.hear(again)
    assert await world.units() == (5, 0, 0, 0, 0)
    assert (await world.refusal()).code == Code.QUOTA_EXHAUSTED
    await world.finality(6)
    await world.sweep()
    assert await world.rows("debts") == []
    assert await world.units() == (97, 0, 0, 3, 0)
    await world.lease()


async def test_another_buyer_of_the_token_id_after_a_reorganisation_starts_at_zero(world: World) -> None:
    await world.market()
    bought = world.purchased(5)
    await world.hear(bought)
    lease = await world.lease(wanted=4)
    await world.count(record(lease, 1, 2))
    await world.hear(retracted(bought), world.purchased(5, to=BOB, fork="b"))
    row = await world.grant()
    assert (row.wallet, row.generation) == (BOB, 2)
    assert await world.units() == (5, 0, 0, 0, 0)
    await world.count(record(lease, 2, 1, last=True))
    assert await world.units() == (5, 0, 0, 0, 0)
    assert {(debt.payer, debt.units) for debt in await world.rows("debts")} == {(ALICE, 2), (ALICE, 1)}
    await world.lease(BOB)


async def test_a_deposit_counts_when_it_is_final_and_optimistically_before(world: World) -> None:
    await world.market(unit_price="7", optimistic_amount="40")
    await world.hear(deposited(6, 1_000))
    assert await world.units(DEPOSIT_GRANT) == (40, 0, 0, 0, 0)
    await world.finality(6)
    assert await world.units(DEPOSIT_GRANT) == (1_000, 0, 0, 0, 0)
    row = await world.grant(DEPOSIT_GRANT)
    assert (row.wallet, row.state) == (ALICE, "live")


async def test_an_exit_leaves_at_once_and_a_draw_from_it_comes_back(world: World) -> None:
    await world.market(unit_price="7", included_units=1, optimistic_units=0)
    await world.buy()
    await world.deposit(6, 1_000)
    await world.count(record(await world.lease(wanted=1, worker_id="a"), 1, 1, last=True))
    lease = await world.lease(wanted=100, worker_id="a")
    assert lease.grant_id == DEPOSIT_GRANT
    await world.count(record(lease, 1, 20))
    await world.hear(exit_requested(8, 100))
    row = await world.grant(DEPOSIT_GRANT)
    assert await world.units(DEPOSIT_GRANT) == (0, 560, 0, 140, 0)
    assert row.shortage == 600
    assert await world.revocations() == []
    await world.count(record(lease, 2, 0, last=True))
    assert await world.units(DEPOSIT_GRANT) == (0, 0, 0, 140, 0)
    assert (await world.refusal()).code == Code.QUOTA_EXHAUSTED
    await world.hear(exit_drawn(9, 140))
    await world.finality(9)
    assert (await world.grant(DEPOSIT_GRANT)).shortage == 0


async def test_what_was_written_off_does_not_eat_the_next_deposit(world: World) -> None:
    await world.market(unit_price="7", included_units=1, optimistic_units=0)
    await world.buy()
    await world.deposit(6, 1_000)
    await world.count(record(await world.lease(wanted=1), 1, 1, last=True))
    await world.count(record(await world.lease(wanted=100), 1, 100, last=True))
    # The money left by an exit before the operator settled the 700 that were used.
    await world.hear(exit_requested(8, 0))
    await world.finality(8)
    assert (await world.grant(DEPOSIT_GRANT)).shortage == 700
    lost = settled(9, 700, 100, index=1)
    await world.hear(lost, settled(9, 500, 0, operator=BOB, index=2), settled(9, 5, 5, index=3))
    assert (await world.grant(DEPOSIT_GRANT)).shortage == 700  # a reorganisation could still take it back
    await world.finality(9)
    assert (
        await world.grant(DEPOSIT_GRANT)
    ).shortage == 100  # the 100 that were paid come back by the exit's draw
    await world.hear(exit_drawn(9, 100))
    await world.deposit(10, 1_100)
    assert await world.units(DEPOSIT_GRANT) == (1_000, 0, 0, 700, 0)
    assert len(await world.rows("facts", kind="deposit_total")) == 1
    await world.deposit(11, 1_200)
    assert await world.units(DEPOSIT_GRANT) == (1_100, 0, 0, 700, 0)


async def test_a_retracted_deposit_under_its_leases_revokes_them(world: World) -> None:
    await world.market(unit_price="7", included_units=1, optimistic_units=0, optimistic_amount="1000")
    await world.buy()
    await world.count(record(await world.lease(wanted=1), 1, 1, last=True))
    put_in = deposited(6, 1_000)
    await world.hear(put_in)
    lease = await world.lease(wanted=10)
    await world.hear(retracted(put_in))
    assert await world.revocations() == [(DEPOSIT_GRANT, lease.generation + 1, "quota_exhausted")]
    assert (await world.grant(DEPOSIT_GRANT)).shortage == 70


async def test_money_that_a_reorganisation_could_take_is_not_counted(world: World) -> None:
    """An exit followed by a deposit: the exit may survive without the deposit."""
    await world.market(unit_price="7", optimistic_amount="30")
    await world.deposit(6, 1_000)
    await world.hear(exit_requested(7, 0), deposited(8, 1_000))
    assert await world.units(DEPOSIT_GRANT) == (30, 0, 0, 0, 0)
    await world.finality(8)
    assert await world.units(DEPOSIT_GRANT) == (1_000, 0, 0, 0, 0)
    assert len(await world.rows("facts", kind="deposit_total")) == 1


async def test_the_active_version_follows_reorganisations(world: World) -> None:
    await world.market()
    await world.buy()
    newer = activated(7, 0, "0x" + "ee" * 32)
    await world.hear(newer)
    assert (await world.lease()).version_digest == "0x" + "ee" * 32
    await world.hear(retracted(newer))
    assert (await world.lease()).version_digest == "0x" + "dd" * 32


async def test_a_license_of_a_registration_that_left_the_chain_is_of_no_known_model(world: World) -> None:
    await world.market()
    await world.buy()
    await world.hear(retracted(registered()))
    assert (await world.refusal()).code == Code.MODEL_UNKNOWN


async def test_a_transfer_that_the_plan_forbids_ends_the_right(world: World) -> None:
    await world.market(transferable=False)
    await world.buy()
    await world.hear(transferred(7, ALICE, BOB))
    assert (await world.grant()).state == "transferred"
    for wallet in (ALICE, BOB):
        assert (await world.refusal(wallet)).code == Code.LICENSE_TRANSFERRED


@pytest.mark.parametrize(
    "payload",
    [
        {"plan_closed": chain.PlanClosed(plan_id="1", asset_id=ASSET_ID)},
        {"claimed": chain.Claimed(account=ALICE, token=ALICE, amount="1")},
        {},
    ],
)
async def test_events_that_no_right_depends_on_change_nothing(
    world: World, payload: dict[str, object]
) -> None:
    await world.market()
    await world.buy()
    before = await world.rows("grants")
    await world.hear(event(7, 0, **payload))  # type: ignore[arg-type]
    assert await world.rows("grants") == before
    assert await world.rows("facts", block_number=7) == []


async def test_an_end_that_passes_lapses_what_is_free(world: World) -> None:
    await world.market()
    await world.buy()
    lease = await world.lease(wanted=10)
    world.clock.advance(PERIOD_S)
    await world.block(7)
    assert (await world.refusal()).code == Code.LICENSE_EXPIRED
    await world.sweep()
    assert (await world.grant()).state == "expired"
    assert (await world.told(licensing.GrantChanged))[-1].state == "expired"
    await world.count(record(lease, 1, 4, last=True))
    assert await world.units() == (0, 0, 0, 4, 96)
    assert (await world.refusal()).code == Code.LICENSE_EXPIRED


async def test_a_debt_is_covered_part_by_part(world: World) -> None:
    await world.market()
    bought = world.purchased(5)
    await world.hear(bought)
    await world.count(record(await world.lease(wanted=5), 1, 4))
    await world.hear(retracted(bought))
    await world.buy(6, token_id=2, payer=ALICE, to=BOB)
    await world.sweep()
    assert [debt.units for debt in await world.rows("debts")] == [4], "another holder's units are not taken"
    await world.hear(world.purchased(7, token_id=3))
    async with transaction(world.engine) as session:
        await world.consumers.on_finality(session, world.message(block_said(7), "chain.finality"))
        await finalise(session, world.now)
    lease = await world.lease(wanted=99)
    await world.sweep()
    assert [debt.units for debt in await world.rows("debts")] == [3]
    assert await world.units(grant_id(3)) == (0, 99, 0, 1, 0)
    await world.count(record(lease, 1, 0, last=True))
    await world.sweep()
    assert await world.rows("debts") == []
    assert await world.units(grant_id(3)) == (96, 0, 0, 4, 0)


async def test_another_plan_that_takes_the_id_after_a_reorganisation_brings_its_own_terms(
    world: World,
) -> None:
    first, bought = planned(included_units=100), world.purchased(5)
    await world.hear(registered(), activated(), first, bought)
    other = planned(included_units=7, optimistic_units=2)
    other.block_hash, other.event_id = block_hash(2, "b"), "other"
    await world.hear(retracted(bought), retracted(first), other, world.purchased(5, fork="b"))
    assert await world.units() == (2, 0, 0, 0, 0)
    await world.finality(5)
    assert await world.units() == (7, 0, 0, 0, 0)
