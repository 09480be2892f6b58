"""The pool of channels to one server, on real sockets: who waits, who is told, and when another is opened."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from licet_gateway.dataplane.h2 import blocks, channels, wire
from licet_gateway.dataplane.h2.channels import STREAMS_BEFORE_NEXT, UpstreamChannels
from licet_gateway.dataplane.h2.upstream import UpstreamChannel
from licet_kit.testing.waiting import eventually

REQUEST = blocks.request_head(b"triton", b"/s/M")


@dataclass
class Waiter:
    """A call that opens its stream as soon as it may."""

    channel: UpstreamChannel | None = None
    told: list[str] = field(default_factory=list)

    def on_channel(self, channel: UpstreamChannel) -> None:
        assert channel.open(self, REQUEST) is not None
        self.channel = channel

    def on_unavailable(self, reason: str) -> None:
        self.told.append(reason)

    def on_head(self, fields: object) -> None:
        self.told.append("head")

    def on_data(self, data: bytes) -> None:
        self.told.append("data")

    def on_trailers(self, fields: object) -> None:
        self.told.append("trailers")

    def on_lost(self, reason: str, *, refused: bool) -> None:
        self.told.append("lost")

    def on_drained(self) -> None:
        self.told.append("drained")


class Server(asyncio.Protocol):
    """Greets, and says nothing more unless told to."""

    settings: dict[wire.Setting, int] | None

    def __init__(self, made: list[Server], settings: dict[wire.Setting, int] | None) -> None:
        made.append(self)
        self.settings = settings

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.settings is not None:
            transport.write(wire.settings_frame(self.settings))


@dataclass
class Scene:
    server: asyncio.Server
    made: list[Server]
    pool: UpstreamChannels

    async def close(self) -> None:
        self.pool.close()
        self.server.close()
        for server in self.made:
            server.transport.abort()
        await eventually(lambda: all(server.transport.is_closing() for server in self.made))


async def scene(settings: dict[wire.Setting, int] | None, channels_max: int = 4) -> Scene:
    made: list[Server] = []
    server = await asyncio.get_running_loop().create_server(lambda: Server(made, settings), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    return Scene(server, made, UpstreamChannels("127.0.0.1", port, channels_max=channels_max))


async def test_busy_channels_are_joined_by_another() -> None:
    at = await scene({})
    calls = [Waiter() for _ in range(2 * STREAMS_BEFORE_NEXT)]
    for call in calls[: STREAMS_BEFORE_NEXT + 1]:
        assert at.pool.acquire(call)
    await eventually(lambda: all(call.channel for call in calls[: STREAMS_BEFORE_NEXT + 1]))
    await eventually(lambda: len(at.made) == 1)
    assert at.pool.acquire(calls[-1])
    await eventually(lambda: len(at.made) == 2 and at.pool.free_channels == 2)
    last = Waiter()
    assert at.pool.acquire(last)
    assert last.channel is not calls[0].channel
    assert at.pool.load == STREAMS_BEFORE_NEXT + 3
    await at.close()


async def test_who_finds_no_room_waits_in_order_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "WAITING_MAX", 2)
    at = await scene({wire.Setting.MAX_CONCURRENT_STREAMS: 1}, channels_max=1)
    first, second, third, fourth = (Waiter() for _ in range(4))
    assert at.pool.acquire(first)
    await eventually(lambda: first.channel)
    assert at.pool.acquire(second)
    assert at.pool.acquire(third)
    assert not at.pool.acquire(fourth)
    at.pool.stop_waiting(second)
    at.made[0].transport.write(
        wire.frame(wire.HEADERS, wire.END_HEADERS | wire.END_STREAM, 1, blocks.trailers_only(0))
    )
    await eventually(lambda: third.channel)
    assert first.told == ["trailers"]
    assert second.channel is None
    await at.close()
    assert third.told == ["lost"]


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "CONNECT_TIMEOUT_S", 0.1)
    at = await scene(None)
    waiter = Waiter()
    assert at.pool.acquire(waiter)
    await eventually(lambda: waiter.told)
    assert waiter.told == ["the inference server cannot be reached"]
    # For a moment nobody waits for it again; then it is tried anew.
    assert not at.pool.acquire(Waiter())
    await eventually(lambda: at.pool.acquire(waiter))
    await eventually(lambda: len(waiter.told) == 2)
    await at.close()


async def test_a_lost_channel_is_replaced() -> None:
    at = await scene({})
    first = Waiter()
    assert at.pool.acquire(first)
    await eventually(lambda: first.channel)
    await eventually(lambda: at.made)
    at.made[0].transport.abort()
    await eventually(lambda: first.told == ["lost"])
    second = Waiter()
    assert at.pool.acquire(second)
    await eventually(lambda: second.channel)
    assert len(at.made) == 2
    await at.close()


async def test_a_leaving_server_gets_no_more_calls() -> None:
    at = await scene({})
    first = Waiter()
    assert at.pool.acquire(first)
    await eventually(lambda: first.channel and at.made)
    at.made[0].transport.write(wire.goaway(1, 0))
    await eventually(lambda: first.channel and first.channel.draining)
    second = Waiter()
    assert at.pool.acquire(second)
    await eventually(lambda: second.channel)
    assert second.channel is not first.channel
    assert at.pool.load == 2
    at.made[0].transport.write(
        wire.frame(wire.HEADERS, wire.END_HEADERS | wire.END_STREAM, 1, blocks.trailers_only(0))
    )
    await eventually(lambda: first.told == ["trailers"])
    await eventually(lambda: at.pool.load == 1)
    await at.close()


async def test_who_waits_when_the_gateway_stops_is_told() -> None:
    at = await scene(None)
    waiter = Waiter()
    assert at.pool.acquire(waiter)
    at.pool.close()
    assert waiter.told == ["the gateway is stopping"]
    assert not at.pool.acquire(Waiter())
    await at.close()
