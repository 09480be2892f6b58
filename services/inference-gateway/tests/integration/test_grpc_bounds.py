"""What one client can make a worker keep over gRPC, for how long, and what is asked of Triton twice.

Real sockets, the gateway's own two ends of HTTP/2 as client and as Triton. Time is moved by hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from licet_gateway.dataplane.clock import SECOND, now_ns
from licet_gateway.dataplane.grpc_front import GrpcConnection
from licet_gateway.dataplane.h2 import blocks
from licet_gateway.dataplane.h2.channels import UpstreamChannels
from licet_gateway.dataplane.h2.heads import RequestHead2
from licet_gateway.dataplane.h2.messages import frame
from licet_gateway.dataplane.h2.server import ServerConnection, ServerStream
from licet_gateway.dataplane.h2.upstream import UpstreamChannel, UpstreamStream
from licet_gateway.dataplane.keeping import KEPT_MESSAGES
from licet_gateway.dataplane.triton_call import INFER, STREAM_INFER
from licet_gateway.settings import DataPlaneLimits
from licet_gateway.testing.inner import Inner, inner
from licet_kit.testing.plugin import Eventually
from tritonclient.grpc import service_pb2 as kserve

BODY_MAX = 100_000
INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED = b"3", b"4", b"8"


@dataclass
class Asked:
    """A client's call: how it ended."""

    stream: UpstreamStream | None = None
    body: bytes = b""
    trailers: dict[bytes, bytes] = field(default_factory=dict)
    lost: str = ""

    def on_channel(self, channel: UpstreamChannel) -> None:
        raise NotImplementedError

    def on_unavailable(self, reason: str) -> None:
        self.lost = reason

    def on_head(self, fields: Mapping[bytes, bytes]) -> None:
        """Not looked at."""

    def on_data(self, data: bytes) -> None:
        self.body += data

    def on_trailers(self, fields: Mapping[bytes, bytes]) -> None:
        self.trailers = dict(fields)

    def on_lost(self, reason: str, *, refused: bool) -> None:
        self.lost = reason

    def on_drained(self) -> None:
        """What is sent is small."""


@dataclass
class Client:
    """One connection to the gateway's gRPC side."""

    inside: Inner
    channel: UpstreamChannel

    def begin(self, path: bytes, data: bytes, *, end: bool = False) -> Asked:
        asked = Asked()
        extra = tuple(
            (name.lower().encode(), value.encode()) for name, value in self.inside.key.header.items()
        )
        asked.stream = self.channel.open(asked, blocks.request_head(b"gateway", path, extra))
        assert asked.stream is not None
        asked.stream.send_data(data, end=end)
        return asked

    def wait(self, seconds: int) -> None:
        """The gateway looks at its connections so much later."""
        for connection in list(self.inside.plane.connections):
            connection.sweep(now_ns() + seconds * SECOND)


@dataclass
class Waiter(Asked):
    """Waits for the connection."""

    made: asyncio.Future[UpstreamChannel] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def on_channel(self, channel: UpstreamChannel) -> None:
        self.made.set_result(channel)


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inner]:
    async with inner(tmp_path, rule="input_tokens", limits=DataPlaneLimits(max_body_bytes=BODY_MAX)) as made:
        yield made


@pytest.fixture
async def client(inside: Inner) -> AsyncIterator[Client]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: GrpcConnection(inside.plane), "127.0.0.1", 0)
    channels = UpstreamChannels("127.0.0.1", server.sockets[0].getsockname()[1])
    waiter = Waiter()
    assert channels.acquire(waiter)
    async with asyncio.timeout(5):
        yield Client(inside, await waiter.made)
    channels.close()
    server.close()


def half(size: int) -> bytes:
    """The beginning of a message of so many bytes: all but its last."""
    return frame(bytes(size))[:-1]


@pytest.mark.parametrize("path", [INFER, STREAM_INFER, INFER.replace(b"ModelInfer", b"ModelReady")])
async def test_a_message_that_does_not_become_whole_is_refused(
    client: Client, eventually: Eventually, path: bytes
) -> None:
    asked = client.begin(path, half(1000))
    await eventually(lambda: client.inside.plane.keeping.kept == 1004, 5)
    client.wait(29)
    assert client.inside.plane.keeping.kept == 1004
    client.wait(31)
    await eventually(lambda: asked.trailers.get(b"grpc-status") == DEADLINE_EXCEEDED, 5)
    assert client.inside.plane.keeping.kept == 0


