"""The consumers on a real Kafka: duplicates, reordering, poison, crashes between effect and commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message as ProtobufMessage
from licet_kit.db import transaction
from licet_kit.ids import new_id
from licet_kit.kafka import Fanout, broker_service, inspect_subscribers, make_broker, protobuf, replay
from licet_kit.kafka.message import Message
from licet_kit.outbox import Outgoing
from licet_kit.producer import Producer
from licet_kit.relay import relay
from licet_kit.testing.plugin import CreateTopics, Eventually
from licet_licensing.consumers.subscribers import subscribe_all
from licet_licensing.db.tables import OUTBOX
from licet_licensing.settings import LicensingSettings
from licet_licensing.testing.words import (
    ALICE,
    ASSET_ID,
    BOB,
    CHAIN_ID,
    CONTRACTS,
    DEPOSIT_GRANT,
    OPERATOR,
    activated,
    block_hash,
    block_said,
    deposited,
    grant_id,
    planned,
    registered,
    retracted,
    transferred,
)
from licet_licensing.testing.world import World, record
from licet_licensing.usecases import counting, sweeping
from licet_schemas.licet.chain.v1 import chain_pb2 as chain
from licet_schemas.licet.licensing.v1 import licensing_pb2 as licensing
from licet_schemas.licet.usage.v1 import usage_pb2 as usage
from pydantic import SecretStr

TOPICS = ("chain.event", "chain.finality", "usage.recorded")
PARKED = tuple(f"{topic}.parked" for topic in TOPICS)
OWN = ("licensing.grant", "licensing.revocation", "licensing.decision")


@pytest.fixture
async def kafka(
    servers: dict[str, Any],
    topic_prefix: str,
    create_topics: CreateTopics,
    database_url: str,
    redis_url: str,
    tmp_path: Path,
) -> LicensingSettings:
    await create_topics(*TOPICS, *PARKED, *OWN)
    return LicensingSettings(
        database_url=database_url,
        kafka_bootstrap=servers["kafka"]["bootstrap"],
        kafka_topic_prefix=topic_prefix,
        redis_url=redis_url,
        chains_file=tmp_path / "unused.json",
        worker_token=SecretStr("worker-token-of-the-test"),
        operator=OPERATOR,
    )


class Line:
    """What other services send."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    async def events(self, *said: chain.ChainEvent, key: str = ASSET_ID) -> None:
        await self._send(*((event, key, event.event_id) for event in said))

    async def final(self, number: int) -> None:
        said = block_said(number)
        await self._send((said, str(CHAIN_ID), said.event_id))

    async def usage(self, *said: usage.UsageRecorded) -> None:
        await self._send(*((each, each.lease_id, each.request_id) for each in said))

    async def _send(self, *said: tuple[ProtobufMessage, str, str]) -> None:
        batch = [Outgoing(message=message, key=key, event_id=event_id) for message, key, event_id in said]
        await self._producer.send_many(batch)


@pytest.fixture
async def line(kafka: LicensingSettings) -> AsyncIterator[Line]:
    async with Producer(kafka, source="test") as producer:
        yield Line(producer)


class Consuming:
    """Licensing's consumers, running until they are stopped, or killed with what they had in hand."""

    def __init__(self, kafka: LicensingSettings, world: World) -> None:
        broker = make_broker(kafka)
        self.subscriptions = subscribe_all(broker, kafka, world.engine, CONTRACTS, world.clock)
        self.inspected = inspect_subscribers(broker)
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(broker_service(broker, self.subscriptions)(self._stop))

    async def stop(self) -> None:
        self._stop.set()
        await self._task


@pytest.fixture
async def consuming(kafka: LicensingSettings, world: World) -> AsyncIterator[Consuming]:
    running = Consuming(kafka, world)
    yield running
    await running.stop()


async def test_every_subscriber_acknowledges_by_hand(consuming: Consuming) -> None:
    assert consuming.inspected == 3


async def until_seen(world: World, eventually: Eventually, *event_ids: str) -> None:
    """Wait until the inbox has these events: their transactions have committed."""

    async def seen() -> bool:
        return set(event_ids) <= {row.event_id for row in await world.rows("inbox")}

    await eventually(seen, 30)


async def open_market(world: World, line: Line, eventually: Eventually) -> chain.ChainEvent:
    """The story up to a final purchase, through Kafka."""
    bought = world.purchased(5)
    await line.events(registered(), activated(), planned(), bought)
    await line.final(5)
    await until_seen(world, eventually, bought.event_id, f"{CHAIN_ID}:{block_hash(5)}:final")
    await world.sweep()
    assert await world.units() == (100, 0, 0, 0, 0)
    return bought


