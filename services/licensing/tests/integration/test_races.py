"""Races on real connections: what two transactions at once must never do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from licet_kit.db import transaction
from licet_kit.ids import new_id
from licet_kit.testing.plugin import Eventually
from licet_licensing.testing.words import (
    ALICE,
    BOB,
    activated,
    grant_id,
    planned,
    registered,
    renewed,
    transferred,
)
from licet_licensing.testing.world import World, record
from licet_licensing.usecases import identity, leasing
from licet_licensing.usecases.leasing import Answer, Denied, Granted, LeaseAsk
from sqlalchemy import text


async def race(world: World, batches: Sequence[Sequence[LeaseAsk]]) -> list[Answer]:
    """Answers of batches that run at once, each on a connection of its own; a deadlock fails the test."""

    async def one(asks: Sequence[LeaseAsk]) -> list[Answer]:
        async with transaction(world.engine) as session:
            answers = await leasing.answer(session, asks, world.policy, world.now)
        return list(answers.values())

    return [answer for answers in await asyncio.gather(*map(one, batches)) for answer in answers]


async def blocked(world: World, task: asyncio.Task[Any]) -> bool:
    """Whether the task is done, or a transaction of this database waits for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with world.engine.connect() as connection:
        return task.done() or bool(await connection.scalar(text(waiting)))


async def test_many_workers_drain_one_grant_exactly(world: World) -> None:
    await world.market()
    await world.buy()
    key = await world.key_of(ALICE)
    asks = [world.ask(key, wanted=7, worker_id=f"w{n}") for n in range(60)]
    answers = await race(world, [asks[n : n + 4] for n in range(0, 60, 4)])
    while not any(isinstance(answer, Denied) for answer in answers):
        answers += await race(world, [[world.ask(key, wanted=7, worker_id=f"w{n}")] for n in range(8)])
    granted = [answer for answer in answers if isinstance(answer, Granted)]
    assert sum(lease.units for lease in granted) == 100
    assert sorted(lease.account_lease for lease in granted) == list(range(1, len(granted) + 1))
    assert await world.units() == (0, 100, 0, 0, 0)


async def test_accounts_and_consumers_in_any_order_never_wait_in_a_circle(world: World) -> None:
    """Two accounts, two tokens, leases and records at once: each transaction takes both grants."""
    await world.market()
    await world.buy(5, token_id=1)
    await world.buy(6, token_id=2, to=BOB, log=1)
    alice, bob = await world.key_of(ALICE), await world.key_of(BOB)
    held = [await world.lease(ALICE, wanted=4), await world.lease(BOB, wanted=4)]

    async def lend(first: bytes, second: bytes) -> list[Answer]:
        return await race(world, [[world.ask(first, wanted=1), world.ask(second, wanted=1)]])

    async def count(sequence: int) -> None:
        pair = [record(lease, sequence, 1) for lease in held]
        await world.count(*(pair if sequence % 2 else reversed(pair)))

    await asyncio.gather(
        *(lend(alice, bob) for _ in range(6)), *(lend(bob, alice) for _ in range(6)), *map(count, range(1, 5))
    )
    for token_id in (1, 2):
        assert await world.units(grant_id(token_id)) == (84, 12, 0, 4, 0)


async def test_a_batch_takes_the_lower_grant_first(world: World, eventually: Eventually) -> None:
    """While it waits for the first grant it must not hold the second, or two transactions wait for each other."""
    await world.market()
    await world.buy(5, token_id=1)
    await world.buy(6, token_id=2, to=BOB, log=1)
    asks = [world.ask(await world.key_of(wallet), wanted=1) for wallet in (BOB, ALICE)]
    held = [await world.lease(ALICE, wanted=4), await world.lease(BOB, wanted=4)]
    async with transaction(world.engine) as session:
        await world.consumers.on_usage(session, world.used(record(held[0], 1)))
        batch = asyncio.create_task(world.answer(*asks))
        await eventually(lambda: blocked(world, batch))
        await world.consumers.on_usage(session, world.used(record(held[1], 1)))
    assert all(isinstance(answer, Granted) for answer in await batch)


