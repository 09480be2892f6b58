"""Proof that a folder lies in memory: weights in the clear may be written nowhere else."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from licet_kit.errors import PermanentError

# linux/magic.h
TMPFS_MAGIC = 0x01021994
RAMFS_MAGIC = 0x858458F6
_STATFS_BYTES = 256  # larger than any struct statfs; `f_type` is its first word


class NotInMemory(PermanentError):
    """The folder is on a file system that writes to a disk."""

    code = "repository_not_in_memory"

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} is not on tmpfs or ramfs; weights in the clear must not reach a disk")


def require_memory(folder: Path) -> None:
    """Raises NotInMemory unless `folder`, its links resolved, is on tmpfs or ramfs."""
    resolved = folder.resolve(strict=True)
    if filesystem_type(resolved) not in (TMPFS_MAGIC, RAMFS_MAGIC):
        raise NotInMemory(resolved)


def filesystem_type(folder: Path) -> int:
    """`f_type` of statfs(2); Python's own statvfs does not tell it."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    if libc.statfs(os.fsencode(folder), answer) != 0:
        raise OSError(ctypes.get_errno(), f"statfs {folder}")
    return int.from_bytes(answer.raw[:4], "little")


def may_swap(folder: Path) -> bool:
    """Whether the kernel could move the folder's pages to a swap device: tmpfs without `noswap`, and swap is on."""
    if filesystem_type(folder) == RAMFS_MAGIC:
        return False
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    options = max(
        ((len(f[1]), f[3]) for f in mounts if folder.is_relative_to(f[1])),
        default=(0, ""),
        key=lambda m: m[0],
    )[1]
    swaps = Path("/proc/swaps").read_text().splitlines()[1:]
    return bool(swaps) and "noswap" not in options.split(",")
