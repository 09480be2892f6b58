"""licensing and billing read one usage log, each at its own pace: what one calls spent, the other has billed.

It stands beside the services because it holds their consumers against each other; neither knows the other.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.timestamp_pb2 import Timestamp
from licet_billing.testing import builders
from licet_billing.testing.inbox import Inbox, Settings, make_inbox, raw
from licet_billing.usecases import intake
from licet_kit.clock import ManualClock
from licet_kit.db import open_engine, transaction
from licet_kit.ids import new_id
from licet_kit.kafka import Subscription, make_broker, replay
from licet_licensing.consumers.subscribers import UsageEvent, subscribe_all
from licet_licensing.testing import words
from licet_licensing.testing.world import World, record
from licet_licensing.usecases.leasing import Granted, RenewAsk
from licet_schemas import eip712
from licet_schemas.licet.chain.v1 import chain_pb2
from licet_schemas.licet.licensing.v1 import licensing_pb2
from licet_schemas.licet.usage.v1 import usage_pb2

SERVICES = Path(__file__).parents[2]
PRICE, STEPS = 7, 200
FAR = 10**6


@dataclass(slots=True)
class Worker:
    """One lease of a gateway that keeps `used <= lent`, its log, and how far each service has read it."""

    lease: Granted
    used: int = 0
    sequence: int = 0
    ended: bool = False
    fenced: bool = False
    log: list[usage_pb2.UsageRecorded | usage_pb2.LeaseFenced] = field(default_factory=list)
    counted: int = 0
    billed: int = 0


@dataclass(slots=True)
class Both:
    """Both services on databases of their own, and all that happens to them."""

    world: World
    records: Subscription[UsageEvent]
    inbox: Inbox
    rng: random.Random
    gateway: builders.Gateway
    workers: list[Worker] = field(default_factory=list)
    block: int = 20
    total: int = 1_000
    told: int = 0
    kinds: set[str] = field(default_factory=set)

    async def open(self) -> None:
        """The market, a license of 20 units and a deposit, as both services hear of them."""
        await self.world.market(included_units=20, unit_price=str(PRICE))
        await self.world.buy()
        await self.world.deposit(total=self.total)
        plan = words.planned(included_units=20, unit_price=str(PRICE))
        plan.contract = words.PLANBOOK
        key = chain_pb2.OperatorKeySet(
            operator=words.OPERATOR,
            receipt_key=eip712.address_of(builders.RECEIPT_KEY),
            valid_from=0,
            valid_until=2**40,
        )
        await self.inbox.send(plan, builders.ChainLog().event(words.ESCROW, operator_key_set=key))

    async def step(self) -> None:
        """One thing happens, or one service reads a little."""
        moves = [self.lend, self.call, self.call, self.call, self.renew, self.end, self.stray, self.repeat]
        moves += [self.wait, self.change_deposit, self.count, self.count, self.bill, self.bill, self.tell]
        await self.rng.choice(moves)()

    async def lend(self) -> None:
        ask = self.world.ask(await self.world.key_of(words.ALICE), wanted=self.rng.randint(1, 12))
        (answer,) = await self.world.answer(ask)
        if isinstance(answer, Granted):
            self.workers.append(Worker(answer))

    def _some(self) -> Worker | None:
        return self.rng.choice(self.workers) if self.workers else None

    def _write(self, worker: Worker, units: int, *, last: bool = False) -> None:
        worker.sequence += 1
        worker.used += units
        lease = worker.lease
        at = Timestamp(seconds=builders.NOW_S)
        said = record(
            lease,
            worker.sequence,
            units,
            last=last,
            account_lease=lease.account_lease,
            version_digest=words.DIGEST,
            metering_rule="request",
            price_book_version=lease.plan_key,
            started_at=at,
            ended_at=at,
            request_commitment=bytes(32),
            response_commitment=bytes(32),
        )
        if last and not units:
            said.outcome = usage_pb2.OUTCOME_ABORTED
        else:
            self.gateway.sign([said])
        worker.log.append(said)

    async def call(self) -> None:
        worker = self._some()
        if worker and not worker.ended and (left := worker.lease.units - worker.used):
            self._write(worker, self.rng.randint(0, min(3, left)))
            self.kinds.add("behind fence" if worker.fenced else "call")

    async def renew(self) -> None:
        worker = self._some()
        if worker and not worker.ended:
            ask = RenewAsk(new_id(), new_id().encode(), "worker-1", worker.lease.lease_id, 5)
            (answer,) = await self.world.answer(ask)
            if isinstance(answer, Granted):
                worker.lease = answer
                self.kinds.add("renewal")

    async def end(self) -> None:
        worker = self._some()
        if worker and not worker.ended and self.rng.random() < 0.3:
            worker.ended = True
            self._write(worker, self.rng.randint(0, worker.lease.units - worker.used), last=True)

    async def stray(self) -> None:
        """A record beyond the last one, which no gateway writes."""
        worker = self._some()
        if worker and worker.ended:
            self._write(worker, self.rng.randint(1, 3))
            self.kinds.add("behind end")

    async def repeat(self) -> None:
        worker = self._some()
        if worker and worker.log:
            worker.log.append(self.rng.choice(worker.log))
            self.kinds.add("repeated")

    async def wait(self) -> None:
        """Time passes, and now and then more than a day: licensing holds leases back, then gives them up."""
        self.world.clock.advance(self.rng.choice([1, 20]))
        await self.world.sweep()
        self.world.clock.advance(self.rng.choice([0, 0, 90_000]))
        await self.world.execute("UPDATE grants SET end_time = end_time + 90000 WHERE end_time > 0")
        await self.world.block(self.block)
        await self.world.sweep()
        by_id = {worker.lease.lease_id: worker for worker in self.workers}
        for fence in await self.world.told(usage_pb2.LeaseFenced):
            worker = by_id[fence.lease_id]
            if not worker.fenced:
                worker.fenced = True
                worker.log.append(fence)

    async def change_deposit(self) -> None:
        """More money, or less than what is lent already."""
        self.block += 1
        lower = self.rng.random() < 0.5
        self.total = self.rng.randint(0, self.total) if lower else self.total + self.rng.randint(1, 300)
        said = (words.exit_requested if lower else words.deposited)(self.block, self.total)
        await self.world.hear(said)
        await self.world.finality(self.block)
        self.kinds.add("lowered" if lower else "raised")

    async def count(self) -> None:
        if worker := self._some():
            await self._count(worker, self.rng.randint(1, 4))

    async def _count(self, worker: Worker, most: int) -> None:
        part = worker.log[worker.counted : worker.counted + most]
        worker.counted += len(part)
        await self.records.delivery.deliver([raw(each) for each in part])

    async def bill(self) -> None:
        if worker := self._some():
            await self._bill(worker, self.rng.randint(1, 4))

    async def _bill(self, worker: Worker, most: int) -> None:
        part: list[ProtobufMessage] = [*worker.log[worker.billed : worker.billed + most]]
        worker.billed += len(part)
        if part:
            await self.inbox.send(*part)

    async def tell(self) -> None:
        """Grants reach billing late, in their order; loss that they cover is taken back."""
        await self._tell(self.rng.randint(1, 3))

    async def _tell(self, most: int) -> None:
        states = (await self.world.told(licensing_pb2.GrantChanged))[self.told : self.told + most]
        self.told += len(states)
        for state in states:
            await self.inbox.send(state)
        async with transaction(self.inbox.engine) as session:
            for grant_id in await intake.grants_to_cover(session, FAR):
                await intake.cover_late(session, grant_id)

    async def finish(self) -> None:
        """Both read all that there is; what waited for its grant is tried again."""
        for worker in self.workers:
            await self._count(worker, FAR)
            await self._bill(worker, FAR)
        await self.world.sweep()
        await self._tell(FAR)
        for held in await self.inbox.rows("SELECT key FROM quarantine"):
            await replay(self.inbox.subscription("usage.recorded"), held.key)
        await self._tell(FAR)

    async def compare(self) -> None:
        """The same amount of each grant, and loss for the same records."""
        assert await self.inbox.rows("SELECT key, detail FROM quarantine") == []
        assert await self.world.rows("quarantine") == []
        spent = {row.grant_id: int(row.spent) for row in await self.world.rows("grants") if row.spent}
        charged = await self.inbox.rows("SELECT grant_id, charged, granted FROM grants WHERE charged > 0")
        lost = {row.loss_id for row in await self.world.rows("losses")}
        unbilled = await self.inbox.rows(
            "SELECT request_id FROM charges WHERE disposition <> 'billed' AND units > 0"
        )
        assert {row.request_id for row in unbilled} == lost
        assert {row.grant_id: int(row.charged) for row in charged} == spent
        assert all(row.charged <= row.granted for row in charged)


@pytest.fixture
async def pair(
    database: Callable[..., Awaitable[str]], manual_clock: ManualClock
) -> AsyncIterator[tuple[World, Subscription[UsageEvent], Inbox]]:
    """Both services' consumers on real databases."""
    urls = [await database(SERVICES / name / "migrations") for name in ("licensing", "billing")]
    async with open_engine(urls[0]) as licensing, open_engine(urls[1]) as billing:
        settings = Settings.model_validate({"kafka_bootstrap": "127.0.0.1:1"})
        hung = subscribe_all(make_broker(settings), settings, licensing, words.CONTRACTS, manual_clock)
        records = next(each for each in hung if each.delivery.place.topic == "usage.recorded")
        inbox = make_inbox(billing, words.CHAIN_ID, words.ESCROW, words.OPERATOR)
        yield World(licensing, manual_clock), records, inbox


@pytest.mark.parametrize("seed", range(6))
async def test_every_record_is_spent_and_billed_or_lost_for_both(
    pair: tuple[World, Subscription[UsageEvent], Inbox], seed: int
) -> None:
    gateway = builders.Gateway(
        chain_id=words.CHAIN_ID, escrow=words.ESCROW, plan_book=words.PLANBOOK, operator=words.OPERATOR
    )
    both = Both(*pair, random.Random(seed), gateway)
    await both.open()
    for _ in range(STEPS):
        await both.step()
    await both.finish()
    await both.compare()
    assert len(both.kinds) >= 6, both.kinds
