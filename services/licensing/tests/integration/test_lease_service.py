"""LeaseService over a real gRPC connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import grpc
import grpc.aio
import pytest
from licet_kit.db import open_engine
from licet_kit.ids import new_id
from licet_kit.testing.plugin import StartProxy
from licet_kit.testing.ports import free_port
from licet_kit.testing.proxy import Proxy
from licet_licensing.api import lease_service
from licet_licensing.api.batching import Batcher
from licet_licensing.api.lease_service import LeaseServicer, serve_leases
from licet_licensing.domain.credentials import format_session_token
from licet_licensing.domain.leases import MAX_UNITS
from licet_licensing.testing.words import ALICE, DEPOSIT_GRANT, SLUG, grant_id
from licet_licensing.testing.world import POLICY, World, record
from licet_licensing.usecases.leasing import Granted
from licet_schemas.licet.licensing.v1 import licensing_pb2 as pb
from licet_schemas.licet.licensing.v1 import licensing_pb2_grpc as stubs
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

TOKEN = "worker-token-of-the-test"
WORKER = (("authorization", f"Bearer {TOKEN}"),)


@asynccontextmanager
async def serving(world: World, engine: AsyncEngine) -> AsyncIterator[stubs.LeaseServiceAsyncStub]:
    """A worker's connection to a service on this engine."""
    port = free_port()
    batcher = Batcher(engine, POLICY, world.clock)
    servicer = LeaseServicer(engine, batcher, POLICY, world.clock)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(batcher.run(stop))
        group.create_task(serve_leases(servicer, TOKEN, "127.0.0.1", port)(stop))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await channel.channel_ready()
            yield stubs.LeaseServiceStub(channel)
        stop.set()


@pytest.fixture
async def stub(world: World) -> AsyncIterator[stubs.LeaseServiceAsyncStub]:
    async with serving(world, world.engine) as connected:
        yield connected


async def request(world: World, **changes: object) -> pb.LeaseRequest:
    credential = pb.Credential(api_key_hash=await world.key_of(ALICE))
    values = {
        "request_id": new_id(),
        "worker_id": "worker-1",
        "credential": credential,
        "slug": SLUG,
        "units_wanted": 10,
        "min_units": 1,
    }
    return pb.LeaseRequest(**(values | changes))  # type: ignore[arg-type]


async def test_a_worker_leases_renews_and_returns(world: World, stub: stubs.LeaseServiceAsyncStub) -> None:
    await world.market(unit_price="7", included_units=10)
    await world.buy()
    await world.deposit()
    asked = await request(world)
    first = (await stub.Lease(asked, metadata=WORKER)).grant
    assert (first.grant_id, first.units, first.ttl_ms, first.max_amount) == (grant_id(), 10, 10_000, "0")
    assert (first.source, first.plan_id, first.slug) == (pb.GRANT_SOURCE_LICENSE, "1", SLUG)
    assert (first.limits.requests_per_s, first.limits.max_request_units, len(first.requires)) == (10, 10, 0)
    world.clock.advance(4)
    again = (await stub.Lease(asked, metadata=WORKER)).grant
    assert (again.lease_id, again.ttl_ms) == (first.lease_id, 6_000)
    renewal = pb.RenewRequest(
        request_id=new_id(), worker_id="worker-1", lease_id=first.lease_id, units_wanted=5
    )
    renewed = (await stub.Renew(renewal, metadata=WORKER)).grant
    assert (renewed.lease_id, renewed.units, renewed.ttl_ms) == (first.lease_id, 10, 10_000)
    paid = (await stub.Lease(await request(world), metadata=WORKER)).grant
    assert (paid.grant_id, paid.source, paid.max_amount) == (DEPOSIT_GRANT, pb.GRANT_SOURCE_DEPOSIT, "70")
    assert [(each.grant_id, each.generation) for each in paid.requires] == [(grant_id(), 1)]
    gone = pb.ReturnRequest(
        request_id=new_id(), worker_id="worker-1", lease_id=first.lease_id, last_sequence=3
    )
    await stub.Return(gone, metadata=WORKER)
    assert (await world.rows("leases", lease_id=first.lease_id))[0].expires_at == world.now


