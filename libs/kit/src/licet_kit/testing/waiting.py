"""Waiting for a condition instead of sleeping."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

POLL_S = 0.02


async def eventually(condition: Callable[[], Any], deadline_s: float = 15.0, *, what: str = "") -> Any:
    """Wait until the condition, awaited if need be, returns something true, and return that.

    Errors that it raises count as false.
    Raises AssertionError with the last value or error when the deadline has passed.
    """
    until = time.monotonic() + deadline_s
    last: object = None
    while True:
        try:
            outcome = condition()
            value = await outcome if inspect.isawaitable(outcome) else outcome
            if value:
                return value
            last = value
        except Exception as error:  # noqa: BLE001  what is not ready yet may fail in any way
            last = error
        if time.monotonic() >= until:
            raise AssertionError(
                f"{what or 'the condition'} did not hold within {deadline_s:g} s; last: {last!r}"
            )
        await asyncio.sleep(POLL_S)
