"""Runs wrk, the load tool, against one URL with one fixed request."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("wrk.lua")
THREADS = 1


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send, and what. `body` is a file; `json_bytes` its KServe JSON header's length."""

    url: str
    body: Path
    json_bytes: int
    authorization: str = ""


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


def find() -> str:
    """The load tool; raises SystemExit with one sentence where it is missing."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit(
            "bench: wrk, the load tool, is missing; install Debian's package `wrk`, then try again"
        )
    return wrk


def run(target: Target, *, connections: int, seconds: int) -> Load:
    """One run; raises SystemExit where wrk is missing, AssertionError on any refused request or broken connection."""
    wrk = find()
    env = {
        **os.environ,
        "BENCH_BODY": str(target.body),
        "BENCH_JSON_BYTES": str(target.json_bytes),
        "BENCH_AUTHORIZATION": target.authorization,
    }
    command = [wrk, f"-t{THREADS}", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT), target.url]
    before = _children_cpu_s()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    figures = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    load = Load(**figures, cpu_s=_children_cpu_s() - before)
    assert load.refused == 0, f"{load.refused} of {load.requests} requests to {target.url} were refused"
    assert load.broken == 0, f"{load.broken} connections to {target.url} broke"
    return load


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
