"""Inference servers that break, hang or are away, and callers who queue: real sockets, scripted servers in place of
Triton, the data plane in between. Time is moved by hand: nothing sweeps but the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop
from licet_gateway.dataplane.clock import now_ns
from licet_gateway.dataplane.counters import Counters
from licet_gateway.dataplane.health import EJECTED_NS, PROBE_MAX_NS, ROW_MAX, Health
from licet_gateway.dataplane.http import ResponseHead
from licet_gateway.dataplane.loss import CUT_SILENT, CUT_UNTOUCHED, Loss
from licet_gateway.dataplane.retry import FEW
from licet_gateway.dataplane.upstream import UpstreamConnection, UpstreamPool
from licet_gateway.domain import Outcome
from licet_gateway.settings import DataPlaneLimits
from licet_gateway.testing.inner import PATH, Inner, inner, waiting_calls
from licet_gateway.testing.wire import Response, call, request, wire
from licet_kit.testing.plugin import Eventually

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
GRANT = "31337:0xlicense:1:0"


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inner]:
    async with inner(tmp_path) as made:
        made.upstream.script = OK
        yield made


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Inner]:
    async with inner(tmp_path, replicas=3) as made:
        for upstream in made.upstreams:
            upstream.script = OK
        yield made


async def infer(inside: Inner, body: bytes = b"body") -> Response:
    return await call(inside.port, "POST", PATH, body, inside.key.header)


async def outcomes(inside: Inner, eventually: Eventually, count: int = 1) -> list[tuple[int, Outcome, int]]:
    """Sequence, outcome and units of so many calls."""
    found: list[tuple[int, Outcome, int]] = []

    def read() -> bool:
        found.extend((f.record.sequence, f.record.outcome, f.record.units) for f in inside.records())
        return len(found) >= count

    await eventually(read, 5, what="the records")
    return found


# --- repeats


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_call_that_is_lost_before_its_answer_is_made_again_and_billed_once(
    tmp_path: Path, eventually: Eventually, replicas: int
) -> None:
    async with inner(tmp_path, replicas=replicas) as inside:
        for upstream in inside.upstreams:
            upstream.script, upstream.cuts = OK, int(upstream is inside.upstreams[-1])
        for _ in range(2):
            assert (await infer(inside)).body == b"{}"
        assert await outcomes(inside, eventually, 2) == [(1, Outcome.OK, 1), (2, Outcome.OK, 1)]
        assert sum(upstream.served for upstream in inside.upstreams) == 2
        assert inside.total("upstream_retries") == 1


async def test_a_chunked_call_is_made_again_as_it_was(inside: Inner, eventually: Eventually) -> None:
    inside.upstream.cuts, inside.upstream.after = 1, b"0\r\n\r\n"
    fields = {**inside.key.header, "Transfer-Encoding": "chunked"}
    async with wire(inside.port) as connection:
        await connection.send(request("POST", PATH, b"", fields) + b"4\r\nbody\r\n0\r\n\r\n")
        assert (await connection.receive()).status == 200
    assert bytes(inside.upstream.heard).count(b"\r\n\r\n4\r\nbody\r\n0\r\n\r\n") == 2
    assert await outcomes(inside, eventually) == [(1, Outcome.OK, 1)]


async def test_a_call_that_is_lost_again_fails(inside: Inner, eventually: Eventually) -> None:
    inside.upstream.cuts = 2
    assert (await infer(inside)).status == 502
    assert await outcomes(inside, eventually) == [(1, Outcome.UPSTREAM_ERROR, 0)]
    assert inside.upstream.cuts == 0


async def test_a_call_whose_answer_began_is_not_made_again(inside: Inner, eventually: Eventually) -> None:
    inside.upstream.script, inside.upstream.closes = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n", True
    assert (await infer(inside)).status == 502
    assert await outcomes(inside, eventually) == [(1, Outcome.UPSTREAM_ERROR, 0)]
    assert (inside.upstream.served, inside.total("upstream_retries")) == (1, 0)


async def test_a_call_that_was_not_held_whole_is_not_made_again(
    inside: Inner, eventually: Eventually
) -> None:
    inside.upstream.cuts, inside.upstream.after = 1, b"the end"
    assert (await infer(inside, b"x" * 200_000 + b"the end")).status == 502
    assert await outcomes(inside, eventually) == [(1, Outcome.UPSTREAM_ERROR, 0)]


async def test_repeats_stay_within_their_budget(inside: Inner, eventually: Eventually) -> None:
    inside.upstream.cuts = 1000
    for _ in range(20):
        assert (await infer(inside)).status == 502
    assert 1000 - inside.upstream.cuts == 20 + FEW
    assert inside.total("upstream_retries") == FEW
    assert len(await outcomes(inside, eventually, 20)) == 20


async def test_nothing_is_sent_again_by_a_right_that_fell(
    three: Inner, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    for upstream in three.upstreams:
        upstream.cuts = 1
    acquire = UpstreamPool.acquire

    def revoked_meanwhile(pool: UpstreamPool, exchange: object, caller: str) -> object:
        if three.plane.busy:
            three.plane.book.revoke(GRANT, 2, "license_revoked")
        return acquire(pool, exchange, caller)  # type: ignore[arg-type] # passed on as it came

    monkeypatch.setattr(UpstreamPool, "acquire", revoked_meanwhile)
    answer = await infer(three)
    assert (answer.status, answer.json["code"]) == (503, "licensing_unavailable")
    assert (await outcomes(three, eventually))[0] == (1, Outcome.ABORTED, 0)
    assert sum(upstream.cuts for upstream in three.upstreams) == 2


class Asker:
    """An exchange that sends one request as soon as it can."""

    def __init__(self) -> None:
        self.connection: UpstreamConnection | None = None
        self.loss: Loss | None = None
        self.ended = False

    def on_connected(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        connection.begin(self)
        connection.write(b"POST / HTTP/1.1\r\n\r\n")

    def on_response_head(self, head: ResponseHead) -> None: ...
    def on_response_body(self, data: bytes) -> None: ...

    def on_response_end(self) -> None:
        self.ended = True

    def on_lost(self, loss: Loss) -> None:
        self.loss = loss

    def on_upstream_full(self) -> None: ...
    def on_upstream_drained(self) -> None: ...


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize(("reads", "loss"), [(False, CUT_UNTOUCHED), (True, CUT_SILENT)])
def test_a_kept_connection_that_closes_under_a_request_is_told_from_one_that_took_it(
    tmp_path: Path,
    eventually: Eventually,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    *,
    reads: bool,
    loss: Loss,
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_closed_under_a_request(tmp_path, eventually, reads=reads, loss=loss))


async def _closed_under_a_request(folder: Path, eventually: Eventually, *, reads: bool, loss: Loss) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        health = Health(lambda: True)
        pool = UpstreamPool(url, DataPlaneLimits(), health=health, counters=Counters(folder))
        first, second = Asker(), Asker()
        assert pool.acquire(first, "a") is None
        server, _ = await loop.sock_accept(listener)
        await loop.sock_recv(server, 100)
        await loop.sock_sendall(server, OK)
        await eventually(lambda: first.ended, 5)
        assert first.connection is not None
        pool.release(first.connection)
        if not reads:
            # The loop has not turned: the gateway cannot know it yet.
            server.close()
        assert pool.acquire(second, "a") is None
        assert second.connection is first.connection
        if reads:
            await loop.sock_recv(server, 100)
            server.close()
        await eventually(lambda: second.loss is not None, 5)
        assert second.loss is loss
        # Closing what it kept is no failure of the server.
        assert health.row == int(reads)
        pool.close()


# --- servers that are away, or broken


async def test_a_server_that_is_away_is_passed_over_and_probed(three: Inner, eventually: Eventually) -> None:
    away = three.plane.replicas.pools[0]
    port, away._port = away._port, 1
    for _ in range(12):
        assert (await infer(three)).status == 200
    assert (away.health.refusing, away.health.usable) == (True, False)
    assert three.upstreams[0].served == 0
    away._port = port

    def back() -> bool:
        three.plane.replicas.sweep(now_ns() + PROBE_MAX_NS)
        return away.health.usable

    await eventually(back, 5, what="the probe")
    for _ in range(3):
        assert (await infer(three)).status == 200
    assert three.upstreams[0].served


async def test_a_server_that_is_away_is_not_hammered(
    inside: Inner, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0
    connect = UpstreamPool._connect

    async def counted(pool: UpstreamPool) -> None:
        nonlocal tried
        tried += 1
        await connect(pool)

    monkeypatch.setattr(UpstreamPool, "_connect", counted)
    (pool,) = inside.plane.replicas.pools
    pool._port = 1
    for _ in range(20):
        answer = await infer(inside)
        assert (answer.status, answer.json["code"]) == (503, "model_not_ready")
    assert tried == 1
    inside.plane.replicas.sweep(now_ns() + PROBE_MAX_NS)
    await eventually(lambda: not pool._connecting, 5)
    assert tried == 2
    inside.plane.replicas.sweep(now_ns())
    assert not pool._connecting


async def test_who_waits_for_a_server_that_takes_no_more_gets_a_connection_that_it_has(
    inside: Inner, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0
    connect = UpstreamPool._connect

    async def counted(pool: UpstreamPool) -> None:
        nonlocal tried
        tried += 1
        await connect(pool)

    inside.upstream.script = b""
    async with contextlib.AsyncExitStack() as stack:
        calls = await waiting_calls(inside, stack, inside.key, 1)
        await eventually(lambda: b"<" in inside.upstream.heard, 5)
        monkeypatch.setattr(UpstreamPool, "_connect", counted)
        (pool,) = inside.plane.replicas.pools
        pool._port = 1
        calls += await waiting_calls(inside, stack, inside.key, 1)
        await eventually(lambda: pool.health.refusing, 5)
        calls += await waiting_calls(inside, stack, inside.key, 5)
        inside.upstream.script = OK
        inside.upstream.answer_now()
        for connection in calls:
            assert (await connection.receive()).status == 200
    assert (tried, inside.upstream.connections) == (1, 1)


async def test_a_server_whose_answers_break_is_left_out_for_a_while(three: Inner) -> None:
    broken = three.upstreams[0]
    broken.script, broken.closes = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", True
    answers = [await _status(three) for _ in range(60)]
    # Found out by as many calls as it takes; then by none.
    assert answers.count(200) == 60 - ROW_MAX
    assert broken.served == ROW_MAX
    assert three.total("upstream_ejections") == 1
    broken.script, broken.closes = OK, False
    three.plane.replicas.sweep(now_ns() + EJECTED_NS)
    for _ in range(3):
        assert await _status(three) == 200
    assert broken.served > ROW_MAX


async def _status(inside: Inner) -> int:
    """0 where the answer was cut."""
    try:
        return (await infer(inside)).status
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0


@pytest.mark.parametrize(("replicas", "out"), [(1, 0), (2, 1), (3, 1), (4, 2)])
async def test_at_most_half_are_left_out_and_never_the_last(tmp_path: Path, replicas: int, out: int) -> None:
    async with inner(tmp_path, replicas=replicas) as inside:
        for upstream in inside.upstreams:
            upstream.script, upstream.closes = b"nonsense\r\n\r\n", True
        for _ in range(8 * ROW_MAX):
            assert (await infer(inside)).status == 502
        assert inside.total("upstream_ejections") == out
        assert sum(pool.health.usable for pool in inside.plane.replicas.pools) == replicas - out
        inside.upstreams[-1].script, inside.upstreams[-1].closes = OK, False


async def test_the_last_that_takes_connections_is_not_left_out(tmp_path: Path) -> None:
    async with inner(tmp_path, replicas=2) as inside:
        inside.plane.replicas.pools[0]._port = 1
        upstream = inside.upstreams[1]
        upstream.script, upstream.closes = b"nonsense\r\n\r\n", True
        for _ in range(2 * ROW_MAX):
            assert (await infer(inside)).status == 502
        upstream.script, upstream.closes = OK, False
        assert (await infer(inside)).status == 200
        assert inside.total("upstream_ejections") == 0


async def test_equally_busy_servers_are_called_in_turn(three: Inner) -> None:
    for _ in range(30):
        assert (await infer(three)).status == 200
    assert [upstream.served for upstream in three.upstreams] == [10, 10, 10]
