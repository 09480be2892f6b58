"""In which order targets have their turns, and when a case has been measured enough."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from e2e.load.rounds import Plan, Rules, answers, play, warm_up
from e2e.load.tool import Load, Target

NAMES = ("direct", "gateway", "peer")
TARGETS = [Target(name, f"http://127.0.0.1/{name}", Path("/dev/null")) for name in NAMES]


class Tool:
    """A load tool that answers each run with so many requests; the meter beside it counts its runs."""

    def __init__(self, requests: int) -> None:
        self.turns: list[str] = []
        self.requests = requests

    def __call__(self, target: Target, *, connections: int, seconds: int, rate: float = 0) -> Load:
        assert (connections, seconds, rate) == (16, 5, 100)
        self.turns.append(target.name)
        return Load(self.requests, seconds * 1_000_000, 1, 2, refused=0, broken=0, cpu_s=0.0)

    def meter(self) -> Mapping[str, float]:
        return {"triton": float(len(self.turns))}


def rules(rounds: int, requests: int = 0) -> Rules:
    return Rules(rounds=rounds, seconds=5, requests=requests, most=rounds + 2)


def test_each_round_turns_the_order_of_the_one_before() -> None:
    tool = Tool(10)

    runs = play(TARGETS, Plan(tool, 16, 100), rules(2), tool.meter, subject="gateway")

    assert tool.turns == [*NAMES, *reversed(NAMES)]
    assert [len(runs[name]) for name in NAMES] == [2, 2, 2]


def test_rounds_go_on_until_the_subject_answered_enough() -> None:
    tool = Tool(10)

    runs = play(TARGETS, Plan(tool, 16, 100), rules(2, requests=25), tool.meter, subject="gateway")

    assert answers(runs["gateway"]) == 30


def test_rounds_end_though_too_little_was_answered() -> None:
    tool = Tool(10)

    runs = play(TARGETS, Plan(tool, 16, 100), rules(2, requests=10_000), tool.meter, subject="gateway")

    assert len(runs["direct"]) == 4


def test_what_a_part_used_is_told_of_the_run_alone() -> None:
    tool = Tool(10)

    runs = play(TARGETS, Plan(tool, 16, 100), rules(2), tool.meter, subject="gateway")

    assert {run.parts_cpu_s["triton"] for name in NAMES for run in runs[name]} == {1.0}


def test_a_warm_up_runs_each_target_once() -> None:
    tool = Tool(10)

    warm_up(TARGETS, Plan(tool, 16, 100), rules(2))

    assert tool.turns == list(NAMES)
