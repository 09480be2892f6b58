"""The worker's log on disk: append-only segments, one write(2) a tick of the loop, no fsync.

What stops the disk stops admission: an open entry that is not written means a call that is not started. Entries stay in
memory, in order, until they are written; as nothing new is admitted meanwhile, they are bounded by the calls in flight.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from licet_kit.logs import get_logger

from licet_gateway.dataplane import entries
from licet_gateway.dataplane.lease import Lease
from licet_gateway.domain import CallRecord

logger = get_logger(__name__)

# Small enough that shipped segments are deleted soon, large enough that turning over costs nothing.
SEGMENT_BYTES: Final = 8 * 1024 * 1024


def segment_path(folder: Path, number: int) -> Path:
    """Where segment `number` lies; segments count from 1."""
    return folder / f"{number:08d}.log"


def segment_numbers(folder: Path) -> list[int]:
    """The segments that exist, oldest first."""
    return sorted(int(path.stem) for path in folder.glob("*.log"))


class Log:
    """Collects entries and writes them at `flush`. `live` gives the leases that a new segment must repeat."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        live: Callable[[], Iterable[Lease]],
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._live = live
        self._segment_bytes = segment_bytes
        self._pending: list[bytes] = []
        self._number = 1
        self._size = 0
        # The size at which the next segment begins; what a segment repeats of the last one does not count.
        self._turn_at = segment_bytes
        self._older_bytes = 0
        self._failed = False
        self._fd = self._create()

    @property
    def admits(self) -> bool:
        """Whether new calls can be written down: the disk takes writes, and what is unshipped is within its bound."""
        return not self._failed and self._older_bytes + self._size < self._max_bytes

    def add_lease(self, lease: Lease) -> None:
        self._pending.append(entries.lease_entry(lease.ref, lease.sequence, lease.terms, time.time_ns()))

    def add_open(self, lease: Lease, sequence: int, started_ns: int) -> None:
        self._pending.append(entries.open_entry(lease.ref, sequence, started_ns))

    def add_progress(self, lease: Lease, sequence: int, units: int) -> None:
        self._pending.append(entries.progress_entry(lease.ref, sequence, units))

    def add_close(self, lease: Lease, record: CallRecord) -> None:
        self._pending.append(entries.close_entry(lease.ref, record))

    def flush(self) -> bool:
        """Writes what was added; false where the disk refused it (it is kept and tried again)."""
        if not self._pending:
            return not self._failed
        if not self._write():
            return False
        if self._size >= self._turn_at:
            self._turn_over()
        return True

    def sweep(self) -> None:
        """Tries again what failed, and measures what the shipper has not deleted yet."""
        if self._failed:
            self.flush()
        if self._older_bytes:
            older = [n for n in segment_numbers(self._folder) if n != self._number]
            self._older_bytes = sum(self._size_of(number) for number in older)

    def close(self) -> None:
        os.close(self._fd)

    def _write(self) -> bool:
        data = entries.batch(self._pending)
        try:
            written = os.write(self._fd, data)
            if written != len(data):
                raise OSError(f"only {written} of {len(data)} bytes were written")
        except OSError as error:
            if not self._failed:
                logger.error("usage_log.refused", error=str(error))
            self._failed = True
            # A torn batch in the middle would hide what follows it; if even this fails, the worker must not go on.
            os.ftruncate(self._fd, self._size)
            return False
        self._failed = False
        self._pending.clear()
        self._size += len(data)
        return True

    def _create(self) -> int:
        path = segment_path(self._folder, self._number)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)

    def _turn_over(self) -> None:
        """Starts a segment that can be read alone: it repeats the live leases and the calls in flight."""
        old = self._fd
        self._number += 1
        try:
            self._fd = self._create()
        except OSError as error:
            # The old segment goes on; the next flush tries again.
            self._number -= 1
            logger.error("usage_log.not_turned_over", error=str(error))
            return
        os.close(old)
        self._older_bytes += self._size
        self._size = 0
        now = time.time_ns()
        for lease in self._live():
            self._pending.append(entries.lease_entry(lease.ref, lease.sequence, lease.terms, now))
            self._pending += [entries.open_entry(lease.ref, s, at) for s, at in lease.running.items()]
            self._pending += [entries.progress_entry(lease.ref, s, u) for s, u in lease.progress.items()]
        if self._pending:
            self._write()
        self._turn_at = self._size + self._segment_bytes

    def _size_of(self, number: int) -> int:
        try:
            return segment_path(self._folder, number).stat().st_size
        except FileNotFoundError:
            return 0
