"""Start parts in the order of their health, several at a time."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from infra.local.errors import LocalError
from infra.local.part import Part, Task, spawn
from infra.local.process import POLL_S, ProcessId

LOG_TAIL_LINES = 15


class PartFailed(LocalError):
    """A part did not become ready, or died; says which log to read."""

    def __init__(self, part: str, reason: str, log: Path) -> None:
        super().__init__(f"{part} {reason}; read {log}{_tail(log)}")
        self.part = part
        self.log = log


Node = Part | Task


@dataclass(frozen=True, slots=True)
class Launch:
    """How a group of parts is started: where their logs go, and who is told of each step."""

    log: Callable[[str], Path]
    on_spawn: Callable[[str, ProcessId], None]
    on_ready: Callable[[Node, float], None]

    def all(self, nodes: Mapping[str, Node], ready: set[str]) -> None:
        """Start every node once all that it comes after is ready; `ready` names what already runs.

        Raises the first failure after every start under way has ended; what runs by then keeps running, so
        that the caller can stop it.
        """
        waiting, done, running = dict(nodes), set(ready), dict[Future[None], str]()
        with ThreadPoolExecutor(max(len(nodes), 1), thread_name_prefix="start") as pool:
            while waiting or running:
                for name in [n for n, node in waiting.items() if done >= _present(node.after, nodes, ready)]:
                    running[pool.submit(self.one, waiting.pop(name))] = name
                for future in [future for future in running if future.done()]:
                    future.result()
                    done.add(running.pop(future))
                time.sleep(POLL_S)

    def one(self, node: Node) -> None:
        """Do one task, or start one part and wait until it is ready. Any failure names the node and its log."""
        began = time.monotonic()
        try:
            match node:
                case Task():
                    node.run()
                case Part():
                    self._start(node)
        except PartFailed:
            raise
        except (LocalError, OSError, subprocess.SubprocessError) as error:
            raise PartFailed(node.name, f"could not start: {error}", self.log(node.name)) from error
        self.on_ready(node, time.monotonic() - began)

    def _start(self, part: Part) -> None:
        part.prepare()
        log = self.log(part.name)
        process = spawn(part, log)
        self.on_spawn(part.name, process)
        _await_ready(part, process, log)
        part.settle()


def _present(after: tuple[str, ...], nodes: Mapping[str, Node], ready: set[str]) -> set[str]:
    """Dependencies that this stack runs; one replaced by an external server is not waited for."""
    return {name for name in after if name in nodes or name in ready}


def _await_ready(part: Part, process: ProcessId, log: Path) -> None:
    """Wait for the probe, and for our own child behind it: another process may answer on that port."""
    deadline = time.monotonic() + part.ready_timeout_s
    while True:
        if not process.alive():
            raise PartFailed(part.name, "died while starting", log)
        if part.probe() and all(process.listens_on(port) for port in part.ports.values()):
            return
        if time.monotonic() > deadline:
            raise PartFailed(part.name, f"was not ready after {part.ready_timeout_s:.0f} s", log)
        time.sleep(POLL_S)


def _tail(log: Path) -> str:
    if not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return "\n" + "\n".join(f"    {line}" for line in lines)
