"""`make meter`: many generated calls by each metering rule, whose usage records must equal what the models wrote down.

Prints the counts of each rule. Non-zero on any difference. Servers that ran before stay up.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from infra.local.launch import PartFailed  # noqa: E402 - the line above makes it importable
from infra.local.stack import Stack  # noqa: E402

TESTS = "services/inference-gateway/tests/integration/test_metering_rules.py"
CALLS = 10_000


def compare(calls: int, seed: int, rest: list[str]) -> int:
    """pytest's exit code; what it prints of each rule is shown as it comes."""
    argv = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-s", TESTS, *rest]
    environment = {**os.environ, "METER_CALLS": str(calls), "METER_SEED": str(seed)}
    return subprocess.run(argv, cwd=ROOT, env=environment, check=False).returncode


def main(args: list[str]) -> int:
    """Start the servers, compare, and stop what was started."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=CALLS, help="calls by each rule")
    parser.add_argument("--seed", type=int, default=1, help="other calls for another seed")
    known, rest = parser.parse_known_args(args)
    stack = Stack("test", report=lambda line: print(f"  {line}", flush=True))
    try:
        started = stack.start()
    except PartFailed as error:
        print(error, file=sys.stderr)
        return 1
    try:
        return compare(known.calls, known.seed, rest)
    finally:
        if started:
            Stack("test").stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
