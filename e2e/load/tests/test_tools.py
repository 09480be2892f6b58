"""What the load tools print, as they printed it, and what is read out of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from e2e.load import h2load, tool, wrk
from e2e.load.tool import Load, Target

CAPTURED = Path(__file__).with_name("captured")
TARGET = Target("direct", "http://127.0.0.1:1/", Path("/dev/null"))


def captured(name: str) -> str:
    return (CAPTURED / name).read_text()


def parse_h2load(name: str, least_bytes: int = 1) -> Load:
    return h2load.parse(captured(f"{name}.txt"), captured(f"{name}.tsv"), 0.25, least_bytes)


def test_wrk_figures_are_those_of_its_script() -> None:
    load = wrk.parse(captured("wrk.txt"), 0.5)

    assert load == Load(26264, 1129593, 65, 34170, refused=0, broken=0, cpu_s=0.5)
    assert round(load.rate, 2) == 23250.85  # wrk's own figure


def test_refusals_that_wrk_counts_fail_the_run() -> None:
    load = wrk.parse(captured("wrk-refused.txt"), 0.5)

    with pytest.raises(AssertionError, match="14037 of 14037 requests to direct were refused"):
        load.flawless(TARGET)


def test_h2load_latencies_are_taken_from_each_request() -> None:
    load = parse_h2load("h2load")

    # The 10th and the 20th of 20 in order, and first start to last end of the log.
    assert (load.requests, load.p50_us, load.p99_us) == (20, 197, 4633)
    assert load.duration_us == 1796067856938214 + 4633 - 1796067856132758
    assert (load.refused, load.broken) == (0, 0)


def test_refusals_that_h2load_counts_are_counted_once() -> None:
    load = parse_h2load("h2load-refused")

    assert (load.requests, load.refused) == (0, 8)


def test_answers_shorter_than_they_should_be_are_refusals() -> None:
    # 220 bytes of data in 20 answers: a gRPC refusal has status 200 and no message.
    assert parse_h2load("h2load", least_bytes=11).refused == 0
    assert parse_h2load("h2load", least_bytes=12).refused == 20


def test_an_output_without_figures_says_what_was_printed() -> None:
    with pytest.raises(AssertionError, match="unable to connect"):
        h2load.parse("unable to connect", "", 0.0)


@pytest.mark.parametrize(
    ("values", "part", "expected"),
    [([], 50, 0), ([7], 99, 7), ([1, 2, 3, 4], 50, 2), (list(range(1, 101)), 99, 99), ([1, 2], 99, 2)],
)
def test_percentiles_are_values_that_were_measured(values: list[int], part: int, expected: int) -> None:
    assert h2load.percentile(values, part) == expected


def test_a_run_without_an_answer_is_none() -> None:
    load = Load(1, 1, 1, 1, refused=0, broken=0, cpu_s=0.0)

    assert load.flawless(TARGET) is load
    with pytest.raises(AssertionError, match="answered nothing"):
        replace(load, requests=0).flawless(TARGET)
    with pytest.raises(AssertionError, match="3 connections or requests to direct broke"):
        replace(load, broken=3).flawless(TARGET)


def test_a_missing_tool_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tool, "PEERS", tmp_path)
    monkeypatch.setattr(tool, "SBIN", str(tmp_path))

    with pytest.raises(SystemExit, match="bench: nginx is missing; install Debian's package `nginx-light`"):
        tool.find("nginx")
