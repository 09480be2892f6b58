"""A plan's trial and its seats, from the chain's words to what a worker is lent."""

from __future__ import annotations

from licet_licensing.testing.words import PERIOD_S, grant_id, renewed
from licet_licensing.testing.world import World


async def test_a_trial_lends_its_own_units_and_its_renewal_those_of_the_plan(world: World) -> None:
    await world.market(included_units=100, optimistic_units=50, trial_units=7)
    await world.hear(world.purchased(5, trial=True))
    assert await world.units() == (7, 0, 0, 0, 0), "no more before finality than after it"
    await world.finality(5)
    assert await world.units() == (7, 0, 0, 0, 0)
    end = int(world.now.timestamp()) + 2 * PERIOD_S
    await world.hear(renewed(6, 1, end))
    await world.finality(6)
    assert await world.units() == (7, 0, 0, 0, 0)
    assert await world.units(grant_id(window=1)) == (100, 0, 0, 0, 0)


async def test_a_plan_without_a_trial_lends_as_before(world: World) -> None:
    await world.market(included_units=100)
    await world.buy()
    assert await world.units() == (100, 0, 0, 0, 0)


async def test_seats_bound_the_calls_at_once_of_each_worker(world: World) -> None:
    await world.market(seats=4)
    await world.buy()
    first = await world.lease(worker_id="worker-1")
    assert first.concurrency == 4
    second = await world.lease(worker_id="worker-2")
    assert second.concurrency == 2, "half of them, of two workers"


async def test_without_seats_only_the_rate_bounds(world: World) -> None:
    await world.market()
    await world.buy()
    lent = await world.lease()
    assert lent.concurrency == 0