async def test_a_transfer_beside_leases_leaves_no_lease_of_the_new_generation_to_the_giver(
    world: World,
) -> None:
    await world.market()
    await world.buy()
    key = await world.key_of(ALICE)
    asks = [[world.ask(key, wanted=1)] for _ in range(16)]
    answers, _ = await asyncio.gather(race(world, asks), world.hear(transferred(7, ALICE, BOB)))
    generations = {answer.generation for answer in answers if isinstance(answer, Granted)}
    assert generations <= {1}
    assert (await world.grant()).generation == 2
    refused = {answer.code for answer in answers if isinstance(answer, Denied)}
    assert refused <= {"license_transferred", "license_missing"}


async def test_events_and_finality_of_one_token_at_once_lose_neither(world: World) -> None:
    """The renewal and the finality of its purchase meet: each must see what the other wrote."""
    await world.hear(registered(), activated(), planned())
    for token_id in range(1, 9):
        await world.hear(world.purchased(5, token_id=token_id, log=token_id))
    await world.block(5)
    moves = []
    for token_id in range(1, 9):
        moved = transferred(6, ALICE, BOB, token_id=token_id)
        moved.log_index = token_id
        moves.append(moved)
    await asyncio.gather(*(world.sweep() for _ in range(4)), *(world.hear(moved) for moved in moves))
    for token_id in range(1, 9):
        row = await world.grant(grant_id(token_id))
        assert (row.wallet, row.free, row.state) == (BOB, 100, "live")


async def test_two_consumers_of_one_token_see_each_others_events(
    world: World, eventually: Eventually
) -> None:
    """A consumer that lost its partition and has not noticed works on the purchase, its successor on the transfer."""
    await world.market()
    handler = world.consumers.on_chain_events
    async with transaction(world.engine) as late:
        await handler(late, [world.message(world.purchased(5), "chain.event")])
        successor = asyncio.create_task(world.hear(transferred(7, ALICE, BOB)))
        await eventually(lambda: blocked(world, successor))
    await successor
    assert (await world.grant()).wallet == BOB


async def test_sweeps_of_two_replicas_at_once_do_each_thing_once(world: World) -> None:
    await world.market()
    await world.buy()
    for _ in range(10):
        await world.lease(wanted=2)
    world.clock.advance(15)
    await asyncio.gather(*(world.sweep() for _ in range(6)))
    assert await world.units() == (80, 0, 20, 0, 0)
    world.clock.advance(24 * 3600)
    await asyncio.gather(*(world.sweep() for _ in range(6)))
    fences = [row for row in await world.rows("outbox") if row.headers["ce_type"].endswith("LeaseFenced")]
    assert len(fences) == len({row.event_id for row in fences}) == 10


async def test_an_account_is_opened_once_for_a_wallet_that_signs_in_twice_at_once(world: World) -> None:
    async def sign_in() -> str:
        async with transaction(world.engine) as session:
            opened = await identity.sign_in(
                session,
                message=new_id(),
                nonce=new_id(),
                wallet=ALICE,
                now=world.now,
                lifetime=timedelta(hours=1),
            )
        return opened.account_id

    accounts = await asyncio.gather(*(sign_in() for _ in range(8)))
    assert len(set(accounts)) == 1
    assert len(await world.rows("accounts")) == 1
    assert len(await world.rows("sessions")) == 8


async def test_windows_of_a_renewed_license_are_drained_in_the_order_of_their_ends(world: World) -> None:
    await world.market()
    await world.buy()
    await world.hear(renewed(7, 1, (await world.grant()).end_time + 10))
    await world.finality(7)
    key = await world.key_of(ALICE)
    await race(world, [[world.ask(key, wanted=10)] for _ in range(15)])
    assert await world.units(grant_id(1, 0)) == (0, 100, 0, 0, 0)
    assert await world.units(grant_id(1, 1)) == (50, 50, 0, 0, 0)
