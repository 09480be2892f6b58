"""`make fuzz`: mutated requests at the gateway, in one process, and then over sockets with Triton behind a tap.

`--profile ci` sends ten times as many. Other arguments go to the fuzzers (`--help`), and leave the sockets out.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from secrets import randbits

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from infra.local.launch import PartFailed  # noqa: E402 - the line above makes it importable
from infra.local.stack import Stack  # noqa: E402

GATEWAY = ROOT / "services" / "inference-gateway"
# Cases in one process, and requests over sockets.
CASES = {"": (100_000, 3_000), "ci": (1_000_000, 20_000)}
SERVERS = ("kafka", "triton")


def in_process(seed: int, cases: int, args: list[str]) -> int:
    """The fuzzers' exit code."""
    argv = [sys.executable, "-m", "gateway_fuzz", "--seed", str(seed), "--cases", str(cases), *args]
    env = {**os.environ, "PYTHONPATH": str(GATEWAY / "fuzz")}
    return subprocess.run(argv, cwd=ROOT, env=env, check=False).returncode


def over_sockets(seed: int, requests: int) -> int:
    """The exit code of the test that compares what Triton hears, with so many requests."""
    argv = [sys.executable, "-m", "pytest", "-n", "0", "-s", "--timeout", "3600"]
    argv.append(str(GATEWAY / "tests" / "integration" / "test_fuzz_tap.py"))
    env = {**os.environ, "LICET_FUZZ_SEED": str(seed), "LICET_FUZZ_REQUESTS": str(requests)}
    return subprocess.run(argv, cwd=ROOT, env=env, check=False).returncode


def main(args: list[str]) -> int:
    """Run both layers even if the first finds something; stop what was started."""
    profile = ""
    if "--profile" in args:
        at = args.index("--profile")
        profile = args[at + 1]
        args = args[:at] + args[at + 2 :]
    cases, requests = CASES[profile]
    seed = randbits(32)
    failed = in_process(seed, cases, args) != 0
    if args:
        return 1 if failed else 0
    stack = Stack("test", report=lambda line: print(f"  {line}", flush=True))
    try:
        started = stack.start(SERVERS)
    except PartFailed as error:
        print(error, file=sys.stderr)
        return 1
    try:
        return 1 if over_sockets(seed, requests) != 0 or failed else 0
    finally:
        if started:
            Stack("test").stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
