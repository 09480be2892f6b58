"""What the follower does with a chain that forks, returns, restarts or lies."""

from __future__ import annotations

import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from licet_indexer.clients import NodeError
from licet_indexer.domain.bloom import bloom_of
from licet_indexer.domain.chain import Finality, Log
from licet_indexer.domain.judge import InconsistentAnswer, Limits
from licet_indexer.follower.follow import Halted, Pace
from licet_indexer.main import MIGRATIONS
from licet_indexer.testing.faults import faulty_node
from licet_indexer.testing.pilot import PACE, catalogue_of, catch_up, contents, leading, rebuilt
from licet_indexer.testing.scene import Scene, scene
from licet_indexer.testing.story import Story
from licet_indexer.usecases.retract import FinalRetraction, retract
from licet_indexer.usecases.tracking import Fenced, Reconfigured, lead
from licet_kit.db import open_engine, reading, transaction
from licet_kit.testing.plugin import CreateDatabase, StartAnvil
from licet_schemas.licet.chain.v1 import chain_pb2
from sqlalchemy.ext.asyncio import AsyncEngine

OBSERVED, RETRACTED = chain_pb2.EVENT_KIND_OBSERVED, chain_pb2.EVENT_KIND_RETRACTED
# Nothing of these stories becomes final.
ENDLESS = Finality("depth", 10_000)


@pytest.fixture
async def engine(database: CreateDatabase) -> AsyncIterator[AsyncEngine]:
    async with open_engine(await database(MIGRATIONS)) as opened:
        yield opened


@pytest.fixture
def story() -> Story:
    return Story(random.Random(11))


async def told(engine: AsyncEngine) -> list[chain_pb2.ChainEvent]:
    async with reading(engine) as session:
        rows = await session.execute(
            sa.text("SELECT payload FROM outbox WHERE topic = 'chain.event' ORDER BY id")
        )
        return [chain_pb2.ChainEvent.FromString(row.payload) for row in rows]


async def scalar(engine: AsyncEngine, query: str) -> Any:
    async with reading(engine) as session:
        return (await session.execute(sa.text(query))).scalar_one_or_none()


async def blocks(stage: Scene, story: Story, count: int, logs: int = 3) -> None:
    await stage.tell([[story.next() for _ in range(logs)] for _ in range(count)])


async def staged(anvil: StartAnvil, story: Story, folder: Path, count: int) -> tuple[Scene, Scene]:
    """Two nodes with one past of some blocks and two futures."""
    state = folder / "state.json"
    first = await anvil("--dump-state", str(state))
    past = await scene(first)
    await blocks(past, story, count)
    await first.stop()
    futures = []
    for _ in range(2):
        node = await anvil("--load-state", str(state))
        await node.rpc("evm_setAutomine", False)
        future = Scene(node)
        future.emitters = dict(past.emitters)
        futures.append(future)
    return futures[0], futures[1]


async def test_block_that_returns_is_a_third_truth(
    anvil: StartAnvil, engine: AsyncEngine, story: Story, tmp_path: Path
) -> None:
    a, b = await staged(anvil, story, tmp_path, 3)
    await blocks(a, story, 1)
    await blocks(b, story, 2)
    async with faulty_node(a.anvil.rpc_url, 0) as node:
        chain = a.chain(node.url, finality=ENDLESS)
        for view in (a, b, a):
            node.upstream = view.anvil.rpc_url
            if view is a:
                await blocks(a, story, 1, logs=0)
                await blocks(a, story, 1, logs=0)
            # A new life each time: incarnations are counted in the database.
            async with leading(engine, chain) as follower:
                await catch_up(follower)
        block_a = await a.block_hash(5)
    of_a = [e for e in await told(engine) if e.block_hash == block_a]
    first = min(e.log_index for e in of_a)
    truths = [(e.kind, e.incarnation) for e in of_a if e.log_index == first]
    assert truths == [(OBSERVED, 1), (RETRACTED, 1), (OBSERVED, 2)]
    ids = [e.event_id for e in await told(engine)]
    assert len(set(ids)) == len(ids)


async def test_retractions_come_in_reverse_order_before_the_new_chain(
    stage: Scene, engine: AsyncEngine, story: Story
) -> None:
    chain = stage.chain(finality=ENDLESS)
    async with leading(engine, chain) as follower:
        await blocks(stage, story, 6)
        await catch_up(follower)
        observed = [e for e in await told(engine) if e.block_number > 3]
        await stage.anvil.rollback(4)
        await blocks(stage, story, 6)
        await catch_up(follower)
    events = (await told(engine))[-(10**6) :]
    start = next(i for i, e in enumerate(events) if e.kind == RETRACTED)
    retracted = events[start : start + len(observed)]
    assert [(e.block_hash, e.log_index) for e in reversed(retracted)] == [
        (e.block_hash, e.log_index) for e in observed
    ]
    assert all(e.kind == RETRACTED for e in retracted)
    assert all(e.kind == OBSERVED for e in events[start + len(observed) :])
    for before, after in zip(observed, reversed(retracted), strict=True):
        for event in (before, after):
            event.ClearField("event_id")
            event.ClearField("kind")
        assert before == after


