"""A burned license leaves no access behind."""

from __future__ import annotations

from licet_licensing.domain.codes import Code
from licet_licensing.testing.words import (
    ALICE,
    BOB,
    NOBODY,
    PERIOD_S,
    grant_id,
    renewed,
    retracted,
    returned,
    transferred,
)
from licet_licensing.testing.world import World


async def test_a_burn_ends_the_grant_and_its_leases(world: World) -> None:
    await world.market()
    await world.buy()
    await world.lease(wanted=10)
    burned = transferred(7, ALICE, NOBODY)
    await world.hear(burned)
    assert (await world.grant()).wallet == NOBODY
    assert await world.revocations() == [(grant_id(), 2, "license_transferred")]
    assert (await world.refusal(ALICE)).code == Code.LICENSE_TRANSFERRED
    assert (await world.refusal(BOB)).code == Code.LICENSE_MISSING
    await world.finality(7)
    assert (await world.refusal(ALICE)).code == Code.LICENSE_TRANSFERRED


async def test_a_burn_ends_every_window_whatever_the_order(world: World) -> None:
    await world.market()
    await world.buy()
    end = (await world.grant()).end_time
    await world.hear(transferred(9, ALICE, NOBODY), renewed(7, 1, end + PERIOD_S))
    await world.finality(9)
    for window in (0, 1):
        assert (await world.grant(grant_id(1, window))).wallet == NOBODY
    assert (await world.refusal(ALICE)).code == Code.LICENSE_TRANSFERRED


async def test_a_burn_that_a_reorg_takes_back_and_gives_again_ends_it_again(world: World) -> None:
    await world.market()
    await world.buy()
    burned = transferred(7, ALICE, NOBODY)
    await world.hear(burned, retracted(burned))
    generation = (await world.lease(ALICE)).generation
    await world.hear(returned(burned))
    assert (await world.refusal(ALICE)).code == Code.LICENSE_TRANSFERRED
    assert (await world.revocations())[-1][:2] == (grant_id(), generation + 1)