async def test_a_session_matches_replies_by_request_and_survives_bad_ones(
    world: World, stub: stubs.LeaseServiceAsyncStub
) -> None:
    await world.market()
    await world.buy()
    good = [await request(world, units_wanted=5) for _ in range(20)]
    requests = [pb.SessionRequest(lease=each) for each in good]
    nobody = await request(world, credential=pb.Credential(session=format_session_token(bytes(32))))
    malformed = await request(world, credential=pb.Credential(session="nonsense"), request_id="malformed")
    nothing = pb.LeaseRequest(request_id="nothing", worker_id="worker-1")
    requests += [pb.SessionRequest(lease=each) for each in (nobody, malformed, nothing)]
    requests.append(
        pb.SessionRequest(renew=pb.RenewRequest(request_id="r", worker_id="worker-1", lease_id="unknown"))
    )
    returning = pb.SessionRequest()
    getattr(returning, "return").request_id = "t"
    requests.append(returning)
    call = stub.Session(iter(requests), metadata=WORKER)
    replies = {reply.request_id: reply async for reply in call}
    assert len(replies) == len(requests)
    granted = [replies[each.request_id].lease.grant for each in good]
    assert sum(grant.units for grant in granted) == 100
    assert sorted(grant.account_lease for grant in granted) == list(range(1, 21))
    codes = {
        name: replies[name].lease.denial.code for name in (nobody.request_id, "malformed", "nothing", "r")
    }
    assert codes == {
        nobody.request_id: "credential_invalid",
        "malformed": "credential_invalid",
        "nothing": "request_invalid",
        "r": "credential_invalid",
    }
    assert replies["t"].WhichOneof("reply") == "return"
    assert await world.units() == (0, 100, 0, 0, 0)


async def test_requests_that_come_together_share_a_transaction(
    world: World, stub: stubs.LeaseServiceAsyncStub
) -> None:
    await world.market()
    await world.buy()
    asked = [await request(world, units_wanted=1) for _ in range(60)]
    await asyncio.gather(*(stub.Lease(each, metadata=WORKER) for each in asked))
    query = text("SELECT count(DISTINCT xmin::text) FROM decisions")
    async with world.engine.connect() as connection:
        transactions = await connection.scalar(query)
    assert transactions is not None
    assert transactions < 30
    assert await world.units() == (40, 60, 0, 0, 0)


async def test_one_request_sent_twice_at_once_lends_once(
    world: World, stub: stubs.LeaseServiceAsyncStub
) -> None:
    await world.market()
    await world.buy()
    asked = await request(world)
    replies = await asyncio.gather(*(stub.Lease(asked, metadata=WORKER) for _ in range(8)))
    assert len({reply.grant.lease_id for reply in replies}) == 1
    assert await world.units() == (90, 10, 0, 0, 0)


async def test_a_refusal_is_a_reply_with_a_remedy(world: World, stub: stubs.LeaseServiceAsyncStub) -> None:
    await world.market()
    denial = (await stub.Lease(await request(world), metadata=WORKER)).denial
    assert (denial.code, denial.retry_after_ms) == ("license_missing", 0)
    assert denial.message
    assert denial.remedy
    assert denial.decision_id


async def test_explain_tells_what_was_and_what_would_be(
    world: World, stub: stubs.LeaseServiceAsyncStub
) -> None:
    await world.market()
    await world.buy()
    lease = await world.lease()
    credential = pb.Credential(api_key_hash=await world.key_of(ALICE))
    would = await stub.Explain(pb.ExplainRequest(credential=credential, slug=SLUG), metadata=WORKER)
    assert (would.code, would.decision_id, would.steps[0].subject) == ("ok", "", grant_id())
    asked = pb.ExplainRequest(credential=credential, decision_id=lease.decision_id)
    was = await stub.Explain(asked, metadata=WORKER)
    assert (was.code, was.decision_id) == ("ok", lease.decision_id)
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await stub.Explain(pb.ExplainRequest(credential=credential, decision_id="x"), metadata=WORKER)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer wrong"),), (("authorization", TOKEN),)])
async def test_nobody_leases_without_the_worker_token(
    world: World, stub: stubs.LeaseServiceAsyncStub, metadata: tuple[tuple[str, str], ...]
) -> None:
    await world.market()
    await world.buy()
    asked = await request(world)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Lease(asked, metadata=metadata)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await anext(aiter(stub.Session(iter([pb.SessionRequest(lease=asked)]), metadata=metadata)))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert await world.units() == (100, 0, 0, 0, 0)


