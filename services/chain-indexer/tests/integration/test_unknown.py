"""Logs that are not understood are kept, raw and with a reason, and leave no trace in the books."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from licet_indexer.domain.catalogue import MAX_DATA_CHARS
from licet_indexer.main import MIGRATIONS
from licet_indexer.testing.emitter import event_entry, raw_entry
from licet_indexer.testing.pilot import catch_up, contents, leading
from licet_indexer.testing.scene import Scene
from licet_indexer.testing.story import Said, Story
from licet_kit.db import open_engine, reading
from licet_kit.testing.plugin import CreateDatabase
from sqlalchemy.ext.asyncio import AsyncEngine

ASSET, DIGEST = b"\xaa" * 32, b"\xd1" * 32
ACTIVATED = event_entry("AssetRegistry", "VersionActivated", {"assetId": ASSET, "digest": DIGEST})
ACTIVATED_TOPIC = "0x" + ACTIVATED[32:64].hex()
DEPOSIT = {
    "depositId": ASSET,
    "payer": "0x" + "a0" * 20,
    "operator": "0x" + "b0" * 20,
    "token": "0x" + "c0" * 20,
    "amount": 1,
    "spendable": 2,
    "total": 1,
}


def published(uri: str) -> bytes:
    return event_entry(
        "AssetRegistry", "VersionPublished", {"assetId": ASSET, "digest": DIGEST, "uri": uri, "ordinal": 1}
    )


CASES: dict[str, tuple[Said, str]] = {
    "event that the ABI lacks": (("PlanBook", raw_entry(["0x" + "ab" * 32])), "no event of this contract"),
    "log without topics": (("UsageEscrow", raw_entry([], b"hello")), "no event of this contract"),
    "event of another contract": (("UsageEscrow", ACTIVATED), "no event of this contract"),
    "too few topics": (
        ("AssetRegistry", raw_entry([ACTIVATED_TOPIC, "0x01"])),
        "VersionActivated has 2 indexed values, the log 1",
    ),
    "data cut short": (("AssetRegistry", published("ipfs://x")[:-64] + bytes(0)), "data"),
    "zero byte in a string": (("AssetRegistry", published("ipfs://\0x")), "zero byte"),
    "more data than any broker takes": (
        ("AssetRegistry", published("x" * (MAX_DATA_CHARS // 2))),
        "bytes of data",
    ),
    "licence that was never bought": (
        (
            "License",
            event_entry(
                "License", "Transfer", {"from": "0x" + "a0" * 20, "to": "0x" + "a1" * 20, "tokenId": 77}
            ),
        ),
        "licence 77 changed",
    ),
    "deposit that spends what it never had": (
        ("UsageEscrow", event_entry("UsageEscrow", "Deposited", DEPOSIT)),
        "more to spend than it ever had",
    ),
    "revenue from nowhere": (
        (
            "RevenueRouter",
            event_entry(
                "RevenueRouter",
                "RevenueReceived",
                {
                    "assetId": ASSET,
                    "token": "0x" + "c0" * 20,
                    "payee": "0x" + "a0" * 20,
                    "amount": 1,
                    "source": 7,
                    "ref": ASSET,
                },
            ),
        ),
        "no source 7",
    ),
}


@pytest.fixture
async def engine(database: CreateDatabase) -> AsyncIterator[AsyncEngine]:
    async with open_engine(await database(MIGRATIONS)) as opened:
        yield opened


async def rows(engine: AsyncEngine, query: str) -> list[Any]:
    async with reading(engine) as session:
        return list((await session.execute(sa.text(query))).all())


def cut(entry: bytes) -> bytes:
    """The entry of a log whose data lacks its last word."""
    size = int.from_bytes(entry[160:192]) - 32
    return entry[:160] + size.to_bytes(32) + entry[192 : 192 + size]


CASES["data cut short"] = (("AssetRegistry", cut(published("ipfs://x"))), "longer than the data")


async def test_logs_that_are_not_understood_leave_no_trace_in_the_books(
    stage: Scene, engine: AsyncEngine
) -> None:
    async with leading(engine, stage.chain()) as follower:
        await catch_up(follower)
        before = await contents(engine)
        for said, _ in CASES.values():
            await stage.tell([[said]])
        await catch_up(follower)
        assert follower.tip is not None
        assert follower.tip.number == await stage.anvil.block_number(), "nothing stops the mirror"
    after = await contents(engine)
    untouched = set(before) - {"tip", "block", "unknown_log"}
    assert {name: after[name] for name in untouched} == {name: before[name] for name in untouched}
    assert await rows(engine, "SELECT 1 FROM outbox WHERE topic = 'chain.event'") == []
    kept = await rows(engine, "SELECT reason, topics, data, contract FROM unknown_log ORDER BY block_number")
    for (name, ((contract, _), reason)), row in zip(CASES.items(), kept, strict=True):
        assert reason in row.reason, name
        assert row.contract == stage.emitters[contract]


async def test_events_around_an_unknown_log_are_told(stage: Scene, engine: AsyncEngine) -> None:
    story = Story(random.Random(1))
    good = [one for one in (story.next() for _ in range(80)) if one[0] in {"PlanBook", "RevenueRouter"}]
    async with leading(engine, stage.chain()) as follower:
        await stage.tell([[good[0], CASES["event that the ABI lacks"][0], good[1]]])
        await catch_up(follower)
    assert len(await rows(engine, "SELECT 1 FROM unknown_log")) == 1
    assert len(await rows(engine, "SELECT 1 FROM raw_event WHERE payload IS NOT NULL")) == 2


async def test_unknown_log_of_a_block_that_left_is_history(stage: Scene, engine: AsyncEngine) -> None:
    async with leading(engine, stage.chain()) as follower:
        await stage.tell([[CASES["log without topics"][0]]])
        await catch_up(follower)
        await stage.anvil.reorg(1)
        await catch_up(follower)
    query = "SELECT canonical FROM block b JOIN unknown_log u ON u.block_hash = b.hash"
    assert [row.canonical for row in await rows(engine, query)] == [False]
