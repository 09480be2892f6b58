"""Licensing's database, what it hears of, and the questions that tests ask of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.message import Message as ProtobufMessage
from licet_kit.clock import ManualClock
from licet_kit.db import transaction
from licet_kit.ids import new_id
from licet_kit.kafka import Message
from licet_schemas.licet.chain.v1 import chain_pb2 as chain
from licet_schemas.licet.licensing.v1 import licensing_pb2 as licensing
from licet_schemas.licet.usage.v1 import usage_pb2 as usage
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_licensing.consumers.subscribers import Consumers
from licet_licensing.consumers.sweeper import Sweeper
from licet_licensing.db.tables import metadata
from licet_licensing.domain.scene import Ask, Policy
from licet_licensing.testing.words import (
    ALICE,
    ASSET_ID,
    CONTRACTS,
    OPERATOR,
    PERIOD_S,
    SLUG,
    activated,
    block_said,
    deposited,
    event,
    grant_id,
    planned,
    registered,
)
from licet_licensing.usecases import identity, leasing
from licet_licensing.usecases.board import Need
from licet_licensing.usecases.leasing import Denied, Granted, LeaseAsk, RenewAsk
from licet_licensing.usecases.sweeping import Terms

POLICY = Policy(operator=OPERATOR, ttl_s=10, retry_after_ms=500, mirror_silence_s=60)
TERMS = Terms(
    grace=timedelta(seconds=5),
    horizon=timedelta(hours=24),
    floor=timedelta(seconds=60),
    decisions_kept=timedelta(days=30),
)


@dataclass(slots=True)
class World:
    """One licensing database and the chain that it hears of."""

    engine: AsyncEngine
    clock: ManualClock
    policy: Policy = POLICY
    sent: list[chain.ChainEvent] = field(default_factory=list)
    keys: dict[str, bytes] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        return self.clock.now()

    @property
    def consumers(self) -> Consumers:
        return Consumers(CONTRACTS, self.clock)

    @property
    def sweeper(self) -> Sweeper:
        return Sweeper(self.engine, TERMS, self.clock, interval_s=0.01)

    async def hear(self, *said: chain.ChainEvent) -> None:
        """Take in chain events as one batch."""
        self.sent.extend(said)
        async with transaction(self.engine) as session:
            await self.consumers.on_chain_events(
                session, [self.message(each, "chain.event") for each in said]
            )

    async def finality(self, number: int) -> None:
        """A block becomes final, and the sweep applies it."""
        await self.block(number)
        await self.sweep()

    async def block(self, number: int) -> None:
        """The indexer tells of a final block, and is alive with it."""
        async with transaction(self.engine) as session:
            await self.consumers.on_finality(session, self.message(block_said(number), "chain.finality"))

    async def sweep(self) -> None:
        """One round of every sweep."""
        await self.sweeper.sweep()

    def message(self, value: Any, topic: str, event_id: str = "", key: str = "") -> Message[Any]:
        """A message as kit hands it to a consumer."""
        return Message(
            topic=topic,
            key=key,
            event_id=event_id or getattr(value, "event_id", "") or new_id(),
            value=value,
            headers={},
            timestamp=self.now,
        )

    async def market(self, **plan: Any) -> None:
        """A model with an active version and one plan, all final."""
        await self.hear(registered(), activated(), planned(**plan))
        await self.finality(2)

    def purchased(
        self,
        number: int = 5,
        *,
        token_id: int = 1,
        to: str = ALICE,
        payer: str = "",
        fork: str = "a",
        log: int = 0,
        trial: bool = False,
    ) -> chain.ChainEvent:
        """A purchase in a block; the term begins now."""
        start = int(self.now.timestamp())
        payload = chain.LicensePurchased(
            token_id=str(token_id),
            plan_id="1",
            asset_id=ASSET_ID,
            payer=payer or to,
            recipient=to,
            price="1000",
            start_time=start,
            end_time=start + PERIOD_S,
            trial=trial,
        )
        return event(number, log, fork=fork, license_purchased=payload)

    async def buy(self, number: int = 5, **purchase: Any) -> chain.ChainEvent:
        """A purchase that is final."""
        said = self.purchased(number, **purchase)
        await self.hear(said)
        await self.finality(number)
        return said

    async def deposit(self, number: int = 6, total: int = 1_000, *, payer: str = ALICE) -> chain.ChainEvent:
        """A deposit that is final."""
        said = deposited(number, total, payer=payer)
        await self.hear(said)
        await self.finality(number)
        return said

    async def key_of(self, wallet: str) -> bytes:
        """The hash of an API key of the wallet's account, which is opened at first."""
        if wallet not in self.keys:
            async with transaction(self.engine) as session:
                signed_in = await identity.sign_in(
                    session,
                    message=new_id(),
                    nonce=new_id(),
                    wallet=wallet,
                    now=self.now,
                    lifetime=timedelta(days=1),
                )
            async with transaction(self.engine) as session:
                _, key = await identity.create_key(session, signed_in.account_id, "test", self.now)
            self.keys[wallet] = hashlib.sha256(key.encode()).digest()
        return self.keys[wallet]

    async def bind_key(self, wallet: str, mandate_id: str) -> bytes:
        """The hash of another API key of the wallet's account, which spends by this mandate alone."""
        await self.key_of(wallet)
        (row,) = await self.rows("wallets", address=wallet)
        async with transaction(self.engine) as session:
            _, key = await identity.create_key(session, row.account_id, "agent", self.now, mandate_id)
        self.keys[f"agent of {wallet}"] = hashlib.sha256(key.encode()).digest()
        return self.keys[f"agent of {wallet}"]

    def ask(self, key: bytes | None, **asked: Any) -> LeaseAsk:
        """A lease request."""
        request_id = asked.pop("request_id", new_id())
        worker_id = asked.pop("worker_id", "worker-1")
        slug = asked.pop("slug", SLUG)
        fingerprint = repr((key, asked)).encode()
        ask = Ask(asked.pop("wanted", 10), asked.pop("minimum", 1), asked.pop("min_block", 0))
        assert not asked
        return LeaseAsk(request_id, fingerprint, worker_id, Need(key, "", slug), ask)

    async def answer(self, *asks: LeaseAsk | RenewAsk, late_s: float = 0) -> list[leasing.Answer]:
        """Answers to requests that come as one batch, `late_s` after they were taken up."""
        async with transaction(self.engine) as session:
            taken_up = self.now - timedelta(seconds=late_s)
            answers = await leasing.answer(session, asks, self.policy, taken_up)
        return [answers[ask.request_id] for ask in asks]

    async def lease(self, wallet: str = ALICE, **asked: Any) -> Granted:
        """A lease; fails when it is refused."""
        (answer,) = await self.answer(self.ask(await self.key_of(wallet), **asked))
        assert isinstance(answer, Granted), answer
        return answer

    async def refusal(self, wallet: str = ALICE, **asked: Any) -> Denied:
        """A refusal; fails when a lease is lent."""
        (answer,) = await self.answer(self.ask(await self.key_of(wallet), **asked))
        assert isinstance(answer, Denied), answer
        return answer

    def used(self, said: usage.UsageRecorded | usage.LeaseFenced) -> Message[Any]:
        """An event of the usage log as kit hands it to a consumer."""
        name = said.event_id if isinstance(said, usage.LeaseFenced) else said.request_id
        return self.message(said, "usage.recorded", name, said.lease_id)

    async def count(self, *said: usage.UsageRecorded | usage.LeaseFenced) -> None:
        """Take in events of the usage log as one batch, each for the first time."""
        messages = [self.used(each) for each in said]
        async with transaction(self.engine) as session:
            await self.consumers.on_usage_batch(session, messages)

    async def rows(self, name: str, **where: Any) -> list[Any]:
        """Rows of a table."""
        found = metadata.tables[name]
        query = select(found).filter_by(**where)
        async with self.engine.connect() as connection:
            return list((await connection.execute(query)).all())

    async def grant(self, name: str | None = None) -> Any:
        """The row of a grant; the equation is looked at each time."""
        (row,) = await self.rows("grants", grant_id=name or grant_id())
        assert row.granted == row.free + row.leased + row.suspended + row.spent + row.lapsed
        return row

    async def units(self, name: str | None = None) -> tuple[int, int, int, int, int]:
        """(free, leased, suspended, spent, lapsed) of a grant."""
        row = await self.grant(name)
        return row.free, row.leased, row.suspended, row.spent, row.lapsed

    async def told(self, kind: type[ProtobufMessage]) -> list[Any]:
        """Messages of a type that wait in the outbox, in order."""
        rows = await self.rows("outbox")
        name = kind.DESCRIPTOR.full_name
        return [
            kind.FromString(r.payload)
            for r in sorted(rows, key=lambda r: r.id)
            if r.headers["ce_type"] == name
        ]

    async def revocations(self) -> list[tuple[str, int, str]]:
        """(grant, minimum generation, code) of every revocation so far."""
        told = await self.told(licensing.GrantRevoked)
        return [(said.grant_id, said.minimum_generation, said.code) for said in told]

    async def execute(self, statement: str) -> None:
        """Run a statement."""
        async with self.engine.begin() as connection:
            await connection.execute(text(statement))


def record(
    lease: Granted, sequence: int, units: int = 1, *, last: bool = False, **changes: Any
) -> usage.UsageRecorded:
    """A usage record of a lease."""
    values: dict[str, Any] = {
        "request_id": f"{lease.lease_id}-{sequence}",
        "worker_id": "worker-1",
        "lease_id": lease.lease_id,
        "sequence": sequence,
        "last": last,
        "account_id": lease.account_id,
        "grant_id": lease.grant_id,
        "asset_id": lease.asset_id,
        "plan_id": lease.plan_key.rpartition(":")[2],
        "units": units,
        "outcome": usage.OUTCOME_OK,
    }
    return usage.UsageRecorded(**(values | changes))
