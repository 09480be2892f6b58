"""A client that sends exactly the bytes that it is told to, and reads one response at a time."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

READ_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Response:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> Response:
        """The next response. Raises IncompleteReadError where the connection ends first."""
        async with asyncio.timeout(READ_TIMEOUT_S):
            status, headers = await self.receive_head()
            return Response(status, headers, await self.receive_body(headers))

    async def receive_head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next response; its body is still to come."""
        async with asyncio.timeout(READ_TIMEOUT_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(status_line.split()[1]), headers

    async def receive_chunk(self) -> bytes:
        """The next chunk of a chunked body; empty at its end."""
        async with asyncio.timeout(READ_TIMEOUT_S):
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            return (await self._reader.readexactly(size + 2))[:size]

    async def ended(self) -> bool:
        """Whether the server closes the connection without sending more."""
        async with asyncio.timeout(READ_TIMEOUT_S):
            return await self._reader.read(1) == b""

    @property
    def local_port(self) -> int:
        port: int = self._writer.get_extra_info("sockname")[1]
        return port

    def stop_reading(self) -> None:
        """Takes nothing more from the socket."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    def abort(self) -> None:
        """Vanishes: a reset where anything was unread."""
        self._writer.transport.abort()

    async def receive_body(self, headers: Mapping[str, str]) -> bytes:
        """The body behind a head."""
        if headers.get("transfer-encoding") != "chunked":
            return await self._reader.readexactly(int(headers.get("content-length", "0")))
        parts = []
        while part := await self.receive_chunk():
            parts.append(part)
        return b"".join(parts)


@asynccontextmanager
async def wire(port: int, *, receive_buffer: int = 0) -> AsyncIterator[Wire]:
    """Connects to a gateway or a Triton on loopback."""
    own = socket.socket()
    if receive_buffer:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    own.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=own, limit=2**24)
    except OSError:
        own.close()
        raise
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


def request(method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """A request's bytes, with Host and Content-Length."""
    fields = {"Host": "test", **({"Content-Length": str(len(body))} if body else {}), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def call(
    port: int, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Response:
    """One request on a connection of its own."""
    async with wire(port) as connection:
        await connection.send(request(method, path, body, headers))
        return await connection.receive()
