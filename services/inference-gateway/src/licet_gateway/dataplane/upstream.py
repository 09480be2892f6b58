"""Connections to Triton: pooled, owned by the gateway, one request at a time; a client's reset never reaches them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

from licet_gateway.dataplane.framing import BodyDecoder, ChunkedDecoder, EndlessDecoder, LengthDecoder
from licet_gateway.dataplane.http import HttpError, ResponseHead, find_head_end, parse_response_head

CONNECT_TIMEOUT_S: Final = 2.0
# Request bytes that may wait in a connection before its client is asked to pause.
WRITE_HIGH_WATER: Final = 256 * 1024
# Calls that wait for a connection to one Triton; more are shed at once.
WAITING_MAX: Final = 1024


class Exchange(Protocol):
    """Who sent the request of a connection, and gets its response."""

    def on_connected(self, connection: UpstreamConnection) -> None: ...
    def on_response_head(self, head: ResponseHead) -> None: ...
    def on_response_body(self, data: bytes) -> None: ...
    def on_response_end(self) -> None: ...
    def on_lost(self, reason: str) -> None: ...
    def on_upstream_full(self) -> None: ...
    def on_upstream_drained(self) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """One keep-alive connection. `release` gives it back after a whole exchange, `abort` after a broken one."""

    __slots__ = (
        "_decoder",
        "_exchange",
        "_head",
        "_held",
        "_known",
        "_known_bytes",
        "_paused",
        "_transport",
        "pool",
    )

    _transport: asyncio.Transport

    def __init__(self, pool: UpstreamPool) -> None:
        self.pool = pool
        self._exchange: Exchange | None = None
        self._held = b""
        self._head: ResponseHead | None = None
        self._paused = False
        self._decoder: BodyDecoder | None = None
        self._known_bytes = b""
        self._known: ResponseHead | None = None

    def begin(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def unused(self) -> None:
        """Gives the connection back: the exchange never began."""
        self._exchange = None
        self.pool.release(self)

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def pause_reading(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """The exchange cannot be completed: what Triton would still say belongs to nobody."""
        self._exchange = None
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do everything of asyncio.Transport without being one.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        self.pool.forget(self)
        if exchange is None:
            return
        if self._head is not None and isinstance(self._decoder, EndlessDecoder) and exc is None:
            exchange.on_response_end()
        else:
            exchange.on_lost("the inference server closed the connection before its answer was complete")

    def pause_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.on_upstream_full()

    def resume_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.on_upstream_drained()

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            self._transport.abort()
            return
        try:
            self._read(data)
        except HttpError as error:
            exchange, self._exchange = self._exchange, None
            self._transport.abort()
            if exchange is not None:
                exchange.on_lost(error.message)

    def _read(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        if self._head is None:
            found = self._read_head(data)
            if found is None:
                return
            self._head, data = found
            self._decoder = _decoder_of(self._head)
            exchange.on_response_head(self._head)
        behind: bytes | None = data
        if self._decoder is not None:
            payload, behind = self._decoder.feed(data)
            if payload:
                exchange.on_response_body(payload)
        if behind:
            raise HttpError(502, "the inference server answered more than it was asked")
        # An exchange that gave up meanwhile has aborted the connection.
        if behind is not None and self._exchange is exchange:
            self._finish(exchange)

    def _read_head(self, data: bytes) -> tuple[ResponseHead, bytes] | None:
        if self._held:
            data, self._held = self._held + data, b""
        while True:
            end = find_head_end(data)
            if not end:
                self._held = data
                return None
            raw, data = data[:end], data[end:]
            if self._known is None or raw != self._known_bytes:
                self._known = parse_response_head(raw)
                self._known_bytes = raw
            # An interim response (1xx) precedes the real one.
            if self._known.status >= 200:
                return self._known, data

    def _finish(self, exchange: Exchange) -> None:
        head, self._head, self._decoder, self._exchange = self._head, None, None, None
        if head is not None and head.keep_alive and not self._transport.is_closing():
            # Whether the request was wholly sent, only the exchange knows: it returns or aborts the connection.
            exchange.on_response_end()
            return
        self._transport.close()
        exchange.on_response_end()

    @property
    def reusable(self) -> bool:
        return self._exchange is None and not self._transport.is_closing()


def _decoder_of(head: ResponseHead) -> BodyDecoder | None:
    if head.chunked:
        return ChunkedDecoder(502)
    if head.content_length is None:
        return EndlessDecoder()
    return LengthDecoder(head.content_length) if head.content_length else None


class UpstreamPool:
    """The connections of this worker to one Triton."""

    def __init__(self, url: str, *, connections_max: int) -> None:
        self.url = url
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or 80
        self.authority = parts.netloc.encode()
        self._max = connections_max
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[Exchange] = deque()

    @property
    def load(self) -> int:
        """Calls that are on it or wait for it."""
        return len(self._open) - len(self._idle) + len(self._waiting)

    def acquire(self, exchange: Exchange) -> bool:
        """Gives the exchange a connection, now or soon, by `on_connected` or `on_lost`; false where too many wait."""
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                exchange.on_connected(connection)
                return True
        if len(self._waiting) >= WAITING_MAX:
            return False
        self._waiting.append(exchange)
        self._connect_for_waiting()
        return True

    def stop_waiting(self, exchange: Exchange) -> None:
        if exchange in self._waiting:
            self._waiting.remove(exchange)

    def release(self, connection: UpstreamConnection) -> None:
        """Takes a connection back after a whole exchange, or unused."""
        if not connection.reusable:
            return
        # Its last client may have held it back to the end.
        connection.resume_reading()
        if self._waiting:
            self._waiting.popleft().on_connected(connection)
        else:
            self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        # Nobody gives this one back, so who waited for it gets another.
        self._connect_for_waiting()

    def close(self) -> None:
        self._max = 0
        for task in list(self._connecting):
            task.cancel()
        for connection in list(self._open):
            connection.abort()

    def _connect_for_waiting(self) -> None:
        if len(self._open) + len(self._connecting) < self._max and len(self._connecting) < len(self._waiting):
            task = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(
                    lambda: UpstreamConnection(self), self._host, self._port
                )
        except (OSError, TimeoutError):
            # Nobody is left waiting on a server that does not answer; the next call tries again.
            waiting, self._waiting = self._waiting, deque()
            for exchange in waiting:
                exchange.on_lost("the inference server cannot be reached")
            return
        self._open.add(connection)
        self.release(connection)
