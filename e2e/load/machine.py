"""What the figures were measured on: each line of a benchmark names it."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def facts() -> dict[str, Any]:
    """Processor, cores that may be used, load of the last minute, and the commit."""
    told = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.split(":")[1].strip() for line in told if "model name" in line)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {
        "machine": next(names, platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 2),
        "commit": commit.stdout.strip(),
    }
