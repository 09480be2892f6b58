"""A license that its holder takes into the next generation keeps its grant, and what was used of it."""

from __future__ import annotations

import itertools

import pytest
from licet_licensing.domain.codes import Code
from licet_licensing.events import Contracts, facts_of
from licet_licensing.testing.words import (
    ALICE,
    ASSET_ID,
    BOB,
    CHAIN_ID,
    ESCROW,
    LICENSE,
    NOBODY,
    PERIOD_S,
    PLANBOOK,
    event,
    grant_id,
    planned,
    renewed,
    retracted,
    transferred,
)
from licet_licensing.testing.world import World, record
from licet_schemas.licet.chain.v1 import chain_pb2 as chain

NEXT = "0x" + "0e2e" * 10


def migrated(number: int, holder: str = ALICE) -> chain.ChainEvent:
    payload = chain.LicenseMigrated(token_id="1", plan_id="1", asset_id=ASSET_ID, holder=holder)
    setattr(payload, "from", LICENSE)
    return event(number, 1, license_migrated=payload)


async def used(world: World) -> None:
    """A license with 30 of 100 units spent and 10 lent."""
    await world.buy()
    lease = await world.lease(wanted=40)
    await world.count(record(lease, 1, 30))


async def test_units_stay_spent_and_the_grant_goes_on(world: World) -> None:
    await world.market()
    await used(world)
    before = await world.grant()
    await world.hear(transferred(8, ALICE, NOBODY), migrated(8))
    await world.finality(8)
    after = await world.grant()
    assert (after.grant_id, after.wallet, after.state) == (before.grant_id, ALICE, "live")
    assert await world.units() == (60, 10, 0, 30, 0)
    assert len(await world.rows("grants")) == 1
    assert (await world.lease(wanted=60)).units == 60
    assert (await world.refusal()).code == Code.QUOTA_EXHAUSTED


async def test_between_burn_and_arrival_nobody_uses_it(world: World) -> None:
    await world.market()
    await used(world)
    await world.hear(transferred(8, ALICE, NOBODY))
    assert (await world.refusal()).code == Code.LICENSE_TRANSFERRED
    await world.hear(migrated(8))
    assert (await world.lease(wanted=5)).units == 5
    assert await world.units() == (55, 15, 0, 30, 0)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_order_and_repetition_do_not_matter(world: World, order: tuple[int, ...]) -> None:
    await world.market()
    await used(world)
    end = int(world.now.timestamp()) + 2 * PERIOD_S
    said = [transferred(8, ALICE, NOBODY), migrated(8), renewed(9, 1, end)]
    for index in (*order, *order):
        await world.hear(said[index])
    await world.finality(9)
    assert await world.units(grant_id(window=1)) == (100, 0, 0, 0, 0)
    assert (await world.grant()).spent == 30
    assert (await world.lease()).grant_id == grant_id()


async def test_a_license_that_its_plan_binds_migrates_all_the_same(world: World) -> None:
    await world.market(transferable=False)
    await used(world)
    await world.hear(transferred(8, ALICE, NOBODY))
    await world.hear(migrated(8))
    assert (await world.lease(wanted=5)).units == 5


async def test_it_moves_on_in_the_next_generation(world: World) -> None:
    await world.market()
    await used(world)
    await world.hear(transferred(8, ALICE, NOBODY), migrated(8), transferred(9, ALICE, BOB))
    assert (await world.refusal(ALICE)).code == Code.LICENSE_TRANSFERRED
    assert (await world.lease(BOB, wanted=5)).units == 5


async def test_a_reorganisation_takes_a_migration_back(world: World) -> None:
    await world.market()
    await used(world)
    burn, arrival = transferred(8, ALICE, NOBODY), migrated(8)
    await world.hear(burn, arrival)
    await world.hear(retracted(burn), retracted(arrival))
    assert (await world.lease(wanted=5)).units == 5
    assert (await world.grant()).spent == 30


def test_a_license_is_named_by_the_contract_that_issued_it() -> None:
    contracts = Contracts({CHAIN_ID: (NEXT, PLANBOOK, ESCROW)}, {CHAIN_ID: (LICENSE,)})
    [first] = facts_of(migrated(8), contracts)
    assert first.subject == f"license:{CHAIN_ID}:{LICENSE}:1"
    fresh = chain.LicenseRenewed(token_id=str((1 << 64) + 1), plan_id="1", asset_id=ASSET_ID)
    [second] = facts_of(event(9, license_renewed=fresh), contracts)
    assert second.subject == f"license:{CHAIN_ID}:{NEXT}:{(1 << 64) + 1}"
    assert facts_of(planned(), contracts)