async def test_chain_that_shares_nothing_is_indexed_anew_from_its_start(
    stage: Scene, anvil: StartAnvil, engine: AsyncEngine, story: Story, database: CreateDatabase
) -> None:
    """Deeper than one bounded step of the search and of the rollback; nothing of it was final."""
    other = await scene(await anvil("--timestamp", "1700000000"))
    await blocks(stage, story, 150, logs=1)
    await blocks(other, story, 152, logs=1)
    async with faulty_node(stage.anvil.rpc_url, 0) as node:
        chain = stage.chain(node.url, finality=ENDLESS)
        async with leading(engine, chain) as follower:
            await catch_up(follower)
            first = [e.event_id for e in await told(engine)]
            node.upstream = other.anvil.rpc_url
            await catch_up(follower)
        events = await told(engine)
        assert len([e for e in events if e.kind == RETRACTED]) == len(first)
        assert await contents(engine) == await rebuilt(await database(MIGRATIONS), chain)


async def test_node_that_contradicts_a_final_block_halts_the_chain_until_it_agrees(
    anvil: StartAnvil, engine: AsyncEngine, story: Story, tmp_path: Path
) -> None:
    """The two chains share blocks, but our final one is above them."""
    a, b = await staged(anvil, story, tmp_path, 3)
    await blocks(a, story, 8)
    await blocks(b, story, 20)
    async with faulty_node(a.anvil.rpc_url, 0) as node, leading(engine, a.chain(node.url)) as follower:
        await catch_up(follower)
        held, events = await contents(engine), await told(engine)
        node.upstream = b.anvil.rpc_url
        for _ in range(3):
            with pytest.raises(Halted, match="which is final"):
                await follower.step()
        assert not await follower.agrees()
        assert (await contents(engine), await told(engine)) == (held, events)
        node.upstream = a.anvil.rpc_url
        assert await follower.agrees()
        await blocks(a, story, 1)
        await catch_up(follower)
        assert follower.tip is not None
        assert follower.tip.number == await a.anvil.block_number()


async def test_node_whose_head_lies_below_a_final_block_halts_the_chain(
    stage: Scene, engine: AsyncEngine, story: Story
) -> None:
    """A chain that was begun anew under a mirror that was kept: there is not even a height to compare."""
    await blocks(stage, story, 8)
    async with leading(engine, stage.chain()) as follower:
        await catch_up(follower)
        assert follower.final is not None
        held = await contents(engine)
        await stage.anvil.rollback(6)
        assert await stage.anvil.block_number() < follower.final.number
        for _ in range(PACE.limits.lag_polls - 1):
            await follower.step()
        with pytest.raises(Halted, match="which is final"):
            await follower.step()
        assert await contents(engine) == held


async def test_final_block_is_never_retracted(stage: Scene, engine: AsyncEngine, story: Story) -> None:
    chain = stage.chain()
    await blocks(stage, story, 8)
    async with leading(engine, chain) as follower:
        await catch_up(follower)
        assert follower.tip is not None
        assert follower.final is not None
        async with transaction(engine) as session:
            track = await lead(session, chain, catalogue_of(chain))
        held, events = await contents(engine), await told(engine)
        with pytest.raises(FinalRetraction):
            async with transaction(engine) as session:
                await retract(session, track, follower.tip, follower.final.number - 1)
        assert (await contents(engine), await told(engine)) == (held, events)
        async with transaction(engine) as session:
            await retract(session, track, follower.tip, follower.final.number)


async def test_node_of_another_chain_is_refused(anvil: StartAnvil, engine: AsyncEngine) -> None:
    stage = await scene(await anvil("--chain-id", "4242"))
    async with leading(engine, stage.chain()) as follower:
        with pytest.raises(Halted, match="serves chain 4242"):
            await follower.step()
    assert await scalar(engine, "SELECT count(*) FROM block") == 0


async def test_lagging_node_is_waited_for(stage: Scene, engine: AsyncEngine, story: Story) -> None:
    """One look fewer than the limit: the mirror keeps its blocks."""
    async with leading(engine, stage.chain(finality=ENDLESS)) as follower:
        await blocks(stage, story, 4)
        await catch_up(follower)
        tip = follower.tip
        await stage.anvil.rollback(2)
        for _ in range(PACE.limits.lag_polls - 1):
            await follower.step()
        assert follower.tip == tip
        await follower.step()
        assert follower.tip is not None
        assert follower.tip.number == await stage.anvil.block_number()


