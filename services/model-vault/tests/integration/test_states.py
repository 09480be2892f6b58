"""States are numbered, announced in the transaction that stores them, and told only when they change."""

from dataclasses import replace

from licet_kit.db import reading, transaction
from licet_schemas.licet.vault.v1.vault_pb2 import VersionStateChanged
from licet_vault import db
from licet_vault.domain import State, VersionState
from licet_vault.usecases.states import announce_all, change_state, leave_other_tritons
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

HERE, THERE = "http://here:8000", "http://there:8000"
UNLOADED = VersionState(
    asset_id="0xa",
    slug="acme/risk",
    digest="0x1",
    triton_model="acme.risk-1",
    triton_url=HERE,
    state=State.UNLOADED,
)
READY = replace(UNLOADED, state=State.READY, metering_rule="rows:X", schema_json='{"inputs":[]}')


async def told(engine: AsyncEngine) -> list[VersionStateChanged]:
    async with reading(engine) as session:
        rows = await session.execute(select(db.TABLES.outbox).order_by(db.TABLES.outbox.c.id))
        return [VersionStateChanged.FromString(row.payload) for row in rows]


async def change(engine: AsyncEngine, state: VersionState) -> bool:
    async with transaction(engine) as session:
        return await change_state(session, state)


async def test_each_change_is_announced_once_under_the_next_number(engine: AsyncEngine) -> None:
    assert await change(engine, UNLOADED)
    assert await change(engine, READY)
    assert not await change(engine, READY)
    assert await change(engine, replace(UNLOADED, state=State.REFUSED, reason="load_failed"))
    messages = await told(engine)
    assert [(m.version, m.state, m.reason) for m in messages] == [
        (1, "unloaded", ""),
        (2, "ready", ""),
        (3, "refused", "load_failed"),
    ]
    assert (messages[1].triton_model, messages[1].triton_url) == ("acme.risk-1", HERE)
    assert (messages[1].metering_rule, messages[1].schema_json) == ("rows:X", '{"inputs":[]}')


async def test_what_is_known_of_the_interface_is_kept_when_a_version_is_unloaded(engine: AsyncEngine) -> None:
    await change(engine, READY)
    await change(engine, UNLOADED)
    assert (await told(engine))[-1].metering_rule == "rows:X"


async def test_a_change_that_is_rolled_back_is_not_told(engine: AsyncEngine) -> None:
    try:
        async with transaction(engine) as session:
            await change_state(session, READY)
            raise ConnectionError
    except ConnectionError:
        assert await told(engine) == []
    async with reading(engine) as session:
        assert await db.states_of(session, HERE) == []


async def test_states_are_told_again_without_a_new_number(engine: AsyncEngine) -> None:
    await change(engine, READY)
    async with transaction(engine) as session:
        assert await announce_all(session, HERE) == 1
        assert await announce_all(session, THERE) == 0
    first, again = await told(engine)
    assert first == again


async def test_a_triton_that_is_not_ours_any_more_serves_nothing(engine: AsyncEngine) -> None:
    await change(engine, READY)
    await change(engine, replace(READY, triton_url=THERE))
    async with transaction(engine) as session:
        assert await leave_other_tritons(session, [HERE]) == 1
    assert [(m.triton_url, m.state) for m in await told(engine)][2:] == [(THERE, "unloaded")]