async def test_chain_events_have_one_effect_however_often_they_come(
    world: World, consuming: Consuming, line: Line, eventually: Eventually
) -> None:
    bought = await open_market(world, line, eventually)
    lease = await world.lease(wanted=10)
    first = record(lease, 1, 3)
    moved, late = transferred(7, ALICE, BOB), transferred(8, BOB, ALICE)
    await line.events(bought, bought, late, moved, late, retracted(late), bought)
    await line.usage(first, first, record(lease, 2, 2, last=True), first)
    await line.final(5)
    await until_seen(world, eventually, retracted(late).event_id, f"{lease.lease_id}-2")
    row = await world.grant()
    assert (row.wallet, row.state) == (BOB, "live")
    assert await world.units() == (95, 0, 0, 5, 0)


async def test_finality_that_comes_before_its_event_and_twice_counts_once(
    world: World, consuming: Consuming, line: Line, eventually: Eventually
) -> None:
    await line.final(9)
    await line.final(8)
    await line.final(9)
    await until_seen(world, eventually, *(f"{CHAIN_ID}:{block_hash(number)}:final" for number in (8, 9)))
    assert (await world.rows("mirrors"))[0].final_block == 9
    bought = world.purchased(9)
    await line.events(registered(), activated(), planned(), bought)
    await until_seen(world, eventually, bought.event_id)
    assert await world.units() == (100, 0, 0, 0, 0)


async def test_a_poisoned_asset_is_denied_until_its_events_are_replayed_in_order(
    world: World, consuming: Consuming, line: Line, eventually: Eventually
) -> None:
    await open_market(world, line, eventually)
    lease = await world.lease(wanted=1)
    poison = planned()
    poison.plan_created.plan_id, poison.plan_created.terms.unit_price = "2", "-1"
    poison.event_id, poison.log_index = new_id(), 9
    await line.events(poison, transferred(7, ALICE, BOB))
    await until_seen(world, eventually, transferred(7, ALICE, BOB).event_id)
    assert await world.rows("quarantine") != []
    assert (await world.grant()).wallet == ALICE
    assert await world.revocations() == [(grant_id(), lease.generation + 1, "mirror_stale")]
    told = await world.told(licensing.GrantChanged)
    assert told[-1].state == "quarantined"
    for wallet in (ALICE, BOB):
        assert (await world.refusal(wallet)).code in ("mirror_stale", "license_missing")
    # An operator mends the event (here: its bytes), and has the key replayed.
    mended = planned()
    mended.plan_created.plan_id, mended.event_id, mended.log_index = "2", poison.event_id, 9
    await world.execute(f"UPDATE parked SET payload = '\\x{mended.SerializeToString().hex()}' WHERE id = 1")
    await replay(consuming.subscriptions[0], ASSET_ID)
    row = await world.grant()
    assert (row.wallet, row.quarantined) == (BOB, False)
    assert await world.rows("quarantine") == await world.rows("holds") == []
    assert (await world.lease(BOB, wanted=1)).generation == row.generation


async def test_a_poisoned_payer_loses_the_deposit_and_keeps_the_license(
    world: World, consuming: Consuming, line: Line, eventually: Eventually
) -> None:
    await open_market(world, line, eventually)
    put_in, poison = deposited(6, 1_000), deposited(7, 5)
    poison.deposited.total = "1e3"
    await line.events(put_in, poison, key=f"{ALICE}:{OPERATOR}")
    await until_seen(world, eventually, put_in.event_id, poison.event_id)
    assert (await world.grant(DEPOSIT_GRANT)).quarantined
    assert (await world.lease()).source == "license"


async def test_a_record_of_another_right_is_quarantined_and_its_grant_denied(
    world: World, consuming: Consuming, line: Line, eventually: Eventually
) -> None:
    await open_market(world, line, eventually)
    lease, other = await world.lease(wanted=10), await world.lease(wanted=10)
    forged = record(lease, 1, 5, account_id="somebody else")
    await line.usage(record(other, 1, 2), forged, record(lease, 2, 1), record(other, 2, 2, last=True))
    await until_seen(world, eventually, f"{lease.lease_id}-2", f"{other.lease_id}-2")
    assert await world.units() == (86, 10, 0, 4, 0)
    (held,) = await world.rows("quarantine")
    assert (held.key, held.reason) == (lease.lease_id, "record_contradicts_lease")
    assert (await world.refusal()).code == "mirror_stale"


@pytest.mark.parametrize("changes", [{"request_id": "x-1"}, {"sequence": 0}, {"sequence": 2}])
async def test_a_record_that_is_misnamed_is_quarantined(
    world: World, consuming: Consuming, line: Line, eventually: Eventually, changes: dict[str, Any]
) -> None:
    await open_market(world, line, eventually)
    lease = await world.lease(wanted=10)
    misnamed = record(lease, 1, 5)
    for name, value in changes.items():
        setattr(misnamed, name, value)
    await line.usage(misnamed)
    await until_seen(world, eventually, misnamed.request_id)
    assert [held.reason for held in await world.rows("quarantine")] == ["record_misnamed"]
    assert await world.units() == (90, 10, 0, 0, 0)


