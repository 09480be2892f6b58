"""A client that resets its connection pays for the part that it took, however busy the worker is meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop
from licet_gateway.dataplane.plane import DataPlane
from licet_gateway.domain import CallRecord, Outcome
from licet_gateway.shipping.reader import Finished
from licet_gateway.testing.inner import PATH, Inner, inner
from licet_gateway.testing.wire import request
from licet_kit.testing.waiting import eventually

# More than these sockets take for a client that does not read, less than what makes the gateway stop reading Triton.
SIZE = 200_000
SENT_MAX = 16384
RECEIVED_MAX = 4096
ROWS = 500


def a_socket() -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_MAX)
    client.setblocking(False)
    return client


async def ask(made: Inner, client: socket.socket) -> bytes:
    """Calls for `ROWS` units, and reads the beginning of the answer, which it returns."""
    made.upstream.script = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + b"R" * SIZE
    tensor = b'{"name":"IN","datatype":"FP32","shape":[%d,1],"data":[0]}' % ROWS
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", made.port))
    (connection,) = await eventually(lambda: list(made.plane.connections), 10)
    connection._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_MAX)
    await loop.sock_sendall(client, request("POST", PATH, b'{"inputs":[%s]}' % tensor, made.key.header))
    begun = await loop.sock_recv(client, 1024)
    assert begun
    # Triton is done with it, and most of it waits in the gateway.
    await eventually(lambda: made.plane._unsettled, 10)
    return begun


@contextmanager
def busy(plane: DataPlane) -> Iterator[None]:
    """Ticks in every turn of the loop, as the traffic of others would."""
    ended = False

    def turn() -> None:
        plane.settle_soon()
        if not ended:
            asyncio.get_running_loop().call_soon(turn)

    turn()
    yield
    ended = True


async def reset_while_busy(folder: Path) -> CallRecord:
    async with inner(folder, rule="rows:IN") as made:
        client = a_socket()
        await ask(made, client)
        with busy(made.plane):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            found: list[Finished] = await eventually(made.records, 10)
        (finished,) = found
        return finished.record


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_the_loop_dropped_at_a_reset_is_not_charged(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        record = runner.run(reset_while_busy(tmp_path))
    assert record.outcome == Outcome.CLIENT_GONE
    assert 0 < record.units < ROWS


async def half_close_with_room(folder: Path) -> tuple[CallRecord, int]:
    """A client that stops sending while its answer has room to leave; its record, and how much of the body it took."""
    async with inner(folder, rule="rows:IN") as made:
        client = a_socket()
        begun = await ask(made, client)
        # In one turn of the loop, which then finds the end and the room at once.
        with contextlib.suppress(BlockingIOError):
            while data := client.recv(65536):
                begun += data
        client.shutdown(socket.SHUT_WR)
        found: list[Finished] = await eventually(made.records, 10)
        while data := await asyncio.get_running_loop().sock_recv(client, 65536):
            begun += data
        client.close()
        return found[0].record, len(begun.partition(b"\r\n\r\n")[2])


def test_what_leaves_while_a_connection_is_cut_is_charged(tmp_path: Path) -> None:
    """uvloop ends an aborted connection in its next turn; what it writes until then must be none, or be charged."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        record, taken = runner.run(half_close_with_room(tmp_path))
    assert record.outcome == Outcome.CLIENT_GONE
    assert record.units == -(-ROWS * taken // SIZE) < ROWS