async def test_a_deposit_worth_more_units_than_64_bits_is_lent_and_renewed(
    world: World, stub: stubs.LeaseServiceAsyncStub
) -> None:
    await world.market(unit_price="1", included_units=0)
    await world.buy()
    await world.deposit(6, 10**21)
    asked = pb.SessionRequest(lease=await request(world))
    (reply,) = [reply async for reply in stub.Session(iter([asked]), metadata=WORKER)]
    first = reply.lease.grant
    assert (first.units, first.units_remaining) == (10, MAX_UNITS)
    more = pb.RenewRequest(
        request_id=new_id(), worker_id="worker-1", lease_id=first.lease_id, units_wanted=MAX_UNITS
    )
    renewed = (await stub.Renew(more, metadata=WORKER)).grant
    assert (renewed.units, renewed.max_amount) == (MAX_UNITS, str(MAX_UNITS))


async def test_a_request_that_makes_no_sense_is_invalid(
    world: World, stub: stubs.LeaseServiceAsyncStub
) -> None:
    await world.market()
    await world.buy()
    asked = await request(world)
    await stub.Lease(asked, metadata=WORKER)
    for bad in (
        await request(world, request_id=asked.request_id, units_wanted=11),
        await request(world, request_id=""),
        await request(world, worker_id="a\0b"),
        await request(world, slug=""),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as invalid:
            await stub.Lease(bad, metadata=WORKER)
        assert invalid.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    unknown = await stub.Lease(await request(world, asset_id="0x\0", slug=""), metadata=WORKER)
    assert unknown.denial.code == "model_unknown"


async def test_a_closed_lease_gives_back_through_its_records(
    world: World, stub: stubs.LeaseServiceAsyncStub
) -> None:
    await world.market()
    await world.buy()
    lease = await world.lease(wanted=10)
    await world.count(record(lease, 1, 4, last=True))
    grant = (await stub.Lease(await request(world, units_wanted=96), metadata=WORKER)).grant
    assert (grant.units, grant.units_remaining) == (96, 0)


async def test_an_unexpected_fault_of_one_request_leaves_its_stream_alone(
    world: World, stub: stubs.LeaseServiceAsyncStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(reply: Granted, now: float) -> pb.Grant:
        if reply.units == 7:
            raise ValueError("a fault of ours")
        return told(reply, now)

    told = lease_service._grant
    monkeypatch.setattr(lease_service, "_grant", failing)
    await world.market()
    await world.buy()
    wanted = {7: await request(world, units_wanted=7), 8: await request(world, units_wanted=8)}
    asked = [pb.SessionRequest(lease=each) for each in wanted.values()]
    for _ in range(2):
        replies = {r.request_id: r.lease async for r in stub.Session(iter(asked), metadata=WORKER)}
        assert replies[wanted[7].request_id].denial.code == "licensing_unavailable"
        assert replies[wanted[8].request_id].grant.units == 8


@pytest.fixture
async def door(proxy: StartProxy, database_url: str) -> Proxy:
    """A way to the database that can be cut."""
    parts = urlsplit(database_url)
    return await proxy(parts.hostname or "", parts.port or 0)


def through(door: Proxy, database_url: str) -> str:
    parts = urlsplit(database_url)
    return urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{door.port}"))


async def test_a_short_absence_of_the_database_is_waited_out(
    world: World, door: Proxy, database_url: str
) -> None:
    await world.market()
    await world.buy()
    asked = await request(world)
    async with open_engine(through(door, database_url)) as engine, serving(world, engine) as stub:
        await stub.Lease(await request(world, units_wanted=1), metadata=WORKER)
        await door.cut()
        waiting = asyncio.ensure_future(stub.Lease(asked, metadata=WORKER))
        answered, _ = await asyncio.wait({waiting}, timeout=0.5)
        assert not answered
        await door.restore()
        assert (await waiting).grant.units == 10


async def test_a_stream_ends_when_the_database_stays_away_and_its_requests_are_asked_again(
    world: World, door: Proxy, database_url: str
) -> None:
    await world.market()
    await world.buy()
    asked = [pb.SessionRequest(lease=await request(world, units_wanted=2)) for _ in range(3)]
    async with open_engine(through(door, database_url)) as engine, serving(world, engine) as stub:
        await door.cut()
        with pytest.raises(grpc.aio.AioRpcError) as broken:
            _ = [reply async for reply in stub.Session(iter(asked), metadata=WORKER)]
        assert broken.value.code() is grpc.StatusCode.UNAVAILABLE
        await door.restore()
        first = [reply async for reply in stub.Session(iter(asked), metadata=WORKER)]
        again = [reply async for reply in stub.Session(iter(asked), metadata=WORKER)]
    leases = {reply.request_id: reply.lease.grant.lease_id for reply in first}
    assert {reply.request_id: reply.lease.grant.lease_id for reply in again} == leases
    assert len(set(leases.values())) == 3
    assert await world.units() == (94, 6, 0, 0, 0)
