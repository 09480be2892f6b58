"""How a peer is run: its configuration in a folder that goes with it, one process, ended by its own id."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.part import Part, spawn
from infra.local.process import POLL_S, send, wait_gone

READY_S = 180.0  # LiteLLM imports for a minute on a busy machine
STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where Triton is, as port on loopback."""

    http: int
    grpc: int


@dataclass(frozen=True, slots=True)
class Peer:
    """One kind of peer. `check` says what it checks of each call, for which callers send `headers`; `part` makes its
    process for a folder and a port.
    """

    name: str
    check: str
    program: str
    part: Callable[[Path, int, Upstream], Part]
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def running(part: Part, folder: Path) -> Iterator[int]:
    """The pid of the part once it answers; raises AssertionError with the end of its log where it does not."""
    log = folder / f"{part.name}.log"
    process = spawn(part, log)
    try:
        ends = time.monotonic() + READY_S
        while not part.probe():
            if not process.alive() or time.monotonic() > ends:
                raise AssertionError(f"{part.name} did not become ready: {log.read_text()[-2000:]}")
            time.sleep(POLL_S)
        yield process.pid
    finally:
        tree = process.tree()
        send([process], signal.SIGTERM)
        wait_gone([process], STOP_S)
        send(tree, signal.SIGKILL)
