"""A loop without a clock and without sockets: it does what is due when it is turned, and hands on what goes wrong."""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, Final, cast

# Calls in one turn; who needs more never comes to rest.
CALLS_MAX: Final = 20_000


class TurningLoop:
    """As much of a loop as the gateway needs; `connect` makes the transports of connections that it opens."""

    def __init__(self) -> None:
        self._due: deque[asyncio.Handle] = deque()
        self._failed: list[BaseException] = []
        self.connect: Callable[[asyncio.BaseProtocol, int], asyncio.Transport] | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Itself, as asyncio calls it."""
        return cast(asyncio.AbstractEventLoop, self)

    @contextmanager
    def running(self) -> Iterator[None]:
        """It is the thread's loop inside."""
        before = events._get_running_loop()
        events._set_running_loop(self.loop)
        try:
            yield
        finally:
            events._set_running_loop(before)

    def turn(self) -> None:
        """Until nothing is due. Raises what a callback or a task let through."""
        calls = 0
        while self._due:
            handle = self._due.popleft()
            if not handle.cancelled():
                handle._run()
            calls += 1
            if calls > CALLS_MAX:
                self._due.clear()
                raise RuntimeError("it never comes to rest")
            if self._failed:
                failed, self._failed = self._failed[0], []
                raise failed

    # --- what asyncio asks of a loop

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self.loop, context)
        self._due.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """No time passes."""
        return asyncio.TimerHandle(when, callback, args, self.loop, context)

    def create_task(self, coro: Coroutine[Any, Any, Any], **_: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self.loop)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self.loop)

    async def create_connection(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        protocol = protocol_factory()
        if self.connect is None:
            raise OSError("nobody listens")
        transport = self.connect(protocol, port)
        protocol.connection_made(transport)
        return transport, protocol

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self._failed.append(context.get("exception") or RuntimeError(context["message"]))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It was kept nowhere."""

    def time(self) -> float:
        return 0.0

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False


class Pipe(asyncio.Transport):
    """One end of a connection: what the gateway writes goes to `heard`, what is said comes in while it reads."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop = loop
        self.protocol = protocol
        self.sent = bytearray()
        self.aborted = False
        self._closing = self._lost = False
        self._reading = True
        self._waiting: list[bytes] = []

    def heard(self, data: bytes) -> None:
        """Bytes of the gateway."""
        self.sent += data

    def say(self, data: bytes) -> None:
        """Bytes for the gateway."""
        self._waiting.append(data)
        self._deliver()

    def leave(self) -> None:
        """The other side closes."""
        if not self._lost and not self._closing:
            self.protocol.eof_received()
            self._closing = True
        self._lose()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing and data:
            self.heard(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._lose)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        if self._waiting:
            self._loop.call_soon(self._deliver)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """It never holds anything back."""

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return _NoSocket()

    def _deliver(self) -> None:
        while self._waiting and self._reading and not self._closing:
            self.protocol.data_received(self._waiting.pop(0))

    def _lose(self) -> None:
        if not self._lost:
            self._lost = True
            self.protocol.connection_lost(None)


class _NoSocket:
    def fileno(self) -> int:
        raise OSError

    def getsockopt(self, *_: int) -> bytes:
        raise OSError
