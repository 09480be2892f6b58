"""A shortfall of what is proven about the contracts is one, however it looks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools import prove


def halmos(exitcode: int = 0, bounded: int = 0, count: int = prove.MIN_PROOFS) -> dict[str, Any]:
    """A report of which the last proof ended so."""
    good = {"exitcode": 0, "num_bounded_loops": 0, "num_paths": [3, 3, 0], "time": [0.1, 0.1, 0.0]}
    results = [{**good, "name": f"check_{number}(uint256)"} for number in range(count - 1)]
    last = {**good, "name": "check_last(uint256)", "exitcode": exitcode, "num_bounded_loops": bounded}
    return {"test_results": {"test/proof/It.p.sol:ItProof": [*results, last]}}


def test_every_proof_held() -> None:
    verdict = prove.proven(halmos())
    assert not verdict.shortfalls
    assert verdict.summary.startswith(f"{prove.MIN_PROOFS} of {prove.MIN_PROOFS},")


@pytest.mark.parametrize("report", [halmos(exitcode=1), halmos(exitcode=3), halmos(bounded=1)])
def test_a_counterexample_an_unknown_and_a_cut_loop_are_no_proof(report: dict[str, Any]) -> None:
    verdict = prove.proven(report)
    assert verdict.shortfalls == ("check_last is not proven",)
    assert verdict.summary.startswith(f"{prove.MIN_PROOFS - 1} of {prove.MIN_PROOFS},")


def test_too_few_proofs_are_a_shortfall() -> None:
    assert prove.proven(halmos(count=3)).shortfalls == (f"3 proofs, below {prove.MIN_PROOFS}",)


def lcov(source: str, lines: int, hit: int, branches: int, taken: int) -> str:
    return (
        f"TN:\nSF:{source}\nDA:7,{int(hit == lines)}\nLF:{lines}\nLH:{hit}\n"
        f"BRDA:8,0,0,-\nBRF:{branches}\nBRH:{taken}\nend_of_record\n"
    )


def test_coverage_counts_the_sources_and_nothing_else() -> None:
    verdict = prove.covered(lcov("src/It.sol", 100, 100, 20, 19) + lcov("test/Base.sol", 100, 0, 20, 0))
    assert not verdict.shortfalls
    assert verdict.summary == "100.00% of lines (100 of 100), 95.00% of branches (19 of 20)"
    assert verdict.detail == ("src/It.sol:8 branch not reached",)


@pytest.mark.parametrize(
    ("report", "shortfall"),
    [
        (lcov("src/It.sol", 1000, 989, 20, 20), "98.90% of lines, below 99%"),
        (lcov("src/It.sol", 100, 100, 100, 94), "94.00% of branches, below 95%"),
    ],
)
def test_coverage_below_its_bound_is_a_shortfall(report: str, shortfall: str) -> None:
    assert prove.covered(report).shortfalls == (shortfall,)


def test_no_coverage_is_a_shortfall() -> None:
    assert len(prove.covered("").shortfalls) == 2


def finding(impact: str) -> dict[str, str]:
    return {"impact": impact, "check": "reentrancy", "description": "It calls\nsomebody"}


def test_findings_of_high_and_medium_impact_are_shortfalls() -> None:
    found = [finding(impact) for impact in ("High", "Medium", "Low", "Informational", "Optimization")]
    assert prove.judged(found, []).shortfalls == (
        "High: reentrancy: It calls",
        "Medium: reentrancy: It calls",
    )


def test_a_suppression_needs_a_reason_and_there_are_few() -> None:
    assert not prove.judged([], [("src/It.sol:3", "reentrancy", "nobody is called")]).shortfalls
    assert prove.judged([], [("src/It.sol:3", "reentrancy", "")]).shortfalls == (
        "src/It.sol:3: no reason for reentrancy",
    )
    many = [("src/It.sol:3", "reentrancy", "nobody is called")] * (prove.MAX_SUPPRESSIONS + 1)
    assert len(prove.judged([], many).shortfalls) == 1


def test_the_suppressions_of_the_sources_are_found() -> None:
    assert all(reason for _, _, reason in prove.suppressions())
    assert "src/RevenueRouter.sol" in {place.partition(":")[0] for place, _, _ in prove.suppressions()}


def test_what_held_is_passed_over_until_something_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran = []

    def part(shortfalls: tuple[str, ...] = ()) -> prove.Verdict:
        ran.append(shortfalls)
        return prove.Verdict("", (), shortfalls)

    names = ("build", "specifications", "sizes", "coverage", "analysis", "proofs")
    for name in names:
        monkeypatch.setattr(prove, name, type("Part", (), {"__name__": name, "__call__": lambda _: part()})())
    monkeypatch.setattr(prove, "tests", lambda _: part(("broken",)))
    monkeypatch.setattr(prove, "STAMPS", tmp_path)
    monkeypatch.setattr(prove, "inputs_digest", lambda: "a digest")

    assert prove.main(["--unless-proven"]) == 1
    assert len(ran) == 7, "all of them run, also behind one that falls short"
    monkeypatch.setattr(prove, "tests", lambda _: part())
    assert prove.main(["--unless-proven"]) == 0
    assert len(ran) == 14, "what did not hold runs again"
    assert prove.main(["--unless-proven"]) == 0
    assert len(ran) == 14
    assert prove.main([]) == 0
    assert len(ran) == 21, "unless nobody asked to pass over it"
    monkeypatch.setattr(prove, "inputs_digest", lambda: "another digest")
    assert prove.main(["--unless-proven"]) == 0
    assert len(ran) == 28


def test_nothing_is_proven_of_what_does_not_compile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        prove, "build", lambda: prove.Verdict("no result", (), ("the contracts do not compile",))
    )
    monkeypatch.setattr(prove, "run_all", lambda _: pytest.fail("a part ran on what stood there before"))
    monkeypatch.setattr(prove, "STAMPS", tmp_path)
    assert prove.main([]) == 1
    assert "FAILED build" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("short", ["first", "second", "third"])
def test_every_part_runs_and_a_shortfall_of_any_is_one(
    short: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def part(title: str) -> tuple[str, Callable[[], prove.Verdict]]:
        return title, lambda: prove.Verdict("found", ("a detail",), ("too little",) if title == short else ())

    assert not prove.run_all([[part("first"), part("second")], [part("third")]])
    printed = capsys.readouterr().out
    assert printed.count("ok  ") == 2
    assert f"FAILED {short}" in printed
    assert prove.run_all([[part("fourth")], [part("fifth")]])
