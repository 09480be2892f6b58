"""`make test-contracts`: everything that is proven about the contracts. Non-zero on any shortfall.

Solidity tests, a specification beside each, sizes, coverage, static analysis, symbolic proofs. `--profile ci` or `deep`
fuzzes longer. `--unless-proven` does nothing where nothing that they depend on has changed since all of it held.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from infra.local.paths import PROOF_VENV, STAMPS, tools_path  # noqa: E402 - the line above makes it importable

CONTRACTS = ROOT / "contracts"
COVERAGE_FILE = CONTRACTS / "out/lcov.info"
FINDINGS_FILE = CONTRACTS / "out/slither.json"
PROOFS_FILE = CONTRACTS / "out/halmos.json"
# Runs of a fuzz test; runs and calls of a stateful one.
PROFILES = {"local": (1_000, 48, 50), "ci": (10_000, 100, 100), "deep": (100_000, 100, 100)}
MAX_CODE_BYTES = 22 * 1024
MIN_LINES, MIN_BRANCHES = 0.99, 0.95
MAX_SUPPRESSIONS = 10
MIN_PROOFS = 12
# Turns of a loop that a proof follows; one that needs more fails.
LOOP_BOUND = 5
# Per question to the solver; no answer by then is no proof.
SOLVER_MS = 60_000
SUPPRESSION = re.compile(r"//\s*slither-disable-[\w-]+\s+(?P<detectors>\S+)(?P<reason>.*)")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a part found: a line for the reader, lines of detail, and what falls short."""

    summary: str
    detail: tuple[str, ...] = ()
    shortfalls: tuple[str, ...] = ()


def run_tool(argv: Sequence[str], **env: str) -> subprocess.CompletedProcess[str]:
    """A tool inside contracts/ (forge looks for its compiler from where it stands)."""
    path = os.pathsep.join((str(PROOF_VENV / "bin"), tools_path()))
    everything = {**os.environ, **env, "PATH": path}
    return subprocess.run(argv, cwd=CONTRACTS, env=everything, capture_output=True, text=True, check=False)


def _tail(done: subprocess.CompletedProcess[str]) -> tuple[str, ...]:
    return tuple((done.stdout + done.stderr).splitlines()[-40:])


def build() -> Verdict:
    """Compile first: some tests read what was compiled, under coverage too, which leaves nothing of it behind."""
    # As the tests do, so that nothing is compiled twice: `forge build` links them otherwise.
    done = run_tool(("forge", "test", "--list"))
    if done.returncode:
        return Verdict("no result", _tail(done), ("the contracts do not compile",))
    return Verdict("compiled")


def tests(profile: str) -> Verdict:
    """Every Solidity test, fuzzed as the profile says."""
    fuzz, runs, depth = PROFILES[profile]
    done = run_tool(
        ("forge", "test", "--json"),
        FOUNDRY_FUZZ_RUNS=str(fuzz),
        FOUNDRY_INVARIANT_RUNS=str(runs),
        FOUNDRY_INVARIANT_DEPTH=str(depth),
    )
    try:
        suites = json.loads(done.stdout[done.stdout.index("{") :])
    except ValueError:
        return Verdict("no result", _tail(done), ("forge test ended without a result",))
    results = [(f"{suite}:{name}", r) for suite, s in suites.items() for name, r in s["test_results"].items()]
    failed = tuple(f"{name}: {r['reason']}" for name, r in results if r["status"] != "Success")
    fuzzed = sum("Fuzz" in r["kind"] for _, r in results)
    stateful = sum("Invariant" in r["kind"] for _, r in results)
    summary = (
        f"{len(results)} run, {len(failed)} not passed; {fuzzed} of them fuzzed {fuzz:,} times, "
        f"{stateful} stateful over {runs} x {depth} calls"
    )
    # Gas that differs from the snapshot fails the run after all tests have passed.
    if done.returncode and not failed:
        return Verdict(summary, _tail(done), ("forge test failed beyond its tests",))
    return Verdict(summary, (), failed)


def specifications() -> Verdict:
    """Each test file has its specification beside it."""
    files = sorted((CONTRACTS / "test").glob("*.t.sol"))
    lacking = [
        f"{file.name} has no {file.name.removesuffix('.t.sol')}.tree"
        for file in files
        if not file.with_name(file.name.removesuffix(".t.sol") + ".tree").is_file()
    ]
    return Verdict(f"{len(files)} test files, {len(lacking)} without one", (), tuple(lacking))