async def test_a_crash_between_effect_and_acknowledgement_counts_once(
    world: World,
    kafka: LicensingSettings,
    line: Line,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process dies after its transaction and before its offset; its successor reads everything again."""
    first = Consuming(kafka, world)
    await open_market(world, line, eventually)
    lease = await world.lease(wanted=10)
    for subscription in first.subscriptions:
        consumer = subscription._subscriber.consumer
        monkeypatch.setattr(consumer, "commit", lost)
    await line.usage(record(lease, 1, 3))
    await line.events(transferred(7, ALICE, BOB))
    await until_seen(world, eventually, f"{lease.lease_id}-1", transferred(7, ALICE, BOB).event_id)
    await first.stop()
    second = Consuming(kafka, world)
    await line.usage(record(lease, 2, 1, last=True))
    await until_seen(world, eventually, f"{lease.lease_id}-2")
    await second.stop()
    row = await world.grant()
    assert (row.wallet, row.generation) == (BOB, 2)
    assert await world.units() == (96, 0, 0, 4, 0)


async def lost(*_: Any) -> None:
    """A commit that never reaches the brokers."""


async def test_a_failure_within_the_effect_leaves_nothing_and_is_tried_again(
    world: World,
    consuming: Consuming,
    line: Line,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await open_market(world, line, eventually)
    lease = await world.lease(wanted=10)
    whole, failures = counting.count_usage, 2

    async def failing(*args: Any, **kwargs: Any) -> None:
        nonlocal failures
        await whole(*args, **kwargs)
        if failures:
            failures -= 1
            raise RuntimeError("died behind the effect")

    monkeypatch.setattr(counting, "count_usage", failing)
    await line.usage(record(lease, 1, 3, last=True))
    await until_seen(world, eventually, f"{lease.lease_id}-1")
    assert failures == 0
    assert await world.units() == (97, 0, 0, 3, 0)


async def test_a_fence_goes_through_the_log_and_later_records_are_lost(
    world: World, consuming: Consuming, kafka: LicensingSettings, line: Line, eventually: Eventually
) -> None:
    """The whole circle: the sweep announces, the relay publishes, the consumer reads its own word."""
    await open_market(world, line, eventually)
    lease = await world.lease(wanted=10)
    await line.usage(record(lease, 1, 2))
    await until_seen(world, eventually, f"{lease.lease_id}-1")
    world.clock.advance(15)
    await world.sweep()
    await world.execute("UPDATE grants SET end_time = end_time + 1000000")
    world.clock.advance(24 * 3600)
    await world.sweep()
    stop = asyncio.Event()
    relaying = asyncio.create_task(relay(kafka, world.engine, OUTBOX)(stop))
    await until_seen(world, eventually, f"{lease.lease_id}-fence")
    await line.usage(record(lease, 2, 3, last=True))
    await until_seen(world, eventually, f"{lease.lease_id}-2")
    stop.set()
    await relaying
    assert await world.units() == (98, 0, 0, 2, 0)
    assert [(loss.units, loss.reason) for loss in await world.rows("losses")] == [(3, "after_fence")]


async def test_gateways_hear_of_a_revocation(
    world: World, consuming: Consuming, kafka: LicensingSettings, line: Line, eventually: Eventually
) -> None:
    heard: list[licensing.GrantRevoked] = []

    async def hear(message: Message[licensing.GrantRevoked]) -> None:
        heard.append(message.value)

    stop = asyncio.Event()
    listener = Fanout(
        kafka,
        topic="licensing.revocation",
        decode=protobuf(licensing.GrantRevoked),
        handler=hear,
        back_s=None,
    )
    tasks = [
        asyncio.create_task(listener.run(stop)),
        asyncio.create_task(relay(kafka, world.engine, OUTBOX)(stop)),
    ]
    await open_market(world, line, eventually)
    await line.events(transferred(7, ALICE, BOB))
    await eventually(lambda: heard, 30)
    stop.set()
    await asyncio.gather(*tasks)
    (said,) = heard
    assert (said.grant_id, said.minimum_generation, said.code) == (grant_id(), 2, "license_transferred")
    assert (said.position.block_number, said.position.block_hash) == (7, block_hash(7))


async def test_a_key_that_two_topics_hold_is_free_when_both_let_go(world: World) -> None:

    await world.market()
    await world.buy()
    for topic in ("chain.event", "usage.recorded"):
        async with transaction(world.engine) as session:
            await sweeping.deny_key(session, topic, "key", {grant_id()}, world.now)
    assert len(await world.revocations()) == 1
    for topic, held in (("usage.recorded", True), ("chain.event", False)):
        async with transaction(world.engine) as session:
            await sweeping.readmit_key(session, topic, "key", world.now)
        assert (await world.grant()).quarantined is held
