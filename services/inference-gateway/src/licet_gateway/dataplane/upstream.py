"""Connections to Triton: pooled, owned by the gateway, one request at a time; a client's reset never reaches them."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

from licet_gateway.dataplane.acknowledged import surely_unheard
from licet_gateway.dataplane.clock import SECOND, now_ns
from licet_gateway.dataplane.counters import Counters, Event
from licet_gateway.dataplane.framing import BodyDecoder, ChunkedDecoder, EndlessDecoder, LengthDecoder
from licet_gateway.dataplane.health import Health
from licet_gateway.dataplane.http import HttpError, ResponseHead, find_head_end, parse_response_head
from licet_gateway.dataplane.loss import CUT, CUT_SILENT, CUT_UNTOUCHED, UNREACHABLE, WAITED, Loss
from licet_gateway.dataplane.queueing import FairQueue
from licet_gateway.dataplane.refusals import NOT_READY, QUEUED_TOO_LONG
from licet_gateway.domain import Refusal
from licet_gateway.settings import DataPlaneLimits

# Request bytes that may wait in a connection before its client is asked to pause.
WRITE_HIGH_WATER: Final = 256 * 1024


class Exchange(Protocol):
    """Who sent the request of a connection, and gets its response."""

    def on_connected(self, connection: UpstreamConnection) -> None: ...
    def on_response_head(self, head: ResponseHead) -> None: ...
    def on_response_body(self, data: bytes) -> None: ...
    def on_response_end(self) -> None: ...
    def on_lost(self, loss: Loss) -> None: ...
    def on_upstream_full(self) -> None: ...
    def on_upstream_drained(self) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """One keep-alive connection. `release` gives it back after a whole exchange, `abort` after a broken one."""

    __slots__ = (
        "_awaited_ns",
        "_decoder",
        "_exchange",
        "_head",
        "_heard",
        "_held",
        "_known",
        "_known_bytes",
        "_paused",
        "_transport",
        "_written",
        "_written_before",
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
        # Since when bytes of an answer are due, by the pool's coarse clock; 0 where none are.
        self._awaited_ns = 0
        # Whether there was a byte of this exchange's answer; all that was ever written, and how much that was before.
        self._heard = False
        self._written = self._written_before = 0

    def begin(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._heard = False
        self._written_before = self._written

    def asked(self) -> None:
        """The request is whole: from now on an answer is due."""
        if not self._awaited_ns:
            self._awaited_ns = self.pool.coarse_ns

    def unused(self) -> None:
        """Gives the connection back: the exchange never began."""
        self._exchange = None
        self.pool.release(self)

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._written += len(data)
            self._transport.write(data)

    def pause_reading(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            if self._awaited_ns:
                self._awaited_ns = self.pool.coarse_ns
            self._transport.resume_reading()

    def abort(self) -> None:
        """The exchange cannot be completed: what Triton would still say belongs to nobody."""
        self._exchange = None
        self._transport.abort()

    def give_up(self) -> None:
        """The answer took too long: Triton is asked no more, and remembered for it where it said nothing."""
        if not self._heard:
            self.pool.health.failed(now_ns(), late=True)
        self.abort()

    def sweep(self, now: int) -> None:
        """Ends the exchange where its answer, or more of it, is overdue."""
        exchange = self._exchange
        if exchange is None or not self._awaited_ns or self._paused:
            return
        pool = self.pool
        if now - self._awaited_ns >= (pool.idle_ns if self._heard else pool.first_byte_ns):
            loss = pool.stalled if self._heard else pool.late
            pool.health.failed(now, late=True)
            self.abort()
            exchange.on_lost(loss)

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
            self.pool.succeeded()
            exchange.on_response_end()
            return
        loss = CUT
        if not self._heard:
            nothing = self._written == self._written_before
            untouched = nothing or surely_unheard(self._transport, self._written)
            loss = CUT_UNTOUCHED if untouched else CUT_SILENT
        # Closing an idle connection is the server's right, also where a request is just on its way.
        if not loss.untouched:
            self.pool.health.failed(now_ns())
        exchange.on_lost(loss)

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
        self._heard = True
        self._awaited_ns = self.pool.coarse_ns
        try:
            self._read(data)
        except HttpError as error:
            exchange, self._exchange = self._exchange, None
            self._transport.abort()
            self.pool.health.failed(now_ns())
            if exchange is not None:
                exchange.on_lost(Loss(502, error.message))

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
        self._awaited_ns = 0
        self.pool.succeeded()
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

    def __init__(self, url: str, limits: DataPlaneLimits, *, health: Health, counters: Counters) -> None:
        self.url = url
        self.health = health
        self._counters = counters
        self.first_byte_ns = int(limits.upstream_first_byte_timeout_s * SECOND)
        self.idle_ns = int(limits.upstream_idle_timeout_s * SECOND)
        self.late = Loss(
            504, f"the inference server began no answer in {limits.upstream_first_byte_timeout_s:g} s"
        )
        self.stalled = Loss(504, f"the inference server fell silent for {limits.upstream_idle_timeout_s:g} s")
        self._connect_timeout_s = limits.upstream_connect_timeout_s
        # What connections measure by: set a few times a second, read at every byte.
        self.coarse_ns = now_ns()
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or 80
        self.authority = parts.netloc.encode()
        self._max = limits.upstream_connections
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: FairQueue[Exchange] = FairQueue(
            wait_ns=int(limits.queue_wait_s * SECOND),
            length=limits.queue_length,
            per_caller=limits.queue_length_per_account,
        )

    @property
    def load(self) -> int:
        """Calls that are on it or wait for it."""
        return len(self._open) - len(self._idle) + len(self._waiting)

    def acquire(self, exchange: Exchange, caller: str) -> Refusal | None:
        """Gives the exchange a connection, now or soon, by `on_connected` or `on_lost`; a refusal where it is not to
        wait for one: the server takes none, or too many wait."""
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                exchange.on_connected(connection)
                return None
        if self.health.refusing and not self._open:
            return NOT_READY
        if not self._waiting.add(exchange, caller, now_ns()):
            self._counters.count(Event.SHED)
            return QUEUED_TOO_LONG
        self._connect_for_waiting()
        return None

    def stop_waiting(self, exchange: Exchange) -> None:
        self._waiting.remove(exchange)

    def succeeded(self) -> None:
        """An answer came whole."""
        health = self.health
        health.row = 0
        health.good += 1

    def release(self, connection: UpstreamConnection) -> None:
        """Takes a connection back after a whole exchange, or unused."""
        if not connection.reusable:
            return
        # Its last client may have held it back to the end.
        connection.resume_reading()
        if self._waiting:
            self._waiting.pop(now_ns()).on_connected(connection)
        else:
            self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        # Nobody gives this one back, so who waited for it gets another.
        if self.health.refusing and not self._open:
            self._lose_waiting()
        else:
            self._connect_for_waiting()

    def sweep(self, now: int) -> None:
        """Runs a few times a second: who waited too long, what is overdue, whether connections are taken again."""
        self.coarse_ns = now
        for exchange in self._waiting.take_expired(now):
            self._counters.count(Event.SHED)
            exchange.on_lost(WAITED)
        if len(self._open) > len(self._idle):
            for connection in list(self._open):
                connection.sweep(now)
        self.health.sweep(now)
        if self.health.probe_due(now) and not self._connecting and self._max:
            self._start_connecting()

    def close(self) -> None:
        self._max = 0
        for task in list(self._connecting):
            task.cancel()
        for connection in list(self._open):
            connection.abort()

    def _connect_for_waiting(self) -> None:
        # A server that takes no connection is probed by the sweep alone.
        if self.health.refusing or len(self._connecting) >= len(self._waiting):
            return
        if len(self._open) + len(self._connecting) < self._max:
            self._start_connecting()

    def _start_connecting(self) -> None:
        task = asyncio.get_running_loop().create_task(self._connect())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def _lose_waiting(self) -> None:
        for exchange in self._waiting.take_all():
            exchange.on_lost(UNREACHABLE)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await loop.create_connection(
                    lambda: UpstreamConnection(self), self._host, self._port
                )
        except (OSError, TimeoutError):
            self.health.refused(now_ns())
            # Where it still has connections, theirs may be waited for.
            if not self._open:
                self._lose_waiting()
            return
        self.health.connected()
        if (task := asyncio.current_task()) is not None:
            # Or it would count twice among those that are allowed, and one more would not be made for who waits.
            self._connecting.discard(task)
        self._open.add(connection)
        self.release(connection)
        self._connect_for_waiting()
