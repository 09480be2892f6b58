"""Batching: lease requests that come within a few milliseconds share one transaction."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from licet_kit.clock import Clock
from licet_kit.db import transaction
from licet_kit.kafka import Fate, fate_of
from licet_kit.logs import get_logger
from licet_kit.telemetry import tracer
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_licensing import telemetry
from licet_licensing.domain.scene import Policy
from licet_licensing.usecases.leasing import Answer, AnyAsk, answer

log = get_logger(__name__)

WINDOW_S = 0.005
# One transaction holds row locks on what it lends; more requests would hold them longer than others may wait.
LIMIT = 128
# While one batch commits the next one collects; more at once are smaller, and wait for the same rows.
CONCURRENT = 2
# Requests that wait; beyond it a worker is better told to come again.
QUEUE = 4096
# A deadlock, a lost race or an absent database is tried again for so long. Requests are idempotent, so that a commit of
# which nobody knows the outcome is found out by asking again; giving up at once would leave its lease to nobody.
PATIENCE_S = 2.0
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.5


class Overloaded(Exception):
    """More requests wait than can be answered in time."""


@dataclass(slots=True)
class _Waiting:
    ask: AnyAsk
    done: asyncio.Future[Answer]


@dataclass(slots=True)
class Batcher:
    """Answers lease requests in batches, each batch in one transaction."""

    engine: AsyncEngine
    policy: Policy
    clock: Clock
    _queue: asyncio.Queue[_Waiting] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    _held: list[_Waiting] = field(default_factory=list)

    async def ask(self, ask: AnyAsk) -> Answer:
        """The answer to one request. Raises what its transaction raised, and `Overloaded`."""
        waiting = _Waiting(ask, asyncio.get_running_loop().create_future())
        try:
            self._queue.put_nowait(waiting)
        except asyncio.QueueFull:
            raise Overloaded from None
        return await waiting.done

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until the process stops; what waits then is cancelled and asked of another replica."""
        slots = asyncio.Semaphore(CONCURRENT)
        stopping = asyncio.create_task(stop.wait())
        try:
            async with asyncio.TaskGroup() as group:
                while not stop.is_set():
                    collecting = asyncio.create_task(self._collect())
                    await asyncio.wait({collecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
                    if not collecting.done():
                        collecting.cancel()
                        break
                    await slots.acquire()
                    task = group.create_task(self._answer(collecting.result()))
                    task.add_done_callback(lambda _: slots.release())
        finally:
            stopping.cancel()
            while not self._queue.empty():
                self._queue.get_nowait().done.cancel()

    async def _collect(self) -> list[_Waiting]:
        """A first request and those that come within the window. An id occurs once: its repetition waits a batch."""
        batch: dict[str, _Waiting] = {}
        held, self._held = self._held, []
        for waiting in held:
            self._admit(batch, waiting)
        try:
            if not batch:
                self._admit(batch, await self._queue.get())
            until = time.monotonic() + WINDOW_S
            while len(batch) < LIMIT and (left := until - time.monotonic()) > 0:
                async with asyncio.timeout(left):
                    waiting = await self._queue.get()
                self._admit(batch, waiting)
        except TimeoutError:
            pass  # the window is over
        except asyncio.CancelledError:
            for waiting in (*batch.values(), *self._held):
                waiting.done.cancel()
            raise
        return list(batch.values())

    def _admit(self, batch: dict[str, _Waiting], waiting: _Waiting) -> None:
        if waiting.ask.request_id in batch:
            self._held.append(waiting)
        else:
            batch[waiting.ask.request_id] = waiting

    async def _answer(self, batch: list[_Waiting]) -> None:
        """Give every request of the batch its answer; alone, when they fail together. Never raises."""
        try:
            answers = await self._transact([waiting.ask for waiting in batch])
        except Exception as error:  # noqa: BLE001  edge: every waiting request gets an answer
            if len(batch) > 1 and fate_of(error) is not Fate.WAIT:
                for waiting in batch:
                    await self._answer([waiting])
                return
            log.warning("lease.failed", requests=len(batch), error=repr(error))
            for waiting in batch:
                if not waiting.done.done():
                    waiting.done.set_exception(error)
            return
        for waiting in batch:
            if not waiting.done.done():
                waiting.done.set_result(answers[waiting.ask.request_id])

    async def _transact(self, asks: list[AnyAsk]) -> dict[str, Answer]:
        started, pause_s = time.monotonic(), FIRST_PAUSE_S
        while True:
            try:
                answers = await self._try(asks)
            except Exception as error:
                tired = time.monotonic() - started + pause_s > PATIENCE_S
                if tired or fate_of(error) not in (Fate.RETRY, Fate.WAIT):
                    raise
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                telemetry.BATCH_SIZE.record(len(asks))
                telemetry.BATCH_DURATION.record(time.monotonic() - started)
                return answers

    async def _try(self, asks: list[AnyAsk]) -> dict[str, Answer]:
        with tracer(__name__).start_as_current_span("lease.batch", attributes={"requests": len(asks)}):
            async with transaction(self.engine) as session:
                return await answer(session, asks, self.policy, self.clock.now())
