"""The few channels of this worker to one Triton, and the calls that wait for room on them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from licet_gateway.dataplane.clock import MS, SECOND, now_ns
from licet_gateway.dataplane.h2.upstream import UpstreamChannel

CONNECT_TIMEOUT_S: Final = 2.0
# Calls that wait for room; more are shed at once.
WAITING_MAX: Final = 1024
# Streams on every channel before another is opened: a channel is one socket and one thread of Triton.
STREAMS_BEFORE_NEXT: Final = 32
# A server that cannot be reached is asked again after this, doubled up to that.
RETRY_FIRST_NS: Final = 50 * MS
RETRY_MAX_NS: Final = 2 * SECOND


class ChannelWaiter(Protocol):
    """A call that needs a channel. It is told once."""

    def on_channel(self, channel: UpstreamChannel) -> None:
        """There is room on it now, for a stream that is opened at once."""

    def on_unavailable(self, reason: str) -> None: ...


class UpstreamChannels:
    """Gives each call the least busy channel."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        channels_max: int = 4,
        make: Callable[..., UpstreamChannel] = UpstreamChannel,
    ) -> None:
        self._host, self._port = host, port
        self.authority = f"{host}:{port}".encode()
        self._max = channels_max
        self._make = make
        self._channels: list[UpstreamChannel] = []
        # Those that take no more streams and are not yet done.
        self._leaving: set[UpstreamChannel] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[ChannelWaiter] = deque()
        self._retry_ns = self._pause_ns = 0
        self._closed = False

    @property
    def load(self) -> int:
        """Calls that are on it or wait for it."""
        return sum(len(channel.streams) for channel in [*self._channels, *self._leaving]) + len(self._waiting)

    @property
    def free_channels(self) -> int:
        """Channels that have room for a stream."""
        return sum(channel.room for channel in self._channels)

    def acquire(self, waiter: ChannelWaiter) -> bool:
        """Gives the waiter a channel, now or soon, by `on_channel` or `on_unavailable`; false where too many wait or
        the server was found unreachable a moment ago."""
        channel = None if self._waiting else self._least_busy()
        if channel is not None:
            if len(channel.streams) >= STREAMS_BEFORE_NEXT:
                self._connect_another()
            waiter.on_channel(channel)
            return True
        if self._closed or len(self._waiting) >= WAITING_MAX or not self._may_wait():
            return False
        self._waiting.append(waiter)
        self._connect_another()
        return True

    def stop_waiting(self, waiter: ChannelWaiter) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def sweep(self, now: int) -> None:
        for channel in [*self._channels, *self._leaving]:
            channel.sweep(now)

    def close(self) -> None:
        """Ends everything; who waits is told."""
        self._closed = True
        for task in list(self._connecting):
            task.cancel()
        for channel in [*self._channels, *self._leaving]:
            channel.abort()
        self._tell_waiting("the gateway is stopping")

    # --- inside

    def _least_busy(self) -> UpstreamChannel | None:
        best: UpstreamChannel | None = None
        for channel in self._channels:
            if channel.room and (best is None or len(channel.streams) < len(best.streams)):
                best = channel
        return best

    def _may_wait(self) -> bool:
        return bool(self._channels or self._connecting) or now_ns() >= self._retry_ns

    def _connect_another(self) -> None:
        if self._closed or self._connecting or len(self._channels) >= self._max or now_ns() < self._retry_ns:
            return
        task = asyncio.get_running_loop().create_task(self._connect())
        self._connecting.add(task)
        task.add_done_callback(self._connected)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        greeted: asyncio.Future[None] = loop.create_future()

        def on_change(channel: UpstreamChannel) -> None:
            if greeted.done():
                self._changed(channel)
            elif channel.room or channel.closing or channel.draining:
                greeted.set_result(None)

        channel: UpstreamChannel | None = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, channel = await loop.create_connection(
                    lambda: self._make(on_change), self._host, self._port
                )
                await greeted
        except (OSError, TimeoutError, asyncio.CancelledError):
            if channel is not None:
                channel.abort()
            raise
        if not channel.room:
            channel.abort()
            raise ConnectionError
        self._channels.append(channel)

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        if task.cancelled():
            return
        if task.exception() is None:
            self._pause_ns = 0
            self._serve_waiting()
            return
        self._pause_ns = min(max(2 * self._pause_ns, RETRY_FIRST_NS), RETRY_MAX_NS)
        self._retry_ns = now_ns() + self._pause_ns
        if not self._channels:
            # Nobody is left waiting on a server that does not answer.
            self._tell_waiting("the inference server cannot be reached")

    def _changed(self, channel: UpstreamChannel) -> None:
        if channel.closing or channel.draining:
            # Its streams end on it; nobody gets another there.
            if channel in self._channels:
                self._channels.remove(channel)
            if channel.closing:
                self._leaving.discard(channel)
            else:
                self._leaving.add(channel)
        if self._waiting:
            self._serve_waiting()

    def _serve_waiting(self) -> None:
        while self._waiting:
            channel = self._least_busy()
            if channel is None:
                break
            self._waiting.popleft().on_channel(channel)
        if self._waiting:
            self._connect_another()
            if not self._channels and not self._connecting:
                self._tell_waiting("the inference server cannot be reached")

    def _tell_waiting(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            waiter.on_unavailable(reason)
