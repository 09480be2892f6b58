"""Running the parts of a process together: started at once, stopped gracefully, never half alive.

A part is a `Service`: an async callable that runs until the event it is given is set, then cleans up and returns.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from licet_kit.logs import get_logger

log = get_logger(__name__)

Service = Callable[[asyncio.Event], Coroutine[Any, Any, None]]

# A part that needs longer to finish its work in hand is cut off; orchestrators kill at 30 s.
STOP_DEADLINE_S = 20.0


async def run(*services: Service, deadline_s: float = STOP_DEADLINE_S, signals: bool = True) -> None:
    """Run all services until SIGTERM, SIGINT, the end of one of them, or cancellation; then stop the others.

    Raises an ExceptionGroup of what the services raised. A service that does not stop by the deadline is cancelled,
    and TimeoutError is raised.
    """
    stop = asyncio.Event()
    failures: list[Exception] = []
    with _stopping_on_signals(stop) if signals else contextlib.nullcontext():
        async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as group:
            for service in services:
                group.create_task(_guarded(service, stop, failures))
            await stop.wait()
            limit.reschedule(asyncio.get_running_loop().time() + deadline_s)
    if failures:
        raise ExceptionGroup("a part of the process failed", failures)


async def wait_or_stop(stop: asyncio.Event, duration_s: float) -> bool:
    """Wait for a time, or less when `stop` is set; true when it is."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(duration_s):
            await stop.wait()
    return stop.is_set()


async def _guarded(service: Service, stop: asyncio.Event, failures: list[Exception]) -> None:
    try:
        await service(stop)
    except Exception as error:  # noqa: BLE001  edge: the process stops as a whole, and main reports it
        failures.append(error)
    finally:
        stop.set()


@contextlib.contextmanager
def _stopping_on_signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _on_signal(number: signal.Signals, stop: asyncio.Event) -> None:
    log.info("process.stopping", signal=number.name)
    stop.set()