async def test_a_stream_between_its_messages_may_be_silent(client: Client, eventually: Eventually) -> None:
    asked = client.begin(STREAM_INFER, b"")
    await eventually(lambda: client.inside.plane.connections, 5)
    client.wait(300)
    assert not asked.trailers
    assert not asked.lost


@pytest.mark.parametrize("path", [INFER, STREAM_INFER])
async def test_beginnings_of_messages_are_bounded_over_all_streams(
    client: Client, eventually: Eventually, path: bytes
) -> None:
    keeping = client.inside.plane.keeping
    kept = [client.begin(path, half(BODY_MAX - 5)) for _ in range(KEPT_MESSAGES)]
    await eventually(lambda: keeping.kept == KEPT_MESSAGES * (BODY_MAX - 1), 5)
    one_more = client.begin(path, half(BODY_MAX - 5))
    await eventually(lambda: one_more.trailers.get(b"grpc-status") == RESOURCE_EXHAUSTED, 5)
    assert keeping.kept == KEPT_MESSAGES * (BODY_MAX - 1)
    assert not any(asked.trailers for asked in kept)
    for asked in kept:
        assert asked.stream is not None
        asked.stream.reset()
    await eventually(lambda: keeping.kept == 0, 5)


async def test_a_second_message_of_a_call_is_refused_before_it_is_kept(
    client: Client, eventually: Eventually
) -> None:
    asked = client.begin(INFER, frame(b"a") + half(1000))
    await eventually(lambda: asked.trailers.get(b"grpc-status") == INVALID_ARGUMENT, 5)
    assert client.inside.plane.keeping.kept == 0


class HalfTriton:
    """Answers the first call with half of an answer and a cut, the others whole."""

    def __init__(self) -> None:
        self.calls = 0

    def open(self, stream: ServerStream, head: RequestHead2) -> HalfTriton._Stream:
        return HalfTriton._Stream(self, stream)

    class _Stream:
        def __init__(self, triton: HalfTriton, stream: ServerStream) -> None:
            self._triton = triton
            self._stream = stream

        def on_data(self, data: bytes) -> None:
            """It answers whatever it is asked."""

        def on_end(self) -> None:
            self._triton.calls += 1
            output = kserve.ModelInferResponse.InferOutputTensor(
                name="input_tokens", datatype="INT32", shape=[1]
            )
            response = kserve.ModelInferResponse(outputs=[output], raw_output_contents=[b"\x03\0\0\0"])
            data = frame(response.SerializeToString())
            self._stream.send_head(blocks.RESPONSE_HEAD)
            self._stream.send_data(data if self._triton.calls > 1 else data[:10])
            connection = self._stream.connection
            connection.flush()
            if self._triton.calls == 1:
                connection.close_transport()
            else:
                self._stream.finish(blocks.trailers(0))

        def on_gone(self) -> None:
            """It has answered."""

        def on_drained(self) -> None:
            """It is small."""

        def on_finished(self) -> None:
            """It is over."""


def serving(triton: HalfTriton) -> Callable[[], ServerConnection]:
    return lambda: ServerConnection(triton)


async def test_a_call_of_which_a_part_was_answered_is_not_sent_again(
    client: Client, eventually: Eventually
) -> None:
    """The part is held to be counted, so that its client has seen nothing of it."""
    triton = HalfTriton()
    server = await asyncio.get_running_loop().create_server(serving(triton), "127.0.0.1", 0)
    plane = client.inside.plane
    channels = UpstreamChannels("127.0.0.1", server.sockets[0].getsockname()[1])
    plane.channels = {pool.url: channels for pool in plane.replicas.pools}
    request = kserve.ModelInferRequest(model_name="acme.risk").SerializeToString()
    asked = client.begin(INFER, frame(request), end=True)
    await eventually(lambda: asked.trailers.get(b"grpc-status") == b"14", 5)
    assert triton.calls == 1
    again = client.begin(INFER, frame(request), end=True)
    await eventually(lambda: again.trailers.get(b"grpc-status") == b"0", 5)
    assert triton.calls == 2
    server.close()
