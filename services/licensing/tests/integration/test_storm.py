"""A storm on the real database: honest workers, an unreliable network, a chain that reorganises, time that passes.

Invariant 2: nothing is billed above what is granted, and what was served and not billed is accounted for, unit by unit.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from licet_kit.ids import new_id
from licet_licensing.testing.words import (
    ALICE,
    BOB,
    DEPOSIT_GRANT,
    PERIOD_S,
    deposited,
    exit_requested,
    renewed,
    retracted,
    returned,
    transferred,
)
from licet_licensing.testing.world import World, record
from licet_licensing.usecases.leasing import Granted, RenewAsk
from licet_schemas.licet.chain.v1 import chain_pb2 as chain
from licet_schemas.licet.usage.v1 import usage_pb2 as usage

STEPS = 160
PRICE = 7


@dataclass(slots=True)
class Worker:
    """A gateway worker that keeps to its lease."""

    lease: Granted
    used: int = 0
    sequence: int = 0
    over: bool = False


@dataclass(slots=True)
class Storm:
    world: World
    rng: random.Random
    block: int = 20
    workers: list[Worker] = field(default_factory=list)
    pending: list[usage.UsageRecorded | usage.LeaseFenced] = field(default_factory=list)
    fences_taken: int = 0
    seen: set[str] = field(default_factory=set)
    recent: list[chain.ChainEvent] = field(default_factory=list)
    gone: list[chain.ChainEvent] = field(default_factory=list)
    holder: str = ALICE
    ordinal: int = 0
    total: int = 2_000
    served: Counter[str] = field(default_factory=Counter)

    async def step(self) -> None:
        """One thing happens."""
        things = {
            self.lend: 6,
            self.call: 8,
            self.deliver: 8,
            self.renew: 2,
            self.pass_time: 2,
            self.pass_long: 1,
            self.transfer: 1,
            self.buy_on: 3,
            self.exit_or_deposit: 1,
            self.reorganise: 2,
            self.return_blocks: 1,
            self.finalise: 1,
        }
        await self.rng.choices(list(things), list(things.values()))[0]()
        await self.look()

    async def lend(self) -> None:
        wallet = self.rng.choice([ALICE, BOB])
        ask = self.world.ask(
            await self.world.key_of(wallet), wanted=self.rng.randint(1, 60), worker_id=self.rng.choice("ab")
        )
        for answer in await self.world.answer(*[ask] * self.rng.randint(1, 2)):
            if isinstance(answer, Granted) and all(w.lease.lease_id != answer.lease_id for w in self.workers):
                self.workers.append(Worker(answer))

    def _alive(self) -> list[Worker]:
        now = self.world.now.timestamp()
        return [w for w in self.workers if not w.over and now < w.lease.expires_at]

    async def call(self) -> None:
        alive = self._alive()
        if alive:
            worker = self.rng.choice(alive)
            units = self.rng.randint(0, min(30, worker.lease.units - worker.used))
            self._record(worker, units, last=self.rng.random() < 0.3)

    def _record(self, worker: Worker, units: int, *, last: bool) -> None:
        worker.used += units
        worker.sequence += 1
        worker.over = last
        self.served[worker.lease.grant_id] += units * (PRICE if worker.lease.source == "deposit" else 1)
        self.pending.append(record(worker.lease, worker.sequence, units, last=last))

    async def deliver(self) -> None:
        """Some records arrive, in any order, some of them again; fences keep their place in the log."""
        for told in (await self.world.told(usage.LeaseFenced))[self.fences_taken :]:
            self.fences_taken += 1
            self.pending.append(told)
        self.rng.shuffle(self.pending)
        batch = [self.pending.pop() for _ in range(min(len(self.pending), self.rng.randint(1, 6)))]
        fresh = [each for each in batch if _name(each) not in self.seen]
        self.seen |= {_name(each) for each in fresh}
        self.pending += [each for each in batch if self.rng.random() < 0.2]
        if fresh:
            await self.world.count(*fresh)

    async def renew(self) -> None:
        alive = self._alive()
        if alive:
            worker = self.rng.choice(alive)
            ask = RenewAsk(
                new_id(), b"", worker.lease.decision_id, worker.lease.lease_id, self.rng.randint(0, 5)
            )
            row = (await self.world.rows("leases", lease_id=worker.lease.lease_id))[0]
            ask = RenewAsk(ask.request_id, b"", row.worker_id, ask.lease_id, ask.wanted)
            (answer,) = await self.world.answer(ask)
            if isinstance(answer, Granted):
                worker.lease = answer

    async def pass_time(self) -> None:
        self.world.clock.advance(self.rng.randint(1, 8))
        await self.world.block(self.block - 10)
        await self.world.sweep()

    async def pass_long(self) -> None:
        self.world.clock.advance(self.rng.choice([20, 90_000]))
        await self.world.block(self.block - 10)
        await self.world.sweep()

    async def _hear(self, said: chain.ChainEvent) -> None:
        self.recent.append(said)
        await self.world.hear(said)

    async def transfer(self) -> None:
        self.block += 1
        taker = BOB if self.holder == ALICE else ALICE
        await self._hear(transferred(self.block, self.holder, taker))
        self.holder = taker

    async def buy_on(self) -> None:
        self.block += 1
        self.ordinal += 1
        end = int(self.world.now.timestamp()) + PERIOD_S
        await self._hear(renewed(self.block, self.ordinal, end))

    async def exit_or_deposit(self) -> None:
        self.block += 1
        if self.rng.random() < 0.5:
            self.total = self.rng.randint(0, self.total)
            await self._hear(exit_requested(self.block, self.total))
        else:
            self.total += self.rng.randint(1, 1_000)
            await self._hear(deposited(self.block, self.total))

    async def reorganise(self) -> None:
        for _ in range(min(len(self.recent), self.rng.randint(1, 3))):
            said = self.recent.pop()
            self.gone.append(said)
            await self.world.hear(retracted(said))

    async def return_blocks(self) -> None:
        while self.gone:
            said = returned(self.gone.pop())
            self.recent.append(said)
            await self.world.hear(said)

    async def finalise(self) -> None:
        await self.return_blocks()
        self.recent.clear()
        await self.world.finality(self.block)

    async def look(self) -> None:
        """What must hold after every step."""
        grants = await self.world.rows("grants")
        leases = await self.world.rows("leases")
        for grant in grants:
            parts = (grant.free, grant.leased, grant.suspended, grant.spent, grant.lapsed)
            assert grant.granted == sum(parts)
            assert min(parts) >= 0
            assert grant.spent <= grant.granted
            held = [lease for lease in leases if lease.grant_id == grant.grant_id]
            assert grant.leased == sum(x.remaining for x in held if x.state == "active")
            assert grant.suspended == sum(x.remaining for x in held if x.state in ("suspended", "fencing"))
            if grant.source == "license":
                assert grant.shortage == 0
                assert grant.granted <= 100

    async def end(self) -> None:
        """Everything arrives at last: each unit that was served is billed, owed, or lost for a reason."""
        await self.finalise()
        for worker in self.workers:
            if not worker.over:
                self._record(worker, 0, last=True)
        while self.pending or self.fences_taken < len(await self.world.told(usage.LeaseFenced)):
            await self.deliver()
        await self.look()
        assert {row.state for row in await self.world.rows("leases")} <= {"closed", "fenced"}
        billed = {row.grant_id: row.spent for row in await self.world.rows("grants")}
        losses = await self.world.rows("losses")
        assert {row.reason for row in losses} <= {"after_fence", "right_retracted"}
        lost = sum(row.units for row in losses if row.reason == "after_fence")
        owed = sum(row.units for row in await self.world.rows("debts"))
        assert sum(billed.values()) + lost + owed == sum(self.served.values())
        deposit = sum(row.units for row in losses if row.grant_id == DEPOSIT_GRANT)
        assert billed[DEPOSIT_GRANT] + deposit == self.served[DEPOSIT_GRANT]
        for account_id in {worker.lease.account_id for worker in self.workers}:
            ordinals = sorted(w.lease.account_lease for w in self.workers if w.lease.account_id == account_id)
            assert ordinals == list(range(1, len(ordinals) + 1))


def _name(said: usage.UsageRecorded | usage.LeaseFenced) -> str:
    return said.event_id if isinstance(said, usage.LeaseFenced) else said.request_id


@pytest.mark.parametrize("seed", [1, 2, random.randrange(2**32)], ids=["one", "two", "any"])
async def test_no_unit_is_lost_or_billed_twice_in_a_storm(world: World, seed: int) -> None:
    await world.market(unit_price=str(PRICE), optimistic_units=30, optimistic_amount="300")
    await world.hear(world.purchased(18), deposited(19, 2_000))
    storm = Storm(world, random.Random(seed))
    await storm.finalise()
    try:
        for _ in range(STEPS):
            await storm.step()
        await storm.end()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}") from error
