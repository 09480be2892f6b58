"""`make bench-gateway`: the gateway beside Triton called directly and beside other gateways, one JSON line a case.

Every case is measured as docs/architecture/performance.md says, in rounds in which each target has its turn. Licensing,
meter, log, receipts and telemetry are on, and the usage records are read back: a case whose records are not its answers
fails. Billing, which reads them later, does not run.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e2e.demo.steps import Notes
from e2e.load import figures, machine, processes, right, rounds, tool
from e2e.load.cases import CASES, Case
from e2e.load.peers.peer import Peer
from e2e.load.rounds import Plan, Rules, Runs
from e2e.load.stand import DIRECT, GATEWAY, LEFT_OUT, SCALED, Stand
from e2e.load.tool import Target
from e2e.world import World
from infra.local.stack import Stack

PROFILE = "bench"
TERMINATED = 143
FULL = Rules()


def main() -> int:
    """Exit code 0 when every case could be measured."""
    parser = argparse.ArgumentParser(prog="make bench-gateway", description=__doc__)
    parser.add_argument("--only", default="", help="the cases whose name contains this")
    parser.add_argument(
        "--rounds", type=int, default=FULL.rounds, help="rounds of a case; fewer than 9 are a trial"
    )
    parser.add_argument(
        "--seconds", type=int, default=FULL.seconds, help="length of a run; less than 5 is a trial"
    )
    parser.add_argument("--peers", help="only the peers whose name contains this; '-' is none")
    parser.add_argument("--out", type=Path, help="also append the lines to this file")
    args = parser.parse_args()
    cases = [case for case in CASES if args.only in case.name]
    if not cases:
        parser.error(f"no case is called {args.only}: {', '.join(case.name for case in CASES)}")
    rules = Rules(args.rounds, args.seconds)
    if args.rounds < FULL.rounds or args.seconds < FULL.seconds:
        rules = Rules(args.rounds, args.seconds, requests=0)
    stop_on_sigterm()
    find_tools(cases, args.peers)
    with standing() as stand:
        for case in cases:
            tell(play(stand, case, rules, args.peers), args.out)
    return 0


def stop_on_sigterm() -> None:
    """Leaves by SystemExit, so that the stack and the peers are stopped."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(TERMINATED))


def tell(line: dict[str, Any], out: Path | None) -> None:
    """Each line as it is measured: what fails later takes no figure away."""
    text = json.dumps({**line, **machine.facts()}) + "\n"
    print(text, end="", flush=True)
    if out:
        with out.open("a") as stream:
            stream.write(text)


def find_tools(cases: Sequence[Case], peers: str | None = None) -> None:
    """Raises SystemExit where a tool or a peer of these cases is missing, before anything is started."""
    tools = {case.program for case in cases} | {
        peer.program for case in cases for peer in chosen(case, peers)
    }
    for program in sorted(tools):
        tool.find(program)


@contextmanager
def standing() -> Iterator[Stand]:
    """A fresh stack without what is no part of a call, and a right to call."""
    stack = Stack(PROFILE, report=lambda line: print(f"  {line}", file=sys.stderr))
    stack.stop()
    stack.wipe()
    stack.start(without=LEFT_OUT)
    try:
        with tempfile.TemporaryDirectory() as folder:
            world, notes = World(stack.endpoints), Notes(Path(folder) / "notes.json")
            tensors, vectors = right.prepare(world, notes)
            usage = right.Usage(world, frozenset({tensors.asset_id, vectors.asset_id}))
            yield Stand(stack, world, notes, tensors, vectors, usage)
            world.close()
    finally:
        stack.stop()


def chosen(case: Case, names: str | None) -> list[Peer]:
    """The case's peers whose name contains this: all of None."""
    return [peer for peer in case.peers if names is None or names in peer.name]


def play(stand: Stand, case: Case, rules: Rules, peers: str | None = None) -> dict[str, Any]:
    """One case, from its warm-up to its line."""
    print(f"… {case.name}", file=sys.stderr)
    with stand.targets(case, chosen(case, peers)) as targets:
        names = [target.name for target in targets]
        subject = SCALED if case.workers else GATEWAY if GATEWAY in names else DIRECT
        plan = Plan(case.tool, case.connections)
        rounds.warm_up(targets, plan, rules)
        if case.share:
            saturated = case.tool(targets[0], connections=case.connections, seconds=rules.seconds)
            plan = Plan(case.tool, case.connections, saturated.rate * case.share)
        stand.usage.settle()
        runs = rounds.play(targets, plan, rules, lambda: processes.by_part(stand.stack), subject=subject)
        line = {
            "bench": "gateway",
            "case": case.name,
            "load_tool": case.program,
            **_line(targets, runs, plan, subject),
        }
        if GATEWAY in names:
            line |= _read_back(stand, case, runs)
        trial = rules.rounds < FULL.rounds or rules.seconds < FULL.seconds
        return {**line, "seconds": rules.seconds, "trial": trial, "parts": stand.parts()}


def _read_back(stand: Stand, case: Case, runs: Runs) -> dict[str, int]:
    ours = [run for name in (GATEWAY, SCALED) for run in runs.get(name, [])]
    answered = rounds.answers(ours)
    records = stand.usage.confirm(answered, dropped=len(ours) * case.connections)
    return {"answers": answered, "records": records}


def _line(targets: Sequence[Target], runs: Runs, plan: Plan, subject: str) -> dict[str, Any]:
    """The subject's figures, and beside them those of each peer with the subject's ratio to it."""
    direct = runs[DIRECT]
    line: dict[str, Any] = {"subject": subject}
    if subject != DIRECT:
        line |= _about(runs[subject], direct, plan)
        line["cpu_us_by_part"] = figures.split(runs[subject])
    line["direct_rps"] = round(statistics.median(figures.rates(direct)))
    line["rounds"] = len(direct)
    line["peers"] = [
        {"peer": target.name, "check": target.check}
        | _beside(runs, subject, target.name)
        | _about(runs[target.name], direct, plan)
        for target in targets
        if target.name not in {DIRECT, subject}
    ]
    return line


def _beside(runs: Runs, subject: str, peer: str) -> dict[str, Any]:
    if subject == DIRECT:
        return {}
    found = figures.ratio(figures.rates(runs[subject]), figures.rates(runs[peer]))
    return {"ratio_vs_peer": found["ratio"], "iqr_vs_peer": found["iqr"], "stable_vs_peer": found["stable"]}


def _about(runs: list[rounds.Measured], direct: list[rounds.Measured], plan: Plan) -> dict[str, Any]:
    line = figures.beside_direct(runs, direct)
    if plan.rate:
        line["asked_rps"] = round(plan.rate)
        line["kept_rate"] = figures.ratio(figures.rates(runs), [plan.rate] * len(runs))["ratio"]
    line["usd_per_million_calls"] = figures.usd_per_million(line["cpu_us_per_request"])
    line["usd_per_core_hour"] = figures.USD_PER_CORE_HOUR
    return line


if __name__ == "__main__":
    raise SystemExit(main())
