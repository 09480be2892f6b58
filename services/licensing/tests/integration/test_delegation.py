"""A delegated license is lent to its user alone, while the delegation lasts and no longer."""

from __future__ import annotations

from dataclasses import replace

from licet_licensing.domain.codes import Code
from licet_licensing.testing.words import (
    ALICE,
    BOB,
    NOBODY,
    PERIOD_S,
    address,
    delegated,
    grant_id,
    renewed,
    retracted,
    returned,
    transferred,
)
from licet_licensing.testing.world import World, record
from licet_licensing.usecases.leasing import RenewAsk
from licet_schemas.licet.licensing.v1 import licensing_pb2 as licensing

CAROL = address("carol")


async def lent_to_bob(world: World, seconds: int = 60) -> int:
    """A final license of Alice's that Bob may use for a while; returns until when."""
    await world.market()
    await world.buy()
    until = int(world.now.timestamp()) + seconds
    await world.hear(delegated(7, BOB, until))
    return until


async def test_a_delegation_gives_the_license_to_its_user_and_kills_the_holders_leases(world: World) -> None:
    await world.market()
    await world.buy()
    lease = await world.lease(wanted=10)
    await world.hear(delegated(7, BOB, int(world.now.timestamp()) + 60))
    assert await world.revocations() == [(grant_id(), 2, "license_delegated")]
    assert (await world.refusal(ALICE)).code == Code.LICENSE_DELEGATED
    kept = RenewAsk("renewal", b"", "worker-1", lease.lease_id, 10)
    (answer,) = await world.answer(kept)
    assert getattr(answer, "code", "") == Code.LICENSE_DELEGATED
    (row,) = await world.rows("grants")
    assert (row.wallet, row.user_wallet) == (ALICE, BOB)
    used = await world.lease(BOB, wanted=10)
    assert (used.grant_id, used.generation) == (grant_id(), 2)
    # What Bob uses is spent of the license's units, and only once.
    await world.count(record(used, 1, 10, last=True), record(lease, 1, 0, last=True))
    assert await world.units() == (90, 0, 0, 10, 0)
    told = (await world.told(licensing.GrantChanged))[-1]
    assert (told.wallet, told.user, told.user_until) == (ALICE, BOB, row.user_until)


async def test_no_lease_outlives_the_delegation_and_then_the_holder_calls_again(world: World) -> None:
    until = await lent_to_bob(world, seconds=4)
    used = await world.lease(BOB, wanted=1)
    assert used.expires_at == until
    world.clock.advance(3)
    (kept,) = await world.answer(RenewAsk("renewal", b"", "worker-1", used.lease_id, 1))
    assert getattr(kept, "expires_at", 0) == until
    world.clock.advance(1)
    assert (await world.refusal(BOB)).code == Code.DELEGATION_ENDED
    (over,) = await world.answer(RenewAsk("renewal again", b"", "worker-1", used.lease_id, 1))
    assert getattr(over, "code", "") == Code.DELEGATION_ENDED
    await world.lease(ALICE)
    # Time alone revoked nothing: no lease of the user's was lent beyond it.
    assert await world.revocations() == [(grant_id(), 2, "license_delegated")]


async def test_a_delegation_that_is_taken_back_ends_at_once(world: World) -> None:
    await lent_to_bob(world)
    assert (await world.lease(BOB)).generation == 2
    await world.hear(delegated(8, NOBODY, 0))
    assert (await world.revocations())[-1] == (grant_id(), 3, "delegation_ended")
    assert (await world.refusal(BOB)).code == Code.DELEGATION_ENDED
    assert (await world.lease(ALICE)).generation == 3


async def test_an_earlier_end_revokes_and_a_later_one_does_not(world: World) -> None:
    until = await lent_to_bob(world)
    await world.hear(delegated(8, BOB, until + 60))
    assert (await world.lease(BOB)).generation == 2
    await world.hear(delegated(9, BOB, until))
    assert (await world.revocations())[-1] == (grant_id(), 3, "delegation_ended")
    assert (await world.lease(BOB)).generation == 3


async def test_a_new_user_replaces_the_old_one(world: World) -> None:
    until = await lent_to_bob(world)
    await world.hear(delegated(8, CAROL, until))
    assert (await world.revocations())[-1] == (grant_id(), 3, "delegation_ended")
    assert (await world.refusal(BOB)).code == Code.LICENSE_MISSING
    assert (await world.lease(CAROL)).generation == 3


async def test_a_transfer_ends_the_delegation_whatever_is_heard_of_it(world: World) -> None:
    await lent_to_bob(world)
    await world.hear(transferred(8, ALICE, CAROL))
    assert (await world.refusal(BOB)).code == Code.DELEGATION_ENDED
    assert (await world.refusal(ALICE)).code == Code.LICENSE_TRANSFERRED
    generation = (await world.lease(CAROL)).generation
    await world.hear(delegated(8, NOBODY, 0, log=1))
    assert (await world.lease(CAROL)).generation == generation


async def test_a_delegation_that_a_reorg_takes_away_and_gives_again(world: World) -> None:
    until = await lent_to_bob(world)
    said = world.sent[-1]
    await world.hear(retracted(said))
    assert (await world.refusal(BOB)).code == Code.LICENSE_MISSING
    assert (await world.lease(ALICE)).generation == 3
    await world.hear(returned(said))
    assert (await world.refusal(ALICE)).code == Code.LICENSE_DELEGATED
    assert (await world.lease(BOB)).generation == 4
    assert (await world.grant()).user_until == until


async def test_events_in_another_order_say_the_same(world: World) -> None:
    await world.market()
    until = int(world.now.timestamp()) + 60
    await world.hear(delegated(8, NOBODY, 0), delegated(7, CAROL, until), delegated(9, BOB, until))
    await world.buy()
    assert (await world.lease(BOB)).grant_id == grant_id()
    assert (await world.refusal(ALICE)).code == Code.LICENSE_DELEGATED


async def test_every_window_is_the_users_and_a_renewal_does_not_lengthen_the_delegation(world: World) -> None:
    until = await lent_to_bob(world)
    end = (await world.grant()).end_time
    await world.hear(renewed(8, 1, end + PERIOD_S))
    await world.finality(8)
    for window in (0, 1):
        row = await world.grant(grant_id(1, window))
        assert (row.user_wallet, row.user_until) == (BOB, until)
    world.clock.advance(60)
    await world.block(9)
    assert (await world.refusal(BOB)).code == Code.DELEGATION_ENDED
    await world.lease(ALICE)


async def test_a_user_pays_beyond_the_included_units_from_its_own_deposit_alone(world: World) -> None:
    await world.market(unit_price="1", included_units=0, optimistic_units=0)
    await world.buy()
    await world.deposit(6, payer=ALICE)
    await world.hear(delegated(7, BOB, int(world.now.timestamp()) + 5))
    assert (await world.refusal(BOB)).code == Code.QUOTA_EXHAUSTED
    assert (await world.refusal(ALICE)).code == Code.LICENSE_DELEGATED
    await world.hear(delegated(8, NOBODY, 0))
    assert (await world.lease(ALICE)).requires_grant_id == grant_id()


async def test_a_delegation_of_a_plan_that_another_operator_serves_is_worth_nothing_here(
    world: World,
) -> None:
    await lent_to_bob(world)
    world.policy = replace(world.policy, operator=CAROL)
    assert (await world.refusal(BOB)).code == Code.LICENSE_MISSING
