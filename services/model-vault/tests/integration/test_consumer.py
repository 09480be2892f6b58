"""chain.event on a real Kafka: repeated, late and undecodable messages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from licet_kit.db import reading
from licet_kit.kafka import broker_service, inspect_subscribers, topic_name
from licet_kit.kafka.connection import start_producer
from licet_kit.producer import Producer
from licet_schemas.licet.chain.v1 import chain_pb2
from licet_vault import db
from licet_vault.consumers import chain_events
from licet_vault.db.tables import ASSET_FACT
from licet_vault.settings import VaultSettings
from licet_vault.testing.process import settings_for
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

ASSET, OTHER = "0x" + "a" * 64, "0x" + "b" * 64
DIGEST = "0x" + "1" * 64

Eventually = Callable[..., Awaitable[Any]]


@pytest.fixture
async def settings(
    servers: dict[str, Any],
    create_topics: Callable[..., Awaitable[None]],
    topic_prefix: str,
    engine: AsyncEngine,
) -> VaultSettings:
    await create_topics("chain.event", "chain.event.parked", "vault.version")
    return settings_for(
        {
            "DATABASE_URL": engine.url.render_as_string(hide_password=False),
            "KAFKA_BOOTSTRAP": servers["kafka"]["bootstrap"],
            "KAFKA_TOPIC_PREFIX": topic_prefix,
        }
    )


@pytest.fixture
async def consuming(settings: VaultSettings, engine: AsyncEngine) -> AsyncIterator[None]:
    broker, subscription = chain_events(settings, engine)
    stop = asyncio.Event()
    running = asyncio.create_task(broker_service(broker, [subscription])(stop))
    yield
    stop.set()
    await running


@pytest.fixture
async def producer(settings: VaultSettings) -> AsyncIterator[Producer]:
    async with Producer(settings, source="indexer") as opened:
        yield opened


def events(asset_id: str) -> list[chain_pb2.ChainEvent]:
    payloads: list[dict[str, Any]] = [
        {"asset_registered": chain_pb2.AssetRegistered(asset_id=asset_id, owner="0x1", slug="acme/risk")},
        {"version_published": chain_pb2.VersionPublished(asset_id=asset_id, version_digest=DIGEST, uri="u")},
        {"plan_closed": chain_pb2.PlanClosed(asset_id=asset_id, plan_id="1")},
        {"version_activated": chain_pb2.VersionActivated(asset_id=asset_id, version_digest=DIGEST)},
    ]
    return [
        chain_pb2.ChainEvent(
            event_id=f"{asset_id}:{block}",
            chain_id=31337,
            block_number=block,
            block_hash=f"{asset_id}{block}",
            kind=chain_pb2.EVENT_KIND_OBSERVED,
            incarnation=1,
            **payload,
        )
        for block, payload in enumerate(payloads)
    ]


async def active(engine: AsyncEngine) -> list[str]:
    async with reading(engine) as session:
        return [version.asset_id for version in await db.active_versions(session)]


def test_every_subscriber_acknowledges_by_our_hand_alone(
    settings: VaultSettings, engine: AsyncEngine
) -> None:
    broker, _ = chain_events(settings, engine)
    assert inspect_subscribers(broker) == 1


@pytest.mark.usefixtures("consuming")
async def test_repeated_events_are_taken_in_once(
    producer: Producer, engine: AsyncEngine, eventually: Eventually
) -> None:
    for event in [*events(ASSET), *events(ASSET)]:
        await producer.send(event, key=ASSET, event_id=event.event_id)
    await producer.send(events(OTHER)[0], key=ASSET, event_id="last")

    async def facts() -> bool:
        async with reading(engine) as session:
            return await session.scalar(select(func.count()).select_from(ASSET_FACT)) == 4

    await eventually(facts)
    assert await active(engine) == [ASSET]


@pytest.mark.usefixtures("consuming")
async def test_a_poisoned_asset_is_held_back_and_the_others_go_on(
    settings: VaultSettings, producer: Producer, engine: AsyncEngine, eventually: Eventually
) -> None:
    raw = await start_producer(settings)
    await raw.send_and_wait(topic_name(settings, "chain.event"), b"\xff\xff", key=ASSET.encode())
    await raw.stop()
    for asset_id in (ASSET, OTHER):
        for event in events(asset_id):
            await producer.send(event, key=asset_id, event_id=event.event_id)

    async def held() -> bool:
        async with reading(engine) as session:
            parked = await session.scalar(select(func.count()).select_from(db.TABLES.parked))
        return parked == 1 + len(events(ASSET))

    await eventually(held)
    await eventually(lambda: active(engine))
    assert await active(engine) == [OTHER]
