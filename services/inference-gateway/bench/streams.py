"""What a thousand streams at a time cost a worker: one JSON line with its resident memory.

A real gateway process on real Kafka, with a scripted licensing, in front of a stub of Triton that begins every stream
and goes on when all of them have begun. `python services/inference-gateway/bench/streams.py [streams]`
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Final

import psutil
from licet_gateway.testing.loaded import LoadedModel
from licet_gateway.testing.scene import Scene, scene
from licet_gateway.testing.wire import request, wire
from licet_kit.testing.servers import repository_root, running_servers

STREAMS: Final = 1000
EVENT: Final = b'data: {"TOKEN":"%s"}\n\n' % (b"x" * 256)
EVENTS: Final = 10
DEADLINE_S: Final = 120.0
MIB: Final = 1024 * 1024


class Stub:
    """Answers generate_stream: one event at once, the others when `go` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one call after another."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                await reader.readexactly(size)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                chunk = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
                writer.write(chunk)
                await self.go.wait()
                writer.write(chunk * (EVENTS - 1) + b"0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def measure(streams: int) -> dict[str, object]:
    """Opens the streams, looks at the worker, and lets them end."""
    stub = Stub()
    async with AsyncExitStack() as stack:
        servers = running_servers(repository_root(Path(__file__)))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="licet-streams-")))
        server = await asyncio.start_server(stub.serve, "127.0.0.1", 0, backlog=streams)
        stack.callback(server.close)
        triton = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        model = LoadedModel("bench/streams", "0x" + "5b" * 32, folder, triton)
        made = await stack.enter_async_context(
            scene(
                servers,
                {"stream": model},
                folder,
                triton=triton,
                GATEWAY_UPSTREAM_CONNECTIONS=str(streams),
                GATEWAY_QUEUE_LENGTH_PER_ACCOUNT=str(streams),
                GATEWAY_QUEUE_WAIT_S="30",
                GATEWAY_UPSTREAM_FIRST_BYTE_TIMEOUT_S="60",
            )
        )
        return await _played(made, model, stub, streams)


async def _played(made: Scene, model: LoadedModel, stub: Stub, streams: int) -> dict[str, object]:
    [pid] = made.gateway.workers()
    worker = psutil.Process(pid)
    before = worker.memory_info().rss
    body = json.dumps({"TEXT": "x"}).encode()
    data = request("POST", f"/v2/models/{model.public_name}/generate_stream", body, made.key.header)
    begun = asyncio.Semaphore(0)

    async def one() -> int:
        async with wire(made.gateway.port) as connection:
            await connection.send(data)
            status, _ = await connection.receive_head()
            if status != HTTPStatus.OK:
                raise SystemExit(f"a stream was refused with {status}")
            size = len(await connection.receive_chunk())
            begun.release()
            while chunk := await connection.receive_chunk():
                size += len(chunk)
            return size

    async with asyncio.timeout(DEADLINE_S):
        calls = [asyncio.ensure_future(one()) for _ in range(streams)]
        for _ in range(streams):
            await _next(begun, calls)
        held = worker.memory_info().rss
        stub.go.set()
        sizes = await asyncio.gather(*calls)
    if set(sizes) != {len(EVENT) * EVENTS}:
        raise SystemExit(f"streams of {set(sizes)} bytes")
    return {
        "bench": "gateway",
        "case": "streams-1000-stub" if streams == STREAMS else f"streams-{streams}-stub",
        "streams": streams,
        "rss_mib": round(held / MIB, 1),
        "rss_mib_at_rest": round(before / MIB, 1),
    }


async def _next(begun: asyncio.Semaphore, calls: list[asyncio.Future[int]]) -> None:
    """One more has begun; what ends before is a failure."""
    waits = asyncio.ensure_future(begun.acquire())
    await asyncio.wait({waits, *calls}, return_when=asyncio.FIRST_COMPLETED)
    if not waits.done():
        waits.cancel()
        await asyncio.gather(*[call for call in calls if call.done()])


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else STREAMS))))  # noqa: T201
