"""One operating-system process that belongs to us: identity that survives pid reuse, its tree, its ports."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TCP_LISTEN = "0A"  # state column of /proc/net/tcp
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A pid together with its start time in clock ticks since boot: a reused pid is not the same process."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Identity of the process that has this pid now; None if there is none, or it is a zombie."""
        started = _start_ticks(pid)
        return None if started is None else cls(pid=pid, started=started)

    def alive(self) -> bool:
        """Whether this very process still runs."""
        _reap(self.pid)
        return _start_ticks(self.pid) == self.started

    def tree(self) -> list[ProcessId]:
        """This process and all its living descendants, parents first; empty if it is gone."""
        if not self.alive():
            return []
        children: dict[int, list[int]] = {}
        for entry in PROC.iterdir():
            if entry.name.isdigit() and (fields := _stat_fields(int(entry.name))):
                children.setdefault(int(fields[1]), []).append(int(entry.name))
        found, queue = [self], [self.pid]
        while queue:
            for child in children.get(queue.pop(), []):
                queue.append(child)
                if identity := ProcessId.of(child):
                    found.append(identity)
        return found

    def rss_mib(self) -> int:
        """Resident memory of this process and its descendants, shared pages counted in each."""
        return sum(_rss_kib(member.pid) for member in self.tree()) // 1024

    def listens_on(self, port: int) -> bool:
        """Whether this process or a descendant holds the loopback listener of this TCP port."""
        inodes = {f"socket:[{inode}]" for inode in listener_inodes(port)}
        return bool(inodes) and any(inodes & _open_files(member.pid) for member in self.tree())


def send(processes: Iterable[ProcessId], number: signal.Signals) -> None:
    """Signal each process that is still the one we mean."""
    for process in processes:
        if process.alive():
            try:
                os.kill(process.pid, number)
            except ProcessLookupError:
                continue


def wait_gone(processes: Iterable[ProcessId], timeout_s: float) -> bool:
    """Wait until none of the processes lives; False when the time is over first."""
    left = list(processes)
    deadline = time.monotonic() + timeout_s
    while left := [process for process in left if process.alive()]:
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def listener_inodes(port: int) -> set[str]:
    """Socket inodes of whatever listens on this TCP port of this machine, whoever it belongs to."""
    return listeners().get(port, set())


def listeners() -> dict[int, set[str]]:
    """Socket inodes of all that listens on this machine, by TCP port."""
    found: dict[int, set[str]] = {}
    for table in ("tcp", "tcp6"):
        for line in (PROC / "net" / table).read_text().splitlines()[1:]:
            # Most lines are connections, thousands of them on a busy machine.
            if f" {TCP_LISTEN} " in line and (fields := line.split())[3] == TCP_LISTEN:
                found.setdefault(int(fields[1].rpartition(":")[2], 16), set()).add(fields[9])
    return found


def _stat_fields(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on; the command before them may hold spaces and brackets."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _start_ticks(pid: int) -> int | None:
    fields = _stat_fields(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def _reap(pid: int) -> None:
    """Collect our own dead child, so that it does not stay a zombie; others are their parents' business."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _rss_kib(pid: int) -> int:
    try:
        status = (PROC / str(pid) / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)


def _open_files(pid: int) -> set[str]:
    try:
        return {str(entry.readlink()) for entry in (PROC / str(pid) / "fd").iterdir()}
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return set()
