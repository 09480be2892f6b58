"""Where a worker's log lies, and whether its worker lives: a lock on the folder says so, which the kernel releases.

A worker's name is used once. Its folder appears already locked, so that nobody takes it for a dead worker's.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from licet_kit.errors import PermanentError

_LOCK: Final = "lock"
# Folders that are not finished, or no more; a supervisor removes them at its start.
UNFINISHED: Final = ".new-"


class FolderInUse(PermanentError):
    """Another gateway works in the same log folder."""

    code = "log_dir_in_use"


@dataclass(slots=True)
class WorkerFolder:
    """A folder that its worker holds."""

    path: Path
    _fd: int

    @classmethod
    @contextmanager
    def create(cls, log_dir: Path, worker_id: str) -> Iterator[Self]:
        """A new folder for this worker, held while the context lasts."""
        unfinished = log_dir / f"{UNFINISHED}{worker_id}"
        unfinished.mkdir(mode=0o700)
        fd = os.open(unfinished / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        path = log_dir / worker_id
        unfinished.rename(path)
        try:
            yield cls(path, fd)
        finally:
            os.close(fd)


def worker_folders(log_dir: Path) -> list[Path]:
    """The folders of all workers, living and dead. What has no lock is nobody's: a volume's `lost+found`."""
    return sorted(
        path.parent for path in log_dir.glob(f"*/{_LOCK}") if not path.parent.name.startswith(UNFINISHED)
    )


def is_abandoned(folder: Path) -> bool:
    """Whether the folder's worker is dead: nothing will be added to its log."""
    fd = os.open(folder / _LOCK, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


@contextmanager
def hold(log_dir: Path) -> Iterator[None]:
    """Makes the folder this gateway's alone. Raises FolderInUse."""
    log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(log_dir / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUse(
                f"another gateway works in {log_dir}; give each its own GATEWAY_LOG_DIR"
            ) from None
        for path in log_dir.glob(f"{UNFINISHED}*"):
            shutil.rmtree(path, ignore_errors=True)
        yield
    finally:
        os.close(fd)
