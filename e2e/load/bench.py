"""`make bench`: the first path's figures, one JSON line a case, in at most five minutes.

Ratios and CPU figures, measured as docs/architecture/performance.md says; every line names machine, cores and commit.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from e2e.demo import books, calls, story
from e2e.demo.steps import Notes
from e2e.load import gateway, revocation, wrk
from e2e.world import World
from infra.local.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
PROFILE = "bench"
# Each of these starts and stops what it needs, so it runs before the whole stack is up.
ALONE = ("services/chain-indexer/bench/events.py", "services/billing/bench/records.py")
ON_THE_STACK = ("gateway", "revocation")
TERMINATED = 143


def main() -> int:
    """Exit code 0 when every case could be measured."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", default="", help="run the cases whose bench name contains this")
    parser.add_argument("--out", type=Path, help="also append the lines to this file")
    args = parser.parse_args()
    started = time.monotonic()
    known = (*ALONE, *ON_THE_STACK)
    if not any(args.only in name for name in known):
        parser.error(f"no bench is called {args.only}: {', '.join(known)}")
    if args.only in "gateway":
        wrk.find()
    signal.signal(
        signal.SIGTERM, lambda _number, _frame: sys.exit(TERMINATED)
    )  # so that the stack is stopped
    facts, told = machine(), 0
    # Each line as it is measured: what fails later takes no figure away.
    for line in _lines(args.only):
        text = json.dumps({**line, **facts}) + "\n"
        print(text, end="", flush=True)
        if args.out:
            with args.out.open("a") as stream:
                stream.write(text)
        told += 1
    print(f"bench: {told} cases in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return 0


def _lines(only: str) -> Iterator[dict[str, Any]]:
    for script in ALONE:
        if only in script:
            yield from _alone(script)
    if any(only in name for name in ON_THE_STACK):
        yield from _on_the_stack(only)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {"machine": model, "cores": len(os.sched_getaffinity(0)), "commit": commit.stdout.strip()}


def _alone(script: str) -> list[dict[str, Any]]:
    print(f"… {script}", file=sys.stderr)
    done = subprocess.run([sys.executable, script], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _on_the_stack(only: str) -> Iterator[dict[str, Any]]:
    stack = Stack(PROFILE, report=lambda line: print(f"  {line}", file=sys.stderr))
    stack.stop()
    stack.wipe()
    stack.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            world, notes = World(stack.endpoints), Notes(Path(folder) / "notes.json")
            yield from _cases(stack, world, notes, only)
    finally:
        stack.stop()


def _cases(stack: Stack, world: World, notes: Notes, only: str) -> Iterator[dict[str, Any]]:
    if only in "gateway":
        print("… gateway http-1k-c16", file=sys.stderr)
        yield gateway.run(stack, world, notes)
    if only in "revocation":
        print("… revocation", file=sys.stderr)
        for step in (story.train_model, story.publish_model, story.create_plans):
            step(world, notes)
        for name in ("giver", "taker"):
            books.fund(world, world.actor(name).address, story.FUNDS)
            calls.make_key(world, notes, name)
        token_id, _ = world.client("giver").chain.buy(revocation.endless_plan(world, notes))
        yield revocation.run(world, notes, token_id)


if __name__ == "__main__":
    raise SystemExit(main())