def sizes() -> Verdict:
    """Runtime code of each contract of `src`."""
    found = {}
    for source in sorted((CONTRACTS / "src").rglob("*.sol")):
        artifact = CONTRACTS / "out" / source.name / f"{source.stem}.json"
        if artifact.is_file():
            code = json.loads(artifact.read_text())["deployedBytecode"]["object"]
            found[source.stem] = (len(code) - 2) // 2
    largest = max(found, key=lambda name: found[name])
    above = tuple(
        f"{name} has {size} bytes of code, above {MAX_CODE_BYTES}"
        for name, size in found.items()
        if size > MAX_CODE_BYTES
    )
    return Verdict(f"largest is {largest} with {found[largest]:,} of {MAX_CODE_BYTES:,} bytes", (), above)


def coverage() -> Verdict:
    """Lines and branches of `src` that the tests reach; nothing is excluded."""
    argv = ("forge", "coverage", "--report", "lcov", "--report-file", str(COVERAGE_FILE))
    # Its code is not optimised: gas is not what it is about.
    done = run_tool(
        (*argv, "--no-match-contract", "Gas", "--gas-snapshot-check=false", "--gas-snapshot-emit=false"),
        FOUNDRY_FUZZ_RUNS="100",
        FOUNDRY_INVARIANT_RUNS="10",
    )
    if done.returncode:
        return Verdict("no result", _tail(done), ("forge coverage failed",))
    return covered(COVERAGE_FILE.read_text())


def covered(report: str) -> Verdict:
    """What an lcov report says of `src`."""
    counts = dict.fromkeys(("LF", "LH", "BRF", "BRH"), 0)
    missed = []
    source = ""
    for line in report.splitlines():
        kind, _, value = line.partition(":")
        if kind == "SF":
            source = value
        elif not source.startswith("src/"):
            continue
        elif kind in counts:
            counts[kind] += int(value)
        elif kind in ("DA", "BRDA") and value.split(",")[-1] in ("0", "-"):
            missed.append(
                f"{source}:{value.split(',')[0]} {'line' if kind == 'DA' else 'branch'} not reached"
            )
    lines = counts["LH"] / max(counts["LF"], 1)
    branches = counts["BRH"] / max(counts["BRF"], 1)
    shortfalls = []
    if lines < MIN_LINES:
        shortfalls.append(f"{lines:.2%} of lines, below {MIN_LINES:.0%}")
    if branches < MIN_BRANCHES:
        shortfalls.append(f"{branches:.2%} of branches, below {MIN_BRANCHES:.0%}")
    summary = (
        f"{lines:.2%} of lines ({counts['LH']} of {counts['LF']}), "
        f"{branches:.2%} of branches ({counts['BRH']} of {counts['BRF']})"
    )
    return Verdict(summary, tuple(missed), tuple(shortfalls))


def analysis() -> Verdict:
    """Slither's findings of high and medium impact, and what is suppressed in the sources."""
    FINDINGS_FILE.unlink(missing_ok=True)
    done = run_tool(
        ("slither", ".", "--json", str(FINDINGS_FILE), "--filter-paths", "node_modules|test/", "--fail-none"),
        FOUNDRY_PROFILE="proof",
    )
    if not FINDINGS_FILE.is_file():
        return Verdict("no result", _tail(done), ("slither ended without a result",))
    found = json.loads(FINDINGS_FILE.read_text()).get("results", {}).get("detectors", [])
    return judged(found, list(suppressions()))


def suppressions() -> Iterator[tuple[str, str, str]]:
    """Place, detectors and reason of each finding that the sources suppress; the reason stands in the line above."""
    for source in sorted((CONTRACTS / "src").rglob("*.sol")):
        lines = source.read_text().splitlines()
        for number, line in enumerate(lines, 1):
            if found := SUPPRESSION.search(line):
                above = lines[number - 2].strip()
                reason = above.removeprefix("//").strip() if above.startswith("//") else ""
                yield f"{source.relative_to(CONTRACTS)}:{number}", found["detectors"], reason


def judged(findings: Sequence[dict[str, Any]], suppressed: Sequence[tuple[str, str, str]]) -> Verdict:
    """What findings and suppressions fall short of."""
    grave = [f for f in findings if f["impact"] in ("High", "Medium")]
    shortfalls = [f"{f['impact']}: {f['check']}: {f['description'].splitlines()[0]}" for f in grave]
    shortfalls += [f"{place}: no reason for {what}" for place, what, reason in suppressed if not reason]
    if len(suppressed) > MAX_SUPPRESSIONS:
        shortfalls.append(f"{len(suppressed)} suppressions, above {MAX_SUPPRESSIONS}")
    summary = f"{len(grave)} findings of high or medium impact, {len(suppressed)} suppressed with a reason"
    detail = tuple(f"{place} {what}: {reason}" for place, what, reason in suppressed)
    return Verdict(summary, detail, tuple(shortfalls))


