"""So many cases of each kind, by one seed; ends with 1 where anything was found."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import closing
from secrets import randbits
from typing import Final

from gateway_fuzz.engine import Finding, Kind, failure, fuzz, made
from gateway_fuzz.h2_kind import H2Kind
from gateway_fuzz.http_kind import HttpKind
from gateway_fuzz.json_kind import JsonKind
from gateway_fuzz.kserve_kind import KserveKind
from gateway_fuzz.reader_kind import ReaderKind

# Each kind, and its part of a hundred cases.
KINDS: Final[dict[str, tuple[Callable[[], Kind], int]]] = {
    "http": (HttpKind, 40),
    "reader": (ReaderKind, 20),
    "h2": (H2Kind, 15),
    "kserve": (KserveKind, 15),
    "json": (JsonKind, 10),
}
# Fuzzed on between two lines of progress.
STEP: Final = 5_000
# Of one kind; they are mostly the same one again.
FOUND_MAX: Final = 3


def main(argv: list[str]) -> int:
    """Fuzz, or make one case again."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", choices=list(KINDS))
    parser.add_argument("--case", type=int, help="the number of one case, to be made again")
    said = parser.parse_args(argv)
    seed = randbits(32) if said.seed is None else said.seed
    if said.case is not None and said.only:
        with closing(KINDS[said.only][0]()) as kind:
            return _again(kind, seed, said.case)
    chosen = [said.only] if said.only else list(KINDS)
    parts = sum(KINDS[name][1] for name in chosen)
    found = 0
    for name in chosen:
        make, part = KINDS[name]
        with closing(make()) as kind:
            found += _run(kind, seed, said.cases * part // parts)
    print(f"fuzz: seed {seed}, {found} found")
    return 1 if found else 0


def _run(kind: Kind, seed: int, cases: int) -> int:
    """The number of cases that failed."""
    began = time.monotonic()
    findings: list[Finding] = []
    for start in range(0, cases, STEP):
        for finding in fuzz(kind, seed, range(start, min(start + STEP, cases))):
            findings.append(finding)
            print(finding, flush=True)
        if len(findings) >= FOUND_MAX:
            break
    spent = time.monotonic() - began
    print(
        f"fuzz: {kind.name:8} {cases:8} cases, seed {seed}, {len(findings)} found, {spent:.1f} s", flush=True
    )
    return len(findings)


def _again(kind: Kind, seed: int, number: int) -> int:
    case = made(kind, seed, number)
    why = failure(kind, case)
    print("\n".join(map(repr, case)), f"\n{kind.name} {number} of seed {seed}: {why or 'nothing is wrong'}")
    return 1 if why else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
