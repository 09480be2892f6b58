"""An answer that its client does not take to the end costs the share that left for the client's socket."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from licet_gateway.domain import Outcome
from licet_gateway.settings import DataPlaneLimits
from licet_gateway.shipping.reader import Finished
from licet_gateway.testing import bodies
from licet_gateway.testing.inner import PATH, inner
from licet_gateway.testing.loaded import LoadedModel, loaded
from licet_gateway.testing.scene import Scene
from licet_gateway.testing.wire import request
from licet_kit.testing.plugin import Eventually
from licet_schemas.licet.usage.v1.usage_pb2 import OUTCOME_CLIENT_GONE, OUTCOME_OK

# Two times what the kernel takes for a client that does not read; a row is a kilobyte.
ROWS = 16_000
READ_MAX = 65536
pytestmark = pytest.mark.asyncio(loop_scope="module")

NewScene = Callable[..., AbstractAsyncContextManager[Scene]]


@pytest.fixture(scope="module")
def echo(servers: dict[str, Any]) -> Iterator[LoadedModel]:
    """Answers a row for a row, and is metered by them."""
    repository = Path(servers["triton"]["repository"])
    with loaded("identity", triton=servers["triton"]["http"], repository=repository) as model:
        yield model


class Client:
    """Takes as much of one answer as it wants."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._head = b""
        self.size = 0
        self.taken = 0

    async def ask(self, scene: Scene) -> None:
        body = bodies.identity(rows=ROWS)
        path = f"/v2/models/{scene.models['echo'].public_name}/infer"
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, ("127.0.0.1", scene.gateway.port))
        await loop.sock_sendall(
            self._socket, request("POST", path, body.data, body.headers | scene.key.header)
        )
        while b"\r\n\r\n" not in self._head:
            self._head += await loop.sock_recv(self._socket, READ_MAX)
        head, _, begun = self._head.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        self.size = int(head.lower().partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[0])
        self.taken = len(begun)

    async def take(self, count: int) -> None:
        """Reads to `count` bytes of the body, or to the end of the connection."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            while self.taken < count and (data := await loop.sock_recv(self._socket, READ_MAX)):
                self.taken += len(data)

    def leave(self) -> None:
        """Vanishes by a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def say_no_more(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    @property
    def share(self) -> int:
        """Rows of the part that it took, rounded up."""
        return -(-ROWS * self.taken // self.size)


@contextmanager
def a_client() -> Iterator[Client]:
    with socket.socket() as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_MAX)
        own.setblocking(False)
        yield Client(own)


@pytest.mark.parametrize(("ending", "timeout_s"), [("reset", "60"), ("half-close", "60"), ("deadline", "8")])
async def test_a_client_pays_for_the_part_that_its_socket_took(
    new_scene: NewScene, echo: LoadedModel, eventually: Eventually, ending: str, timeout_s: str
) -> None:
    async with new_scene(own_models={"echo": echo}, GATEWAY_CALL_TIMEOUT_S=timeout_s) as scene:
        with a_client() as client:
            await client.ask(scene)
            await client.take(client.size // 2)
            taken, least = client.taken, client.share
            if ending == "reset":
                client.leave()
            elif ending == "half-close":
                client.say_no_more()
            record = await eventually(lambda: scene.calls[0], 20)
            if ending != "reset":
                # The gateway ends the connection: what was handed to the kernel still comes, and no more.
                await client.take(client.size)
                assert taken <= client.taken < client.size
                assert record.units == client.share
        assert record.outcome == OUTCOME_CLIENT_GONE
        assert least <= record.units < ROWS


async def test_a_client_that_takes_all_pays_all(
    new_scene: NewScene, echo: LoadedModel, eventually: Eventually
) -> None:
    async with new_scene(own_models={"echo": echo}) as scene:
        with a_client() as client:
            await client.ask(scene)
            await client.take(client.size)
            client.leave()
        record = await eventually(lambda: scene.calls[0], 20)
        assert (record.outcome, record.units) == (OUTCOME_OK, ROWS)


async def test_an_answer_that_nobody_reads_ends_at_the_time_limit(
    tmp_path: Path, eventually: Eventually
) -> None:
    """Triton is long done with it; what waits in the gateway would keep the lease from its end."""
    async with inner(tmp_path, limits=DataPlaneLimits(call_timeout_s=0.5)) as made:
        made.upstream.script = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"R" * 200_000
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", made.port))
            (connection,) = await eventually(lambda: list(made.plane.connections), 5)
            served = connection._transport.get_extra_info("socket")
            served.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
            await loop.sock_sendall(client, request("POST", PATH, b"body", made.key.header))

            def ended() -> list[Finished]:
                made.plane.sweep()
                return made.records()

            (finished,) = await eventually(ended, 5)
            assert (finished.record.outcome, finished.record.units) == (Outcome.CLIENT_GONE, 1)
            assert not made.plane.connections
