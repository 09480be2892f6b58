"""wrk: HTTP/1.1, as many requests as go over so many connections."""

from __future__ import annotations

import json
import os
from pathlib import Path

from e2e.load import tool
from e2e.load.tool import Load, Target

SCRIPT = Path(__file__).with_name("wrk.lua")
THREADS = 1
# A slow answer is slow, and not a broken connection: wrk's own limit is 2 s.
TIMEOUT_S = 60


def run(target: Target, *, connections: int, seconds: int, rate: float = 0) -> Load:
    """One run; raises AssertionError on any refused request or broken connection, or where a rate is asked."""
    assert not rate, "wrk keeps no rate"
    headers = [text for name, value in target.headers.items() for text in ("-H", f"{name}: {value}")]
    command = [
        *(
            tool.find("wrk"),
            f"-t{THREADS}",
            f"-c{connections}",
            f"-d{seconds}s",
            f"--timeout={TIMEOUT_S}s",
            "-s",
            str(SCRIPT),
        ),
        *headers,
        target.url,
    ]
    told, cpu_s = tool.output(command, {**os.environ, "BENCH_BODY": str(target.body)})
    return parse(told, cpu_s).flawless(target)


def parse(told: str, cpu_s: float) -> Load:
    """What the script printed, among what wrk prints of itself."""
    figures = json.loads(next(line for line in told.splitlines() if line.startswith("{")))
    return Load(**figures, cpu_s=cpu_s)
