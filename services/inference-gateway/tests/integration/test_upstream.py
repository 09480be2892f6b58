"""An upstream that misbehaves, and clients that stall: real sockets, a scripted server, the data plane in between."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from licet_gateway.dataplane.client import BODY_TIMEOUT_NS, HEAD_TIMEOUT_NS, IDLE_TIMEOUT_NS, LINGER_NS
from licet_gateway.dataplane.clock import SECOND, now_ns
from licet_gateway.domain import Outcome
from licet_gateway.settings import DataPlaneLimits
from licet_gateway.testing.inner import PATH, Inner, inner
from licet_gateway.testing.wire import Response, request, wire
from licet_kit.testing.plugin import Eventually

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inner]:
    async with inner(tmp_path) as made:
        yield made


async def infer(inside: Inner, body: bytes = b"body", headers: dict[str, str] | None = None) -> Response:
    async with wire(inside.port) as connection:
        await connection.send(request("POST", PATH, body, inside.key.header | (headers or {})))
        return await connection.receive()


async def recorded(inside: Inner, eventually: Eventually) -> tuple[Outcome, int]:
    """Outcome and units of the one call."""
    (finished,) = await eventually(inside.records, 5)
    return finished.record.outcome, finished.record.units


@pytest.mark.parametrize(
    ("script", "body"),
    [
        (OK, b"{}"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"{}"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\n{}\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n",
            b"{}abc",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
async def test_every_framing_of_an_answer_arrives(
    inside: Inner, eventually: Eventually, script: bytes, body: bytes
) -> None:
    inside.upstream.script = script
    for _ in range(2):
        response = await infer(inside)
        assert (response.status // 100, response.body) == (2, body)
        assert await recorded(inside, eventually) == (Outcome.OK, 1)
    assert inside.upstream.connections == 1


async def test_an_answer_without_length_ends_with_its_connection(
    inside: Inner, eventually: Eventually
) -> None:
    inside.upstream.script, inside.upstream.closes = b"HTTP/1.1 200 OK\r\n\r\nall of it", True
    for _ in range(2):
        assert (await infer(inside)).body == b"all of it"
        assert await recorded(inside, eventually) == (Outcome.OK, 1)
    assert inside.upstream.connections == 2


@pytest.mark.parametrize(
    "script",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nXX\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_an_answer_that_cannot_be_read_is_an_upstream_error(
    inside: Inner, eventually: Eventually, script: bytes
) -> None:
    inside.upstream.script = script
    response = await infer(inside)
    assert response.status == 502
    assert response.json["error"]
    assert await recorded(inside, eventually) == (Outcome.UPSTREAM_ERROR, 0)


@pytest.mark.parametrize(
    "script",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
async def test_half_an_answer_is_cut_off_and_not_charged(
    inside: Inner, eventually: Eventually, script: bytes
) -> None:
    inside.upstream.script, inside.upstream.closes = script, True
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await infer(inside)
    assert await recorded(inside, eventually) == (Outcome.UPSTREAM_ERROR, 0)


async def test_more_than_an_answer_is_not_given_to_the_next_caller(
    inside: Inner, eventually: Eventually
) -> None:
    inside.upstream.script = OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError, AssertionError)):
        assert (await infer(inside)).status != 200
    await recorded(inside, eventually)
    inside.upstream.script = OK
    assert (await infer(inside)).body == b"{}"
    assert inside.upstream.connections == 2


async def test_an_answer_before_the_end_of_the_request_costs_the_connections(
    inside: Inner, eventually: Eventually
) -> None:
    inside.upstream.script = b'HTTP/1.1 413 Too Much\r\nContent-Length: 13\r\n\r\n{"error":"x"}'
    sent = request("POST", PATH, b"x" * 1_000_000, inside.key.header)
    async with wire(inside.port) as connection:
        await connection.send(sent[:500_000])
        response = await connection.receive()
        assert (response.status, response.json) == (413, {"error": "x"})
        assert response.headers["connection"] == "close"
        (client,) = inside.plane.connections
        client.sweep(now_ns() + LINGER_NS * 2)
        assert await connection.ended()
    assert await recorded(inside, eventually) == (Outcome.UPSTREAM_ERROR, 0)
    inside.upstream.script = OK
    assert (await infer(inside)).status == 200
    assert inside.upstream.connections == 2


async def test_an_upstream_that_never_answers_is_given_up(inside: Inner, eventually: Eventually) -> None:
    async with wire(inside.port) as connection:
        await connection.send(request("POST", PATH, b"body", inside.key.header))
        await eventually(lambda: b"body" in inside.upstream.heard, 5)
        inside.plane.give_up(now_ns() + inside.plane.call_timeout_ns)
        response = await connection.receive()
    assert response.status == 504
    assert await recorded(inside, eventually) == (Outcome.UPSTREAM_ERROR, 0)


async def test_an_upstream_that_is_away_is_told_as_not_ready(tmp_path: Path, eventually: Eventually) -> None:
    async with inner(tmp_path) as inside:
        (pool,) = inside.plane.replicas.pools
        pool._port = 1
        response = await infer(inside)
        assert (response.status, response.json["code"]) == (503, "model_not_ready")
        assert inside.records() == []


STALLS = [
    (b"POST /v2/models/acme.risk/infer HTTP/1.1\r\nHo", HEAD_TIMEOUT_NS, 0),
    (b"", IDLE_TIMEOUT_NS, 0),
    (b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n", IDLE_TIMEOUT_NS, 200),
    (b"half a body", BODY_TIMEOUT_NS, 408),
]


@pytest.mark.parametrize(("data", "limit", "status"), STALLS)
async def test_a_client_that_stalls_is_let_go(
    inside: Inner, eventually: Eventually, data: bytes, limit: int, status: int
) -> None:
    if data == b"half a body":
        data = request("POST", PATH, b"body", inside.key.header)[:-2]
    async with wire(inside.port) as connection:
        await connection.send(data)
        (client,) = await eventually(lambda: inside.plane.connections, 5)
        if status == 200:
            assert (await connection.receive()).status == 200
        else:
            await eventually(lambda: client._reader.idle == (not data), 5)
        client.sweep(now_ns() + limit - 10**9)
        assert inside.plane.connections
        client.sweep(now_ns() + limit + 10**9)
        if status == 408:
            assert (await connection.receive()).status == 408
            client.sweep(now_ns() + LINGER_NS + 10**9)
        assert await connection.ended()
    assert inside.records() == []


async def test_who_is_refused_with_a_long_body_hears_it_before_the_end(inside: Inner) -> None:
    """The answer comes while the body is still being sent, and is not lost in a reset."""
    async with wire(inside.port) as connection:
        await connection.send(request("POST", PATH, b"", {"Content-Length": "900000"}))
        response = await connection.receive()
        assert (response.status, response.json["code"]) == (401, "credential_missing")
        assert response.headers["www-authenticate"] == "Bearer"
        await connection.send(b"x" * 300_000)
        (client,) = inside.plane.connections
        client.sweep(now_ns() + LINGER_NS * 10)
        # It was still sending, so this end is a reset.
        with contextlib.suppress(ConnectionResetError):
            assert await connection.ended()


async def test_who_is_refused_with_a_short_body_keeps_the_connection(inside: Inner) -> None:
    async with wire(inside.port) as connection:
        await connection.send(request("POST", PATH, b"x" * 1000))
        assert (await connection.receive()).status == 401
        inside.upstream.script = OK
        await connection.send(request("POST", PATH, b"body", inside.key.header))
        assert (await connection.receive()).status == 200


async def test_a_head_request_gets_no_body(inside: Inner) -> None:
    async with wire(inside.port) as connection:
        await connection.send(b"HEAD /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        response = await connection.receive()
        assert (response.status, response.headers["content-length"]) == (404, "0")
        assert await connection.ended()


@pytest.fixture
async def narrow(tmp_path: Path) -> AsyncIterator[Inner]:
    """One connection to Triton, and little patience."""
    limits = DataPlaneLimits(upstream_connections=1, call_timeout_s=1.0)
    async with inner(tmp_path, limits=limits) as made:
        yield made


async def test_a_call_that_waits_for_a_connection_gets_one_when_another_is_cut(narrow: Inner) -> None:
    narrow.upstream.script, narrow.upstream.after = OK, b"the end"
    async with wire(narrow.port) as first, wire(narrow.port) as second:
        # Too long to be held until it is whole, and never whole: it has the only connection.
        sent = request("POST", PATH, b"x" * 100_000, narrow.key.header)
        await first.send(sent[:-1000])
        await asyncio.sleep(0.2)
        await second.send(request("POST", PATH, b"the end", narrow.key.header))
        await asyncio.sleep(0.2)
        first.abort()
        async with asyncio.timeout(5):
            assert (await second.receive()).status == 200


async def test_a_call_that_finds_no_connection_in_time_is_refused(narrow: Inner) -> None:
    async with wire(narrow.port) as first, wire(narrow.port) as second:
        await first.send(request("POST", PATH, b"x" * 100_000, narrow.key.header)[:-1000])
        await asyncio.sleep(0.2)
        await second.send(request("POST", PATH, b"body", narrow.key.header))
        await asyncio.sleep(1.2)
        narrow.plane.sweep()
        async with asyncio.timeout(5):
            answer = await second.receive()
        assert (answer.status, answer.json["code"]) == (503, "overloaded")
        first.abort()


async def test_metadata_that_triton_does_not_tell_in_time_is_asked_for_again(narrow: Inner) -> None:
    asked = request("GET", PATH.removesuffix("/infer"))
    async with wire(narrow.port) as first, wire(narrow.port) as second:
        await first.send(asked)
        await asyncio.sleep(1.2)
        narrow.plane.sweep()
        async with asyncio.timeout(5):
            assert (await first.receive()).status == 503
        narrow.upstream.script = OK
        await second.send(asked)
        async with asyncio.timeout(5):
            assert (await second.receive()).status == 200


@pytest.mark.parametrize("ending", ["half-close", "reset", "close after a late read"])
async def test_no_answer_arrives_that_is_not_charged(
    inside: Inner, eventually: Eventually, ending: str
) -> None:
    """A client that pipelines, takes little at a time, and goes in the worst moment."""
    size, calls = 3000, 200
    whole = b"R" * size
    inside.upstream.script = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (size, whole)
    records: list[tuple[Outcome, int]] = []

    def charged() -> int:
        while found := inside.records():
            records.extend((r.record.outcome, r.record.units) for r in found)
        return records.count((Outcome.OK, 1))

    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", inside.port))
        (connection,) = await eventually(lambda: list(inside.plane.connections), 5)
        # As small as it is at the start of a connection over a long way.
        served = connection._transport.get_extra_info("socket")
        served.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        sending = asyncio.create_task(
            loop.sock_sendall(client, request("POST", PATH, b"body", inside.key.header) * calls)
        )
        await eventually(connection._transport.get_write_buffer_size, 5)
        received = b""
        async with asyncio.timeout(20):
            while received.count(whole) < calls // 4:
                # The gateway always has something more to hand over.
                if connection._transport.get_write_buffer_size():
                    received += await loop.sock_recv(client, 2048)
                await asyncio.sleep(0)
        if ending == "half-close":
            await sending
            client.shutdown(socket.SHUT_WR)
        if ending != "reset":
            await asyncio.sleep(0.2)
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(1):
                    while chunk := await loop.sock_recv(client, 4096):
                        received += chunk
        sending.cancel()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await eventually(lambda: not inside.plane.connections, 5)
    inside.plane.sweep()
    await eventually(lambda: inside.plane.busy == 0, 5)
    assert calls // 4 <= received.count(whole) <= charged()
    # One at a time waits for the socket.
    assert records.count((Outcome.CLIENT_GONE, 0)) <= 2


async def test_a_body_that_trickles_in_is_ended(narrow: Inner) -> None:
    async with wire(narrow.port) as connection:
        await connection.send(request("POST", PATH, b"x" * 1000, narrow.key.header)[:-500])
        await asyncio.sleep(1.1)
        await connection.send(b"x")
        await asyncio.sleep(0.1)
        narrow.plane.sweep()
        async with asyncio.timeout(5):
            assert (await connection.receive()).status == 408


async def test_a_head_counts_from_its_first_byte(inside: Inner, eventually: Eventually) -> None:
    async with wire(inside.port) as connection:
        await connection.send(b"POST /v2/")
        (client,) = await eventually(lambda: list(inside.plane.connections), 5)
        await eventually(lambda: not client._reader.idle, 5)
        began = now_ns()
        await asyncio.sleep(0.2)
        await connection.send(b"models")
        await asyncio.sleep(0.1)
        client.sweep(began + HEAD_TIMEOUT_NS - SECOND)
        assert not client._transport.is_closing()
        client.sweep(began + HEAD_TIMEOUT_NS)
        await eventually(lambda: not inside.plane.connections, 5)


async def test_strangers_connections_leave_room_for_calls(tmp_path: Path) -> None:
    limits = DataPlaneLimits(client_connections=2)
    async with inner(tmp_path, limits=limits) as made, wire(made.port) as known, wire(made.port):
        made.upstream.script = OK
        asked = request("POST", PATH, b"body", made.key.header)
        await known.send(asked)
        assert (await known.receive()).status == 200
        async with wire(made.port) as third:
            refused = await third.receive()
        assert (refused.status, refused.json["code"]) == (503, "overloaded")
        await known.send(asked)
        assert (await known.receive()).status == 200


async def test_a_refused_request_whose_body_never_comes_gets_one_answer(
    inside: Inner, eventually: Eventually
) -> None:
    async with wire(inside.port) as connection:
        await connection.send(request("POST", PATH, b"x" * 1000)[:-500])
        assert (await connection.receive()).status == 401
        (client,) = inside.plane.connections
        client.sweep(now_ns() + BODY_TIMEOUT_NS + SECOND)
        await eventually(lambda: not inside.plane.connections, 5)
        assert await connection.ended()
