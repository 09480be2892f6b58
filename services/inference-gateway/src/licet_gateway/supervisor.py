"""Keeps the worker processes alive and lets them go without a failed call.

A worker that dies is replaced after a short pause that grows while it keeps dying; its log is recovered by the shipper.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from pathlib import Path
from typing import Final

from licet_kit.errors import PermanentError
from licet_kit.lifecycle import wait_or_stop
from licet_kit.logs import get_logger

from licet_gateway.dataplane.clock import SECOND, now_ns
from licet_gateway.dataplane.counters import FILE_NAME, CounterReader
from licet_gateway.worker import EXIT_CONFIG

log = get_logger(__name__)

FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 5.0
# A worker that lived so long died of something new.
HEALTHY_S: Final = 10.0
# A loop that has not turned for so long does not serve.
SILENT_NS: Final = 3 * SECOND
# Beyond its own drain time a worker gets this long to close its log.
KILL_AFTER_S: Final = 3.0


class WorkerMisconfigured(PermanentError):
    """A worker refuses its settings; a restart would not help."""

    code = "worker_misconfigured"


class WorkerSlot:
    """One of the processes that share the port, over all its incarnations."""

    def __init__(self, number: int, prefix: str, log_dir: Path, drain_s: float) -> None:
        self._name = f"{prefix}-{number}"
        self._log_dir = log_dir
        self._drain_s = drain_s
        self._worker_id = ""
        self._counters: CounterReader | None = None
        self.restarts = 0
        self.pid = 0

    @property
    def worker_id(self) -> str:
        return self._worker_id

    @property
    def counters(self) -> CounterReader | None:
        """The figures of the current incarnation, once it has any."""
        path = self._log_dir / self._worker_id
        if self._counters is None and self._worker_id and (path / FILE_NAME).exists():
            with contextlib.suppress(FileNotFoundError, ValueError):
                self._counters = CounterReader(path)
        return self._counters

    @property
    def ready(self) -> bool:
        counters = self.counters
        if not self.pid or counters is None:
            return False
        return counters.ready and now_ns() - counters.heartbeat_ns < SILENT_NS

    async def run(self, stop: asyncio.Event) -> None:
        """Keeps a process running until `stop` is set, then drains it."""
        backoff_s = FIRST_BACKOFF_S
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            began = loop.time()
            status = await self._incarnation(stop)
            if stop.is_set():
                return
            if status == EXIT_CONFIG:
                raise WorkerMisconfigured(f"worker {self._worker_id} refuses its settings")
            backoff_s = (
                FIRST_BACKOFF_S if loop.time() - began > HEALTHY_S else min(backoff_s * 2, LONGEST_BACKOFF_S)
            )
            self.restarts += 1
            log.error("worker.died", worker_id=self._worker_id, status=status, restart_in_s=backoff_s)
            await wait_or_stop(stop, backoff_s)

    async def _incarnation(self, stop: asyncio.Event) -> int:
        """One process, from its start to its end; its exit status."""
        # Leases and records of a dead worker are its own: its successor has another name.
        self._worker_id = f"{self._name}-{secrets.token_hex(4)}"
        self._counters = None
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "licet_gateway.worker", self._worker_id, str(os.getpid())
        )
        self.pid = process.pid
        stopping = asyncio.ensure_future(stop.wait())
        ending = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait({stopping, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                await self._end(process)
            return await ending
        finally:
            stopping.cancel()
            self.pid = 0
            if process.returncode is None:
                process.kill()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._drain_s + KILL_AFTER_S):
                await process.wait()
        except TimeoutError:
            log.error("worker.killed", worker_id=self._worker_id)
            process.kill()
