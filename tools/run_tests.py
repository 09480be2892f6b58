"""`make test`: the contracts' tests, then pytest, on servers that are started once. Non-zero on any failure or skip.

Servers that ran before stay up; those started here are stopped at the end.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from infra.local.launch import PartFailed  # noqa: E402 - the line above makes it importable
from infra.local.stack import Stack  # noqa: E402

# Most tests wait for servers half of their time, so there is one process more than there are cores on a small machine.
# The order is `conftest.py`'s. `ARGS="-n 0"` runs them one by one.
PARALLEL = ("-n", "3", "--no-loadscope-reorder")


def contracts_tests() -> int:
    """All that is proven about the contracts, unless they are as they were when it held; the exit code."""
    argv = [sys.executable, "tools/prove.py", "--unless-proven"]
    return subprocess.run(argv, cwd=ROOT, check=False).returncode


def python_tests(args: list[str]) -> int:
    """pytest with the given arguments; its exit code, which a skipped test makes non-zero (`conftest.py`)."""
    argv = [sys.executable, "-m", "pytest", *PARALLEL, *args]
    return subprocess.run(argv, cwd=ROOT, check=False).returncode


def models() -> int:
    """Trains what several tests read, before they would each train it at once; the exit code."""
    argv = [
        sys.executable,
        "-m",
        "examples.models.manual_writer.train",
        "--out",
        ".local/models/manual-writer",
    ]
    return subprocess.run(argv, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode


def main(args: list[str]) -> int:
    """Start the servers, run both suites even if the first fails, and stop what was started."""
    stack = Stack("test", report=lambda line: print(f"  {line}", flush=True))
    try:
        started = stack.start()
    except PartFailed as error:
        print(error, file=sys.stderr)
        return 1
    try:
        contracts_failed = contracts_tests() != 0
        if contracts_failed:
            print("the contracts' tests failed; the Python tests follow", flush=True)
        return 1 if models() != 0 or python_tests(args) != 0 or contracts_failed else 0
    finally:
        if started:
            Stack("test").stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