def proofs() -> Verdict:
    """Halmos on every `check_` function of `test/proof`."""
    PROOFS_FILE.unlink(missing_ok=True)
    done = run_tool(
        (
            *("halmos", "--root", ".", "--forge-build-out", "out/proof", "--match-contract", "Proof$"),
            *(
                "--loop",
                str(LOOP_BOUND),
                "--solver-timeout-assertion",
                str(SOLVER_MS),
                "--solver-threads",
                "2",
            ),
            *("--no-status", "--json-output", str(PROOFS_FILE)),
        ),
        FOUNDRY_PROFILE="proof",
    )
    if not PROOFS_FILE.is_file():
        return Verdict("no result", _tail(done), ("halmos ended without a result",))
    return proven(json.loads(PROOFS_FILE.read_text()))


def proven(report: dict[str, Any]) -> Verdict:
    """What halmos' report says; anything but a proof is a shortfall, an unknown as well."""
    results = [r for suite in report["test_results"].values() for r in suite]
    detail, shortfalls = [], []
    for result in sorted(results, key=lambda r: str(r["name"])):
        name = result["name"].partition("(")[0]
        paths, seconds = result["num_paths"][0], result["time"][0]
        held = result["exitcode"] == 0 and not result["num_bounded_loops"]
        detail.append(f"{'proven' if held else 'NOT   '} {name:64} {paths:4} paths {seconds:6.1f} s")
        if not held:
            shortfalls.append(f"{name} is not proven")
    if len(results) < MIN_PROOFS:
        shortfalls.append(f"{len(results)} proofs, below {MIN_PROOFS}")
    summary = f"{len(results) - sum('NOT' in line for line in detail)} of {len(results)}, loops to {LOOP_BOUND} turns"
    return Verdict(summary, tuple(detail), tuple(shortfalls))


def inputs_digest() -> str:
    """Digest of all that the parts depend on."""
    files = [
        Path(__file__),
        CONTRACTS / "proof.lock",
        CONTRACTS / "foundry.toml",
        CONTRACTS / "package-lock.json",
    ]
    for folder in (*(CONTRACTS / name for name in ("src", "test", "snapshots")), ROOT / "proto/vectors"):
        files += sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.relative_to(ROOT)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()


def report(title: str, part: Callable[[], Verdict]) -> bool:
    """Run a part and say what it found, in one piece."""
    began = time.monotonic()
    verdict = part()
    good = not verdict.shortfalls
    lines = [
        f"{'ok    ' if good else 'FAILED'} {title:14} {time.monotonic() - began:6.1f} s  {verdict.summary}"
    ]
    lines += [f"         {line}" for line in verdict.detail]
    lines += [f"       > {line}" for line in verdict.shortfalls]
    print("\n".join(lines), flush=True)
    return good


def run_all(lanes: Sequence[Sequence[tuple[str, Callable[[], Verdict]]]]) -> bool:
    """Run the lanes beside each other, the parts of each one by one; all of them, also behind one that falls short."""
    with ThreadPoolExecutor(len(lanes)) as pool:
        held = list(pool.map(lambda lane: [report(title, part) for title, part in lane], lanes))
    return all(all(lane) for lane in held)


def main(args: list[str]) -> int:
    """Run every part even if one falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="local")
    parser.add_argument("--unless-proven", action="store_true")
    options = parser.parse_args(args)
    stamp, digest = STAMPS / "contracts-proven", inputs_digest()
    if options.unless_proven and stamp.is_file() and stamp.read_text() == digest:
        print("contracts: unchanged since all of it held; `make test-contracts` runs it again", flush=True)
        return 0
    if not report("build", build):
        return 1
    # Compilers and Slither use one core each. Sizes are those that were built; the second lane builds apart.
    lanes: list[list[tuple[str, Callable[[], Verdict]]]] = [
        [("tests", lambda: tests(options.profile)), ("specifications", specifications), ("sizes", sizes)],
        [("coverage", coverage), ("analysis", analysis), ("proofs", proofs)],
    ]
    if not run_all(lanes):
        return 1
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(digest)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
