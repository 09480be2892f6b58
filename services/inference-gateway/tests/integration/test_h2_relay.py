"""Both ends of the HTTP/2 layer between gRPC's own client and server, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import grpc.aio
import pytest
from licet_gateway.dataplane.h2.limits import KIB, MIB, Limits
from licet_gateway.testing.relay import Relay
from licet_kit.testing.waiting import eventually

DEADLINE_S = 60
SMALL = Limits(stream_window=64 * KIB, connection_window=256 * KIB, streams=200)
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def same(message: bytes) -> bytes:
    return message


@dataclass
class Service:
    """Echoes; what its calls saw is kept."""

    cancelled: int = 0
    begun: int = 0
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def add_to(self, server: grpc.aio.Server) -> None:
        ways = {
            "Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t", ways),))

    async def echo(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        return request

    async def fail(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("no such môdel: 100%\n")
        return b""

    async def wait(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        self.begun += 1
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return request

    async def chat(
        self, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request + b"!"


@dataclass
class Scene:
    service: Service
    relay: Relay
    channel: grpc.aio.Channel

    def unary(self, name: str) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
        return self.channel.unary_unary(f"/t/{name}", same, same)


def address(front: asyncio.Server) -> str:
    host, port = front.sockets[0].getsockname()
    return f"{host}:{port}"


@asynccontextmanager
async def scene(limits: Limits | None = None) -> AsyncIterator[Scene]:
    service = Service()
    server = grpc.aio.server(options=OPTIONS)
    service.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    relay = Relay("127.0.0.1", port, limits=limits)
    front = await relay.listen()
    try:
        async with grpc.aio.insecure_channel(address(front), options=OPTIONS) as channel:
            yield Scene(service, relay, channel)
    finally:
        front.close()
        await relay.close()
        await server.stop(0)


async def test_a_unary_call_and_its_error_pass_through() -> None:
    async with scene() as at:
        assert await at.unary("Echo")(b"hello", timeout=DEADLINE_S) == b"hello"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await at.unary("Fail")(b"", timeout=DEADLINE_S)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == "no such môdel: 100%\n"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await at.unary("Nowhere")(b"", timeout=DEADLINE_S)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("limits", [None, SMALL], ids=["large windows", "small windows"])
async def test_ten_megabytes_go_there_and_back(limits: Limits | None) -> None:
    message = bytes(range(256)) * (10 * MIB // 256)
    async with scene(limits) as at:
        answers = await asyncio.gather(*(at.unary("Echo")(message, timeout=DEADLINE_S) for _ in range(3)))
        assert all(answer == message for answer in answers)


async def test_a_stream_goes_on_in_both_directions() -> None:
    async with scene() as at:
        questions: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def ask() -> AsyncIterator[bytes]:
            while (question := await questions.get()) is not None:
                yield question

        answers = at.channel.stream_stream("/t/Chat", same, same)(ask(), timeout=DEADLINE_S)
        heard = []
        questions.put_nowait(b"0")
        async for answer in answers:
            heard.append(answer)
            questions.put_nowait(b"%d" % len(heard) if len(heard) < 50 else None)
        assert heard == [b"%d!" % number for number in range(50)]
        assert await answers.code() is grpc.StatusCode.OK


async def test_a_cancelled_call_ends_at_the_server_and_leaves_the_others_alone() -> None:
    async with scene() as at:
        staying = [asyncio.ensure_future(at.unary("Wait")(b"%d" % n, timeout=DEADLINE_S)) for n in range(5)]
        leaving = [at.unary("Wait")(b"x", timeout=DEADLINE_S) for _ in range(5)]
        await eventually(lambda: at.service.begun == 10)
        for call in leaving:
            call.cancel()
        await eventually(lambda: at.service.cancelled == 5)
        at.service.release.set()
        assert await asyncio.gather(*staying) == [b"%d" % n for n in range(5)]
        assert at.relay.gone == 5
        # The server's connection has served all of them.
        assert at.relay.channels.load == 0
        assert await at.unary("Echo")(b"on", timeout=DEADLINE_S) == b"on"


async def test_a_deadline_reaches_the_server() -> None:
    async with scene() as at:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await at.unary("Wait")(b"", timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: at.service.cancelled == 1)


async def test_many_calls_at_a_time_are_all_answered() -> None:
    async with scene() as at:
        for round_number in range(3):
            sent = [b"%d-%d" % (round_number, number) * 50 for number in range(400)]
            got = await asyncio.gather(*(at.unary("Echo")(message, timeout=DEADLINE_S) for message in sent))
            assert list(got) == sent
        await eventually(lambda: not at.relay.connections[0].streams)
        assert at.relay.channels.load == 0


async def test_a_client_is_told_before_the_gateway_leaves() -> None:
    async with scene() as at:
        waiting = asyncio.ensure_future(at.unary("Wait")(b"last", timeout=DEADLINE_S))
        await eventually(lambda: at.service.begun == 1)
        first = at.relay.connections[0]
        first.shut_down()
        at.service.release.set()
        assert await waiting == b"last"
        await eventually(lambda: first.gone)
        # The client goes on by another connection.
        assert await at.unary("Echo")(b"next", timeout=DEADLINE_S) == b"next"
        assert len(at.relay.connections) == 2


async def test_without_a_server_a_call_is_unavailable() -> None:
    relay = Relay("127.0.0.1", 1)
    front = await relay.listen()
    async with grpc.aio.insecure_channel(address(front)) as channel:
        for _ in range(2):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/t/Echo", same, same)(b"", timeout=DEADLINE_S)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    front.close()
    await relay.close()
