"""An upstream that misbehaves, and clients that stall: real sockets, a scripted server, the data plane in between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from licet_gateway.dataplane.client import BODY_TIMEOUT_NS, HEAD_TIMEOUT_NS, IDLE_TIMEOUT_NS, LINGER_NS
from licet_gateway.dataplane.clock import now_ns
from licet_gateway.domain import Outcome
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
        (pool,) = inside.plane._pools.values()
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
