"""CPU time and memory of the processes that serve a call, read from the kernel."""

from __future__ import annotations

import psutil

from infra.local.stack import Stack

MIB = 1024 * 1024
GATEWAYS = ("gateway-1", "gateway-2")


def tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def cpu_s(pid: int) -> float:
    """User and system time of a process and its living descendants."""
    return sum(_used(process) for process in tree(pid))


def rss_mib(pid: int) -> float:
    """Resident memory of a process and its descendants, shared pages counted in each."""
    return sum(process.memory_info().rss for process in tree(pid)) / MIB


def by_part(stack: Stack) -> dict[str, float]:
    """CPU seconds of each running part of a stack; of a gateway the workers and the supervisor, which ships, apart."""
    used: dict[str, float] = {}
    for part in stack.status():
        if part.pid is None:
            continue
        root, *others = tree(part.pid)
        if part.name in GATEWAYS:
            used[f"{part.name} supervisor"] = _used(root)
            used[f"{part.name} workers"] = sum(map(_used, others))
        else:
            used[part.name] = _used(root) + sum(map(_used, others))
    return used


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
