"""The usage log settles leases: closing, suspension, recovery, fences, losses."""

from __future__ import annotations

import pytest
from licet_kit.db import transaction
from licet_licensing.domain.errors import RecordContradictsLease
from licet_licensing.testing.words import PERIOD_S
from licet_licensing.testing.world import World, record
from licet_licensing.usecases.leasing import Granted, give_back
from licet_schemas.licet.usage.v1 import usage_pb2 as usage


@pytest.fixture
async def lease(world: World) -> Granted:
    await world.market()
    await world.buy()
    return await world.lease(wanted=10)


async def test_the_last_record_returns_what_was_not_used(world: World, lease: Granted) -> None:
    await world.count(record(lease, 1, 3), record(lease, 2, 2, last=True))
    assert await world.units() == (95, 0, 0, 5, 0)
    assert (await world.rows("leases"))[0].state == "closed"


async def test_the_last_record_waits_for_those_before_it(world: World, lease: Granted) -> None:
    await world.count(record(lease, 2, 2, last=True))
    assert await world.units() == (90, 8, 0, 2, 0)
    await world.count(record(lease, 1, 3))
    assert await world.units() == (95, 0, 0, 5, 0)


async def test_a_lease_is_held_back_past_its_grace_and_settled_by_its_recovered_log(
    world: World, lease: Granted
) -> None:
    await world.count(record(lease, 1, 3))
    world.clock.advance(14.9)
    await world.sweep()
    assert await world.units() == (90, 7, 0, 3, 0)
    world.clock.advance(0.1)
    await world.sweep()
    assert await world.units() == (90, 0, 7, 3, 0)
    await world.count(record(lease, 2, 4), record(lease, 3, 0, last=True))
    assert await world.units() == (93, 0, 0, 7, 0)


async def fenced(world: World) -> list[usage.LeaseFenced]:
    return await world.told(usage.LeaseFenced)


async def test_a_lost_lease_is_given_up_when_its_fence_is_read_in_the_log(
    world: World, lease: Granted
) -> None:
    world.clock.advance(15)
    await world.sweep()
    world.clock.advance(24 * 3600 - 1)
    await world.execute(f"UPDATE grants SET end_time = end_time + {PERIOD_S}")
    await world.sweep()
    assert await fenced(world) == []
    world.clock.advance(1)
    await world.sweep()
    (fence,) = await fenced(world)
    assert (fence.lease_id, fence.grant_id) == (lease.lease_id, lease.grant_id)
    # Announced, not yet read: a record before the fence still counts.
    assert await world.units() == (90, 0, 10, 0, 0)
    await world.count(record(lease, 1, 4))
    await world.count(fence)
    assert await world.units() == (96, 0, 0, 4, 0)
    await world.count(record(lease, 2, 3))
    assert await world.units() == (96, 0, 0, 4, 0)
    assert [(loss.units, loss.reason) for loss in await world.rows("losses")] == [(3, "after_fence")]
    await world.sweep()
    assert len(await fenced(world)) == 1


async def test_a_lost_lease_of_an_ended_right_is_given_up_soon_and_lapses(
    world: World, lease: Granted
) -> None:
    await world.execute(f"UPDATE grants SET end_time = {int(world.now.timestamp()) + 10}")
    world.clock.advance(15)
    await world.sweep()
    assert await world.units() == (0, 0, 10, 0, 90)
    world.clock.advance(59)
    await world.sweep()
    assert await fenced(world) == []
    world.clock.advance(1)
    await world.sweep()
    await world.count(*await fenced(world))
    assert await world.units() == (0, 0, 0, 0, 100)


async def test_use_above_the_lease_is_a_loss(world: World, lease: Granted) -> None:
    await world.count(record(lease, 1, 12))
    assert await world.units() == (90, 0, 0, 10, 0)
    assert [(loss.units, loss.reason) for loss in await world.rows("losses")] == [(2, "above_lease")]


async def test_a_record_of_an_unknown_lease_is_a_loss(world: World, lease: Granted) -> None:
    stray = record(lease, 1, 7, lease_id="f" * 32, request_id="f" * 32 + "-1")
    await world.count(stray)
    assert await world.units() == (90, 10, 0, 0, 0)
    assert [(loss.units, loss.reason) for loss in await world.rows("losses")] == [(7, "unknown_lease")]


async def test_a_record_of_another_right_undoes_its_batch(world: World, lease: Granted) -> None:
    with pytest.raises(RecordContradictsLease):
        await world.count(record(lease, 1, 3), record(lease, 2, 1, grant_id="1:0x:1:0"))
    assert await world.units() == (90, 10, 0, 0, 0)


async def test_giving_a_lease_back_only_shortens_it(world: World, lease: Granted) -> None:
    async with transaction(world.engine) as session:
        await give_back(session, lease.lease_id, "somebody else", world.now)
        await give_back(session, lease.lease_id, "worker-1", world.now)
    assert await world.units() == (90, 10, 0, 0, 0)
    world.clock.advance(5)
    await world.sweep()
    assert await world.units() == (90, 0, 10, 0, 0)
