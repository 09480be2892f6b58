"""`make bench`: the first path's figures, one JSON line a case, in at most ten minutes.

Ratios and CPU figures, measured as docs/architecture/performance.md says; every line names machine, cores and commit.
The gateway's part is one case with the peers that check each call; `make bench-gateway` plays all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from e2e.demo import books, calls, story
from e2e.load import gateway, revocation
from e2e.load.cases import SHORT
from e2e.load.machine import ROOT
from e2e.load.rounds import Rules
from e2e.load.stand import PARTS, Stand

# Each of these starts and stops what it needs, so it runs before the whole stack is up.
ALONE = ("services/chain-indexer/bench/events.py", "services/billing/bench/records.py")
ON_THE_STACK = ("gateway", "revocation")


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
        gateway.find_tools([SHORT])
    gateway.stop_on_sigterm()
    told = 0
    for line in _lines(args.only):
        gateway.tell(line, args.out)
        told += 1
    print(f"bench: {told} cases in {time.monotonic() - started:.0f} s", file=sys.stderr)
    return 0


def _lines(only: str) -> Iterator[dict[str, Any]]:
    for script in ALONE:
        if only in script:
            yield from _alone(script)
    if any(only in name for name in ON_THE_STACK):
        with gateway.standing() as stand:
            yield from _cases(stand, only)


def _alone(script: str) -> list[dict[str, Any]]:
    print(f"… {script}", file=sys.stderr)
    done = subprocess.run([sys.executable, script], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _cases(stand: Stand, only: str) -> Iterator[dict[str, Any]]:
    if only in "gateway":
        yield gateway.play(stand, SHORT, Rules())
    if only in "revocation":
        print("… revocation", file=sys.stderr)
        stand.stack.start([PARTS[1]])
        yield _revocation(stand)


def _revocation(stand: Stand) -> dict[str, Any]:
    world, notes = stand.world, stand.notes
    for step in (story.train_model, story.publish_model, story.create_plans):
        step(world, notes)
    for name in ("giver", "taker"):
        books.fund(world, world.actor(name).address, story.FUNDS)
        calls.make_key(world, notes, name)
    token_id, _ = world.client("giver").chain.buy(revocation.endless_plan(world, notes))
    return {**revocation.run(world, notes, token_id)}


if __name__ == "__main__":
    raise SystemExit(main())
