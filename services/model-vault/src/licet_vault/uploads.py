"""Takes artefacts in: a few at once, none for an account alone, and none from a client that only holds its place."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from licet_kit.errors import PermanentError, Unavailable
from starlette.requests import ClientDisconnect, Request

from licet_vault.store import ObjectStore, SizeExceeded

# Longer than a small upload takes; whoever waits longer had better come again.
SLOT_WAIT_S = 1.0


class UploadStalled(PermanentError):
    """The client has stopped sending, or all but stopped."""

    code = "upload_stalled"


class Overloaded(Unavailable):
    """Every slot is taken, or all that one account may take."""

    code = "overloaded"


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What an upload may ask of the vault.

    A client is cut off that sends nothing for `idle_s`, or while it is waited for that long in all, less than
    `min_bytes_per_s`: a byte now and then would hold a slot for years.
    """

    max_bytes: int
    slots: int
    idle_s: float
    min_bytes_per_s: float


class Slots:
    """Places for so many at once, of which no account holds more than half."""

    def __init__(self, count: int, *, wait_s: float = SLOT_WAIT_S) -> None:
        self._count = count
        self._share = max(1, count // 2)
        self._wait_s = wait_s
        self._held = Counter[str]()
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, account_id: str) -> AsyncIterator[None]:
        """A place while the context lasts; raises Overloaded when none comes free in a moment."""
        try:
            async with asyncio.timeout(self._wait_s), self._freed:
                await self._freed.wait_for(lambda: self._is_free_for(account_id))
                self._held[account_id] += 1
        except TimeoutError as error:
            raise Overloaded(
                f"{self._count} at once, {self._share} an account; none came free in {self._wait_s:g} s"
            ) from error
        try:
            yield
        finally:
            self._held[account_id] -= 1
            # Else an entry would stay for each account that was ever here.
            self._held += Counter()
            async with self._freed:
                self._freed.notify_all()

    def _is_free_for(self, account_id: str) -> bool:
        return self._held.total() < self._count and self._held[account_id] < self._share


async def receive(store: ObjectStore, limits: UploadLimits, sha256: str, request: Request) -> int:
    """Streams the body into the store; returns its size. Only ciphertext leaves memory."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limits.max_bytes:
        raise SizeExceeded(limits.max_bytes)
    with store.receive(sha256) as upload:
        async for chunk in _paced(request, limits):
            await asyncio.to_thread(upload.write, chunk)
        return await asyncio.to_thread(upload.finish)


async def _paced(request: Request, limits: UploadLimits) -> AsyncIterator[bytes]:
    """The body's chunks. Only the time that we wait for the client counts, not what our own disk takes."""
    stream = request.stream()
    waited_s, came = 0.0, 0
    while True:
        began = time.monotonic()
        try:
            async with asyncio.timeout(limits.idle_s):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except (TimeoutError, ClientDisconnect) as error:
            raise UploadStalled(f"nothing came for {limits.idle_s:g} s, or the client went away") from error
        waited_s += time.monotonic() - began
        came += len(chunk)
        if waited_s >= limits.idle_s:
            if came < waited_s * limits.min_bytes_per_s:
                raise UploadStalled(
                    f"{came} bytes in {waited_s:.0f} s, at least {limits.min_bytes_per_s:g} a second must come"
                )
            waited_s, came = 0.0, 0
        yield chunk