async def test_killed_chain_that_comes_back_at_its_saved_block_is_a_reorg(
    anvil: StartAnvil, engine: AsyncEngine, story: Story, tmp_path: Path, database: CreateDatabase
) -> None:
    node = await anvil("--state", str(tmp_path / "state.json"))
    stage = await scene(node)
    await blocks(stage, story, 4)
    # A clean stop saves; the blocks after it die with the process.
    await node.stop()
    await node.start()
    await node.rpc("evm_setAutomine", False)
    chain = stage.chain(finality=Finality("depth", 3))
    async with leading(engine, chain) as follower:
        await blocks(stage, story, 2)
        await catch_up(follower)
        lost = await stage.block_hash(6)
        await node.stop(signal.SIGKILL)
        with pytest.raises(NodeError):
            await follower.step()
        await node.start()
        await node.rpc("evm_setAutomine", False)
        assert await node.block_number() == 5
        await blocks(stage, story, 3)
        await catch_up(follower)
    assert {e.kind for e in await told(engine) if e.block_hash == lost} == {OBSERVED, RETRACTED}
    assert await contents(engine) == await rebuilt(await database(MIGRATIONS), chain)


async def test_leader_of_an_earlier_epoch_writes_nothing(
    stage: Scene, engine: AsyncEngine, story: Story
) -> None:
    chain = stage.chain()
    async with leading(engine, chain) as old:
        await catch_up(old)
        async with leading(engine, chain) as new:
            await blocks(stage, story, 3)
            with pytest.raises(Fenced):
                await old.step()
            assert await told(engine) == []
            await catch_up(new)
    assert len(await told(engine)) == await scalar(
        engine, "SELECT count(*) FROM raw_event WHERE payload IS NOT NULL"
    )


async def test_other_contracts_for_a_mirrored_chain_are_refused(stage: Scene, engine: AsyncEngine) -> None:
    chain = stage.chain()
    async with leading(engine, chain) as follower:
        await catch_up(follower)
    chain.contracts["License"] = chain.contracts["PlanBook"]
    with pytest.raises(Reconfigured):
        async with leading(engine, chain):
            pass


def without_logs(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """A node whose log index lags: no error, and no logs."""
    return {**answer, "result": []} if call["method"] == "eth_getLogs" else answer


def without_receipts_too(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    return (
        {**answer, "result": []} if call["method"] == "eth_getBlockReceipts" else without_logs(call, answer)
    )


@pytest.mark.parametrize("max_span", [1, 50])
async def test_logs_that_a_node_leaves_out_are_taken_from_the_receipts(
    max_span: int, stage: Scene, engine: AsyncEngine, story: Story, database: CreateDatabase
) -> None:
    await blocks(stage, story, 12)
    async with faulty_node(stage.anvil.rpc_url, 0) as node:
        node.tamper = without_logs
        chain = stage.chain(node.url)
        async with leading(engine, chain, Pace(max_span, Limits(2, 4))) as follower:
            await catch_up(follower)
        held = await contents(engine)
        node.tamper = None
        assert held == await rebuilt(await database(MIGRATIONS), chain)
    assert len(await told(engine)) > 12


async def test_block_whose_logs_cannot_be_proven_is_not_passed(
    stage: Scene, engine: AsyncEngine, story: Story
) -> None:
    async with (
        faulty_node(stage.anvil.rpc_url, 0) as node,
        leading(engine, stage.chain(node.url)) as follower,
    ):
        await catch_up(follower)
        tip = follower.tip
        await blocks(stage, story, 1)
        node.tamper = without_receipts_too
        for _ in range(5):
            with pytest.raises(InconsistentAnswer, match="receipts and header"):
                await follower.step()
        assert follower.tip == tip
        node.tamper = None
        await catch_up(follower)
        assert follower.tip != tip
    assert len(await told(engine)) > 0


async def test_block_with_a_parent_that_is_not_ours_is_never_applied(
    anvil: StartAnvil, engine: AsyncEngine, story: Story, tmp_path: Path
) -> None:
    """Two nodes behind one address: the first knows our tip, the second has a longer chain without it."""
    a, b = await staged(anvil, story, tmp_path, 3)
    await blocks(a, story, 1)
    await blocks(b, story, 2, logs=0)
    foreign = await b.anvil.rpc("eth_getBlockByNumber", hex(6), False)

    def mixed(call: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        is_next = call["method"] == "eth_getBlockByNumber" and call["params"][0] == hex(6)
        return {**answer, "result": foreign} if is_next else answer

    async with faulty_node(a.anvil.rpc_url, 0) as node, leading(engine, a.chain(node.url)) as follower:
        await catch_up(follower)
        tip = follower.tip
        node.tamper = mixed
        for _ in range(5):
            with pytest.raises(InconsistentAnswer, match="do not link up"):
                await follower.step()
        assert follower.tip == tip


async def test_real_header_has_the_bloom_that_we_compute(stage: Scene, story: Story) -> None:
    await blocks(stage, story, 5, logs=20)
    for number in range(2, 7):
        header = await stage.anvil.rpc("eth_getBlockByNumber", hex(number), False)
        receipts = await stage.anvil.rpc("eth_getBlockReceipts", hex(number))
        logs = [
            Log("", number, 0, "", entry["address"], tuple(entry["topics"]), "0x")
            for receipt in receipts
            for entry in receipt["logs"]
        ]
        assert len(logs) == 20
        assert bloom_of(logs) == int(header["logsBloom"], 16)
