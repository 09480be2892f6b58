"""From chain events to the active version of each asset: duplicates, late events, reorgs."""

import random
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from licet_kit.db import reading, transaction
from licet_schemas.licet.chain.v1 import chain_pb2
from licet_vault import db, events
from licet_vault.domain import AssetFact, FactKind, Position, Truth, Version
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

ASSET = "0x" + "a" * 64
ONE, TWO = ("0x" + digit * 64 for digit in "12")
ALICE, BOB = ("0x" + digit * 40 for digit in "ab")
SEEDS = range(20)


def fact(
    kind: FactKind,
    block: int,
    *,
    branch: str = "a",
    index: int = 0,
    truth: Truth | None = None,
    **values: str,
) -> AssetFact:
    position = Position(31337, block, f"0x{branch}{block}", index)
    return AssetFact(ASSET, kind, position, truth or Truth(1, retracted=False), **values)


def registered(block: int = 1, owner: str = ALICE, **place: object) -> AssetFact:
    return fact(FactKind.REGISTERED, block, owner=owner, slug="acme/risk", **place)  # type: ignore[arg-type]


def published(block: int, digest: str, **place: object) -> AssetFact:
    return fact(FactKind.PUBLISHED, block, digest=digest, uri=f"/v1/manifests/{digest}", **place)  # type: ignore[arg-type]


def activated(block: int, digest: str, **place: object) -> AssetFact:
    return fact(FactKind.ACTIVATED, block, digest=digest, **place)  # type: ignore[arg-type]


def transferred(block: int, to: str, **place: object) -> AssetFact:
    return fact(FactKind.TRANSFERRED, block, owner=to, **place)  # type: ignore[arg-type]


def retracted(one: AssetFact) -> AssetFact:
    return replace(one, truth=Truth(one.truth.incarnation, retracted=True))


def returned(one: AssetFact) -> AssetFact:
    return replace(one, truth=Truth(one.truth.incarnation + 1, retracted=False))


async def active(engine: AsyncEngine, *facts: AssetFact) -> list[Version]:
    """The active versions after these facts, each taken in by a transaction of its own."""
    for one in facts:
        async with transaction(engine) as session:
            await db.record_fact(session, one)
    async with reading(engine) as session:
        return await db.active_versions(session)


def version(digest: str, publisher: str = ALICE) -> Version:
    return Version(ASSET, "acme/risk", digest, f"/v1/manifests/{digest}", publisher)


async def test_the_latest_activation_counts(engine: AsyncEngine) -> None:
    facts = [registered(), published(2, ONE), activated(3, ONE), published(4, TWO)]
    assert await active(engine, *facts) == [version(ONE)]
    assert await active(engine, activated(5, TWO)) == [version(TWO)]
    assert await active(engine, activated(6, ONE)) == [version(ONE)]


async def test_a_published_version_that_was_never_activated_is_not_active(engine: AsyncEngine) -> None:
    assert await active(engine, registered(), published(2, ONE)) == []


async def test_logs_of_one_block_are_ordered_by_their_index(engine: AsyncEngine) -> None:
    facts = [registered(), published(2, ONE), published(2, TWO, index=1), activated(2, TWO, index=3)]
    assert await active(engine, *facts, activated(2, ONE, index=2)) == [version(TWO)]


async def test_the_owner_that_counts_is_the_one_at_publication(engine: AsyncEngine) -> None:
    facts = [registered(), transferred(2, BOB), published(3, ONE), activated(4, ONE), transferred(5, ALICE)]
    assert await active(engine, *facts) == [version(ONE, BOB)]


async def test_a_retracted_activation_gives_the_one_before_its_place_back(engine: AsyncEngine) -> None:
    second = activated(5, TWO)
    facts = [registered(), published(2, ONE), activated(3, ONE), published(4, TWO), second]
    assert await active(engine, *facts) == [version(TWO)]
    assert await active(engine, retracted(second)) == [version(ONE)]


async def test_a_block_that_left_and_came_back_counts_again(engine: AsyncEngine) -> None:
    """A → B → A: the second time the same log is observed it is a third truth about it."""
    here, there = activated(3, ONE), activated(3, TWO, branch="b")
    before = [registered(), published(2, ONE), published(2, TWO, index=1), here]
    assert await active(engine, *before, retracted(here), there) == [version(TWO)]
    assert await active(engine, retracted(there), returned(here)) == [version(ONE)]


async def test_a_late_duplicate_of_an_older_truth_changes_nothing(engine: AsyncEngine) -> None:
    one = activated(3, ONE)
    assert await active(engine, registered(), published(2, ONE), one, retracted(one), one) == []


async def test_a_late_publication_does_not_bring_an_older_version_back(engine: AsyncEngine) -> None:
    facts = [registered(), published(2, ONE), activated(3, ONE), activated(5, TWO)]
    assert await active(engine, *facts) == []
    assert await active(engine, published(4, TWO)) == [version(TWO)]


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_order_of_delivery_does_not_matter(engine: AsyncEngine, seed: int) -> None:
    lost = [activated(5, TWO), transferred(5, BOB, index=1)]
    kept = [registered(), published(2, ONE), activated(3, ONE), published(4, TWO)]
    back = activated(6, TWO, branch="b")
    truths = [*kept, *lost, *(retracted(one) for one in lost), back, retracted(back), returned(back)]
    shuffled = truths + random.Random(seed).choices(truths, k=6)
    random.Random(seed).shuffle(shuffled)
    assert await active(engine, *shuffled) == [version(TWO)], f"seed {seed}"


def chain_event(**payload: object) -> chain_pb2.ChainEvent:
    return chain_pb2.ChainEvent(
        event_id="e",
        chain_id=31337,
        block_number=7,
        block_hash="0x07",
        log_index=2,
        kind=chain_pb2.EVENT_KIND_RETRACTED,
        incarnation=3,
        **payload,  # type: ignore[arg-type]
    )


def test_chain_events_are_read_as_facts() -> None:
    place, truth = Position(31337, 7, "0x07", 2), Truth(3, retracted=True)
    moved = chain_event(
        asset_transferred=chain_pb2.AssetTransferred(asset_id=ASSET, to=BOB.upper().replace("X", "x"))
    )
    assert events.asset_fact(moved) == AssetFact(ASSET, FactKind.TRANSFERRED, place, truth, owner=BOB)
    new = chain_event(
        version_published=chain_pb2.VersionPublished(asset_id=ASSET, version_digest=ONE, uri="u")
    )
    assert events.asset_fact(new) == AssetFact(ASSET, FactKind.PUBLISHED, place, truth, digest=ONE, uri="u")


@pytest.mark.parametrize(
    "other",
    [chain_event(), chain_event(plan_closed=chain_pb2.PlanClosed(asset_id=ASSET))],
    ids=["unknown payload", "plan"],
)
def test_events_of_other_services_are_passed_over(other: chain_pb2.ChainEvent) -> None:
    assert events.asset_fact(other) is None


async def test_migrations_make_the_tables_that_the_code_describes(engine: AsyncEngine) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        return [d for d in compare_metadata(context, db.metadata) if "ix_asset_fact_live" not in str(d)]

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
