"""Ships the workers' logs to Kafka: read, sign, send, then remember the place. One loop, so that order holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from aiokafka.errors import KafkaError
from licet_kit.errors import Unavailable
from licet_kit.lifecycle import wait_or_stop
from licet_kit.logs import get_logger
from licet_kit.producer import Encoded

from licet_gateway.events import TOPIC, Sealer, Unsealed
from licet_gateway.shipping import aside
from licet_gateway.shipping.folders import is_abandoned, worker_folders
from licet_gateway.shipping.reader import READ_MAX, Finished, LogReader

log = get_logger(__name__)

# Records reach Kafka within a second: this pause, the signing and the acknowledgement.
PAUSE_S: Final = 0.1
RETRY_S: Final = 0.5


class Sender(Protocol):
    """Where messages go; returns when all are acknowledged."""

    async def send_encoded(self, topic: str, records: Sequence[Encoded]) -> None: ...


class Shipper:
    """Everything in a log folder, of living and dead workers."""

    def __init__(self, log_dir: Path, sealer: Sealer, sender: Sender) -> None:
        self._log_dir = log_dir
        self._sealer = sealer
        self._sender = sender
        self._readers: dict[Path, LogReader] = {}
        self.shipped = 0

    @property
    def unshipped_bytes(self) -> int:
        """Log that Kafka has not acknowledged, over all workers."""
        return sum(reader.unshipped_bytes for reader in self._readers.values())

    @property
    def aside_bytes(self) -> int:
        """What cannot be shipped, and lies aside for the operator."""
        return aside.kept_bytes(self._log_dir)

    async def run(self, stop: asyncio.Event) -> None:
        """Ships until `stop` is set, and then until there is nothing left of dead workers."""
        while True:
            last = stop.is_set()
            try:
                behind = await self.ship()
            except (Unavailable, KafkaError, OSError, TimeoutError) as error:
                log.warning("usage.not_shipped", error=repr(error), unshipped_bytes=self.unshipped_bytes)
                behind = False
                await wait_or_stop(stop, RETRY_S)
            else:
                if last and not self._readers:
                    return
            if not behind:
                await (asyncio.sleep(PAUSE_S) if last else wait_or_stop(stop, PAUSE_S))

    async def ship(self) -> bool:
        """One round over all logs; whether one of them has much more."""
        behind = False
        for folder in worker_folders(self._log_dir):
            reader = self._readers.setdefault(folder, LogReader(folder))
            try:
                # Asked before reading: what a worker wrote before it died is then read to its end.
                if is_abandoned(folder):
                    await self._finish(reader)
                else:
                    await self._send(reader, reader.read())
                    behind = behind or reader.unshipped_bytes > READ_MAX // 2
            except BaseException:
                # Not known to have arrived: read again from the last place that is.
                del self._readers[folder]
                raise
        return behind

    async def _send(self, reader: LogReader, finished: list[Finished]) -> None:
        if finished:
            sealed, unsealed = self._sealer.seal(reader.folder.name, finished)
            await self._sender.send_encoded(TOPIC, sealed)
            self.shipped += len(sealed)
            # Last, so that what is sent again after a failure is not kept twice.
            if unsealed:
                self._keep_aside(reader.folder, unsealed)
        reader.confirm()

    def _keep_aside(self, folder: Path, unsealed: Sequence[Unsealed]) -> None:
        aside.keep_unsealed(folder, unsealed)
        log.error(
            "usage.not_sealed",
            worker_id=folder.name,
            records=len(unsealed),
            reasons=sorted({one.reason for one in unsealed}),
        )

    async def _finish(self, reader: LogReader) -> None:
        """Ships the rest of a dead worker's log and what it owed; then the log is of no more use."""
        while finished := reader.read():
            await self._send(reader, finished)
        owed = reader.recover()
        if owed:
            log.warning("worker.recovered", worker_id=reader.folder.name, records=len(owed))
            await self._send(reader, owed)
        reader.remove()
        del self._readers[reader.folder]
