"""CPU of the HTTP/2 layer a relayed unary call: grpcio → relay → an echo of our own, on uvloop.

    python services/inference-gateway/bench/h2_relay.py [calls] [at once]

The relay runs in a process of its own; what is printed is its user and system time over the calls of the last round.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import uvloop
from licet_gateway.dataplane.h2 import blocks, wire
from licet_gateway.dataplane.h2.messages import frame
from licet_gateway.testing.relay import Relay

ROUNDS = 5
CALLS_MAX = 200_000
MESSAGE = frame(b"x" * 1024)
HEAD = blocks.encode_fields(
    (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
        (b":authority", b"gateway"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"bench"),
        (b"authorization", b"Bearer licet_live_" + b"0" * 40),
    )
)
ANSWER_HEAD, ANSWER_END = blocks.RESPONSE_HEAD, blocks.trailers(0)


def main(argv: list[str]) -> int:
    calls = min(int(argv[0]) if argv else 20_000, CALLS_MAX)
    at_once = min(int(argv[1]) if len(argv) > 1 else 32, 200)
    context = multiprocessing.get_context("spawn")
    echo_side, echo_there = context.Pipe()
    relay_side, relay_there = context.Pipe()
    echo = context.Process(target=run_echo, args=(echo_there,), daemon=True)
    echo.start()
    relay = context.Process(target=run_relay, args=(relay_there, echo_side.recv()), daemon=True)
    relay.start()
    port = relay_side.recv()
    for number in range(ROUNDS):
        relay_side.send("cpu")
        before = relay_side.recv()
        begun = time.perf_counter()
        load(port, calls, at_once)
        took = time.perf_counter() - begun
        relay_side.send("cpu")
        cpu = relay_side.recv() - before
        label = "warm-up" if not number else f"round {number}"
        print(f"{label}: {cpu / calls * 1e6:.1f} µs CPU a call, {calls / took:.0f} calls/s")  # noqa: T201
    for process in (relay, echo):
        process.terminate()
        process.join(5)
    return 0


def run_relay(pipe: Connection, echo_port: int) -> None:
    async def serve() -> None:
        relay = Relay("127.0.0.1", echo_port)
        server = await relay.listen()
        pipe.send(server.sockets[0].getsockname()[1])

        def tell() -> None:
            pipe.recv()
            pipe.send(time.process_time())

        loop = asyncio.get_running_loop()
        loop.add_reader(pipe.fileno(), tell)
        await loop.create_future()

    uvloop.run(serve())


def run_echo(pipe: Connection) -> None:
    """A server without any rules: it answers every stream that ends with one message."""
    listener = socket.create_server(("127.0.0.1", 0))
    pipe.send(listener.getsockname()[1])
    peer, _ = listener.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.sendall(wire.settings_frame({}) + wire.window_update(0, 1 << 30))
    _skip(peer, len(wire.PREFACE))
    for _, flags, stream_id in _frames(peer):
        if flags & wire.END_STREAM and stream_id:
            peer.sendall(
                wire.frame(wire.HEADERS, wire.END_HEADERS, stream_id, ANSWER_HEAD)
                + wire.frame(wire.DATA, 0, stream_id, MESSAGE)
                + wire.frame(wire.HEADERS, wire.END_HEADERS | wire.END_STREAM, stream_id, ANSWER_END)
            )


def load(port: int, calls: int, at_once: int) -> None:
    """A client without any rules: it keeps so many calls in flight."""
    peer = socket.create_connection(("127.0.0.1", port))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    window = wire.settings_frame({wire.Setting.INITIAL_WINDOW_SIZE: 1 << 30})
    peer.sendall(
        wire.PREFACE + window + wire.frame(wire.SETTINGS, wire.ACK, 0) + wire.window_update(0, 1 << 30)
    )
    sent = done = 0
    for _ in range(min(at_once, calls)):
        peer.sendall(_call(sent))
        sent += 1
    for _, flags, stream_id in _frames(peer):
        if flags & wire.END_STREAM and stream_id:
            done += 1
            if sent < calls:
                peer.sendall(_call(sent))
                sent += 1
            elif done == calls:
                break
    peer.close()


def _call(number: int) -> bytes:
    stream_id = 2 * number + 1
    return wire.frame(wire.HEADERS, wire.END_HEADERS, stream_id, HEAD) + wire.frame(
        wire.DATA, wire.END_STREAM, stream_id, MESSAGE
    )


def _frames(peer: socket.socket) -> Iterator[tuple[int, int, int]]:
    """HEADERS and DATA frames: kind, flags, stream."""
    held = b""
    while data := peer.recv(1 << 18):
        held += data
        at = 0
        while len(held) - at >= wire.FRAME_HEAD_SIZE:
            high, low, kind, flags, stream_id = wire.FRAME_HEAD.unpack_from(held, at)
            end = at + wire.FRAME_HEAD_SIZE + (high << 8 | low)
            if end > len(held):
                break
            if kind in {wire.DATA, wire.HEADERS}:
                yield kind, flags, stream_id
            at = end
        held = held[at:]


def _skip(peer: socket.socket, size: int) -> None:
    while size:
        size -= len(peer.recv(size))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
