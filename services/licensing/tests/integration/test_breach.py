"""A license that was revoked for a breach is used by nobody any more."""

from __future__ import annotations

from licet_licensing.domain.codes import Code
from licet_licensing.testing.words import (
    ALICE,
    BOB,
    NOBODY,
    PERIOD_S,
    breached,
    delegated,
    grant_id,
    renewed,
    retracted,
    returned,
    transferred,
)
from licet_licensing.testing.world import World, record


async def revoked(world: World, number: int = 8) -> None:
    await world.hear(breached(number, int(world.now.timestamp())))


async def test_a_revocation_ends_the_grant_and_its_leases_at_once(world: World) -> None:
    await world.market()
    await world.buy()
    lease = await world.lease(wanted=10)
    await revoked(world)
    assert await world.revocations() == [(grant_id(), 2, "license_revoked")]
    assert (await world.refusal(ALICE)).code == Code.LICENSE_REVOKED
    assert (await world.grant()).state == "revoked"
    # What was used before is spent as before.
    await world.count(record(lease, 1, 3, last=True))
    assert (await world.grant()).spent == 3
    await world.finality(8)
    assert (await world.refusal(ALICE)).code == Code.LICENSE_REVOKED


async def test_a_revocation_ends_every_window_and_the_delegation(world: World) -> None:
    await world.market()
    await world.buy()
    end = (await world.grant()).end_time
    await world.hear(renewed(6, 1, end + PERIOD_S), delegated(7, BOB, end))
    await world.finality(7)
    await world.lease(BOB)
    await revoked(world)
    await world.hear(delegated(8, NOBODY, 0, log=1))
    for window in (0, 1):
        assert (await world.grant(grant_id(1, window))).state == "revoked"
    assert (await world.refusal(BOB)).code == Code.DELEGATION_ENDED
    assert (await world.refusal(ALICE)).code == Code.LICENSE_REVOKED


async def test_a_revocation_that_a_reorg_takes_back_and_gives_again(world: World) -> None:
    await world.market()
    await world.buy()
    await revoked(world)
    said = world.sent[-1]
    await world.hear(retracted(said))
    generation = (await world.lease(ALICE)).generation
    await world.hear(returned(said))
    assert (await world.refusal(ALICE)).code == Code.LICENSE_REVOKED
    assert (await world.revocations())[-1] == (grant_id(), generation + 1, "license_revoked")


async def test_nothing_that_is_heard_later_revives_it(world: World) -> None:
    await world.market()
    await world.buy()
    await revoked(world, 9)
    end = (await world.grant()).end_time
    await world.hear(transferred(7, ALICE, BOB), renewed(8, 1, end + PERIOD_S))
    await world.finality(9)
    assert (await world.refusal(BOB)).code == Code.LICENSE_REVOKED
    assert (await world.refusal(ALICE)).code == Code.LICENSE_TRANSFERRED
    await world.sweep()
    assert (await world.grant()).state == "revoked"
