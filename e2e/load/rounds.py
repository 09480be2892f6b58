"""Rounds: every target under the same load, one after another, and what each used meanwhile."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from e2e.load import processes
from e2e.load.tool import Load, Run, Target

Meter = Callable[[], Mapping[str, float]]
Runs = dict[str, list["Measured"]]


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one target: its own CPU seconds, those of each part of the stack, and its memory after it."""

    load: Load
    own_cpu_s: float
    parts_cpu_s: Mapping[str, float]
    rss_mib: float


@dataclass(frozen=True, slots=True)
class Rules:
    """How long is measured. CPU a request is an average over `requests` at least, within `most` rounds."""

    rounds: int = 9
    seconds: int = 5
    requests: int = 100_000
    most: int = 13


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run in each round of a case: the tool, its connections, and its rate for each target or 0."""

    tool: Run
    connections: int
    rate: float = 0


def play(targets: Sequence[Target], plan: Plan, rules: Rules, meter: Meter, *, subject: str) -> Runs:
    """All rounds: A B, then B A, and so on, so that a drift of the machine falls on all alike.

    `subject` names the target whose requests are counted.
    """
    found: Runs = {target.name: [] for target in targets}
    number = 0
    while number < rules.rounds or (answers(found[subject]) < rules.requests and number < rules.most):
        for target in targets if number % 2 == 0 else targets[::-1]:
            found[target.name].append(measure(target, plan, rules.seconds, meter))
        number += 1
        rates = ", ".join(f"{name} {runs[-1].load.rate:.0f}" for name, runs in found.items())
        print(f"  round {number}: {rates} requests/s", file=sys.stderr)
    return found


def warm_up(targets: Sequence[Target], plan: Plan, rules: Rules) -> None:
    """A run of each target whose figures are thrown away."""
    for target in targets:
        plan.tool(target, connections=plan.connections, seconds=rules.seconds, rate=plan.rate)


def measure(target: Target, plan: Plan, seconds: int, meter: Meter) -> Measured:
    """One run. What the target does after its last answer is counted too, and disturbs no other target."""
    before, own_before = meter(), _own(target)
    load = plan.tool(target, connections=plan.connections, seconds=seconds, rate=plan.rate)
    time.sleep(target.settles_s)
    parts = {name: used - before.get(name, 0.0) for name, used in meter().items()}
    rss = processes.rss_mib(target.pid) if target.pid else 0.0
    return Measured(load, _own(target) - own_before, parts, rss)


def answers(runs: Sequence[Measured]) -> int:
    """Answered requests of all runs."""
    return sum(run.load.requests for run in runs)


def _own(target: Target) -> float:
    return processes.cpu_s(target.pid) if target.pid else 0.0
