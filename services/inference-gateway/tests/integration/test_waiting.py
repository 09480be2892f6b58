"""What a call waits for, and how long: an answer, its version, a connection. Real sockets, a scripted server in place
of Triton. Time is moved by hand: nothing sweeps but the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from licet_gateway.dataplane.clock import SECOND, now_ns
from licet_gateway.dataplane.http import ResponseHead
from licet_gateway.dataplane.loss import Loss
from licet_gateway.dataplane.upstream import UpstreamConnection, UpstreamPool
from licet_gateway.domain import Outcome
from licet_gateway.settings import DataPlaneLimits
from licet_gateway.testing.inner import PATH, Inner, inner, waiting_calls
from licet_gateway.testing.keys import api_key
from licet_gateway.testing.wire import Response, Wire, call, request, wire
from licet_kit.testing.plugin import Eventually

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
GRANT = "31337:0xlicense:1:0"


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inner]:
    async with inner(tmp_path) as made:
        made.upstream.script = OK
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


class Place:
    """An exchange that keeps its connection, and seeks another as soon as it has one."""

    def __init__(self, pool: UpstreamPool, *, more: int) -> None:
        self._pool = pool
        self._more = more
        self.next: Place | None = None
        self.connection: UpstreamConnection | None = None

    def on_connected(self, connection: UpstreamConnection) -> None:
        connection.begin(self)
        self.connection = connection
        if self._more:
            self.next = Place(self._pool, more=self._more - 1)
            assert self._pool.acquire(self.next, "account") is None

    def on_response_head(self, head: ResponseHead) -> None:
        """Nothing is asked."""

    def on_response_body(self, data: bytes) -> None:
        """See on_response_head."""

    def on_response_end(self) -> None:
        """See on_response_head."""

    def on_lost(self, loss: Loss) -> None:
        """The pool is closed at the end."""

    def on_upstream_full(self) -> None:
        """See on_response_head."""

    def on_upstream_drained(self) -> None:
        """See on_response_head."""


async def test_the_last_connection_that_is_allowed_is_made_too(
    tmp_path: Path, eventually: Eventually
) -> None:
    """A connection that was just made counted twice: as open, and as being made."""
    async with inner(tmp_path, limits=DataPlaneLimits(upstream_connections=2)) as inside:
        pool = inside.plane.replicas.pools[0]
        first = Place(pool, more=1)
        assert pool.acquire(first, "account") is None
        await eventually(lambda: first.next is not None and first.next.connection is not None, 5)


# --- time limits


async def test_a_server_that_begins_no_answer_is_given_up(tmp_path: Path, eventually: Eventually) -> None:
    limits = DataPlaneLimits(upstream_first_byte_timeout_s=7, upstream_idle_timeout_s=3)
    async with inner(tmp_path, limits=limits) as inside, wire(inside.port) as connection:
        await connection.send(request("POST", PATH, b"body", inside.key.header))
        await eventually(lambda: b"body" in inside.upstream.heard, 5)
        inside.plane.replicas.sweep(now_ns() + 5 * SECOND)
        assert inside.plane.busy == 1
        inside.plane.replicas.sweep(now_ns() + 8 * SECOND)
        answer = await connection.receive()
        assert (answer.status, answer.json["error"]) == (504, "the inference server began no answer in 7 s")
        assert await outcomes(inside, eventually) == [(1, Outcome.UPSTREAM_ERROR, 0)]
        assert inside.total("upstream_retries") == 0


async def test_a_server_that_falls_silent_is_given_up(tmp_path: Path, eventually: Eventually) -> None:
    limits = DataPlaneLimits(upstream_first_byte_timeout_s=7, upstream_idle_timeout_s=3)
    async with inner(tmp_path, limits=limits) as inside, wire(inside.port) as connection:
        inside.upstream.script = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"
        await connection.send(request("POST", PATH, b"body", inside.key.header))
        assert (await connection.receive_head())[0] == 200
        inside.plane.replicas.sweep(now_ns() + 4 * SECOND)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await connection._reader.readexactly(9)
        assert await outcomes(inside, eventually) == [(1, Outcome.UPSTREAM_ERROR, 0)]


async def test_a_server_is_not_blamed_for_a_client_that_sends_slowly(
    tmp_path: Path, eventually: Eventually
) -> None:
    limits = DataPlaneLimits(upstream_first_byte_timeout_s=7)
    async with inner(tmp_path, limits=limits) as inside, wire(inside.port) as connection:
        inside.upstream.script, inside.upstream.after = OK, b"the end"
        sent = request("POST", PATH, b"x" * 100_000 + b"the end", inside.key.header)
        await connection.send(sent[:-7])
        await eventually(lambda: inside.upstream.heard.count(b"x") >= 90_000, 5)
        inside.plane.replicas.sweep(now_ns() + 20 * SECOND)
        await connection.send(sent[-7:])
        assert (await connection.receive()).status == 200


async def test_a_server_that_does_not_take_a_connection_in_time_is_away(
    tmp_path: Path, eventually: Eventually
) -> None:
    async with inner(tmp_path, limits=DataPlaneLimits(upstream_connect_timeout_s=0.2)) as inside:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            address = listener.getsockname()
            # What is not accepted fills the queue, after which the kernel lets nobody in.
            for _ in range(3):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(address)
            (pool,) = inside.plane.replicas.pools
            pool._port = address[1]
            answer = await infer(inside)
            assert (answer.status, answer.json["code"]) == (503, "model_not_ready")
            assert pool.health.refusing


# --- versions that are not ready yet


async def held(inside: Inner, connection: Wire, eventually: Eventually, count: int = 1) -> None:
    await connection.send(request("POST", PATH, b"body", inside.key.header))
    await eventually(lambda: len(inside.plane.holding) == count, 5, what="the held call")


async def test_a_call_waits_for_its_version_and_goes_on_when_it_is_announced(
    inside: Inner, eventually: Eventually
) -> None:
    inside.announce(ordinal=2, ready=False)
    async with wire(inside.port) as connection:
        await held(inside, connection, eventually)
        assert not any(lease.holders for lease in inside.plane.book.live_leases())
        inside.announce(ordinal=3)
        assert (await connection.receive()).status == 200
    assert (await outcomes(inside, eventually, 2))[-1][1:] == (Outcome.OK, 1)
    assert inside.total("calls_held") == 1


async def test_a_version_that_does_not_come_in_time_is_told_as_not_ready(
    inside: Inner, eventually: Eventually
) -> None:
    inside.announce(ordinal=2, ready=False)
    async with wire(inside.port) as connection:
        await held(inside, connection, eventually)
        inside.plane.holding.sweep(now_ns() + 4 * SECOND)
        assert len(inside.plane.holding) == 1
        inside.plane.holding.sweep(now_ns() + 6 * SECOND)
        answer = await connection.receive()
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (
        503,
        "model_not_ready",
        "1",
    )


async def test_a_call_waits_no_longer_for_another_version_than_for_its_own(
    inside: Inner, eventually: Eventually
) -> None:
    inside.announce(ordinal=2, ready=False)
    async with wire(inside.port) as connection:
        await held(inside, connection, eventually)
        (waiting,) = inside.plane.holding._calls["acme/risk"]
        until_ns = waiting.held_until_ns
        inside.plane.holding.wake("acme/risk")
        await eventually(lambda: len(inside.plane.holding) == 1, 5, what="the call that came back")
        assert waiting.held_until_ns == until_ns
        inside.plane.holding.sweep(until_ns)
        assert (await connection.receive()).status == 503


async def test_a_held_call_goes_with_its_client(inside: Inner, eventually: Eventually) -> None:
    inside.announce(ordinal=2, ready=False)
    async with wire(inside.port) as connection:
        await held(inside, connection, eventually)
        connection.abort()
        await eventually(lambda: not len(inside.plane.holding), 5, what="the end of the wait")
    inside.announce(ordinal=3)
    assert inside.upstream.served == 0


@pytest.mark.parametrize("limits", [DataPlaneLimits(hold_calls=1), DataPlaneLimits(hold_s=0)])
async def test_held_calls_are_bounded(
    tmp_path: Path, eventually: Eventually, limits: DataPlaneLimits
) -> None:
    async with inner(tmp_path, limits=limits) as inside, wire(inside.port) as first:
        inside.announce(ordinal=2, ready=False)
        if limits.hold_s:
            await held(inside, first, eventually)
        answer = await infer(inside)
        assert (answer.status, answer.json["code"]) == (503, "model_not_ready")


# --- the queue


@pytest.fixture
async def narrow(tmp_path: Path) -> AsyncIterator[Inner]:
    """One connection to a server that answers only when `script` is set, up to 30 waiting calls, 20 of an account."""
    limits = DataPlaneLimits(upstream_connections=1, queue_length=30, queue_length_per_account=20)
    async with inner(tmp_path, limits=limits) as made:
        yield made


async def test_one_caller_with_many_calls_does_not_starve_another(
    narrow: Inner, eventually: Eventually
) -> None:
    greedy, modest = narrow.key, api_key(2)
    async with contextlib.AsyncExitStack() as stack:
        many = await waiting_calls(narrow, stack, greedy, 12)
        (one,) = await waiting_calls(narrow, stack, modest, 1)
        narrow.upstream.script = OK
        # The server answers what it has, and from then on what it gets.
        narrow.upstream.answer_now()
        for connection in [one, *many]:
            assert (await connection.receive()).status == 200
    order = [part[:6] for part in bytes(narrow.upstream.heard).split(b"<")[1:]]
    assert order.index(modest.digest.hex()[:6].encode()) == 2


async def test_a_call_that_waits_too_long_is_shed(narrow: Inner, eventually: Eventually) -> None:
    async with contextlib.AsyncExitStack() as stack:
        running, waiting = await waiting_calls(narrow, stack, narrow.key, 2)
        narrow.plane.replicas.sweep(now_ns() + SECOND)
        assert narrow.total("calls_shed") == 0
        narrow.plane.replicas.sweep(now_ns() + 3 * SECOND)
        answer = await waiting.receive()
        assert (answer.status, answer.json["code"]) == (503, "overloaded")
        assert answer.headers["retry-after"] == "1"
        assert narrow.total("calls_shed") == 1
        narrow.upstream.script = OK
        narrow.upstream.answer_now()
        assert (await running.receive()).status == 200
        assert len(await outcomes(narrow, eventually)) == 1


async def test_a_caller_has_its_bound_of_waiting_calls(narrow: Inner, eventually: Eventually) -> None:
    async with contextlib.AsyncExitStack() as stack:
        calls = await waiting_calls(narrow, stack, narrow.key, 21)
        answer = await infer(narrow)
        assert (answer.status, answer.json["code"]) == (503, "overloaded")
        calls += await waiting_calls(narrow, stack, api_key(2), 1)
        narrow.upstream.script = OK
        narrow.upstream.answer_now()
        for connection in calls:
            assert (await connection.receive()).status == 200
