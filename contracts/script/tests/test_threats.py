"""What THREATS.md and the README refer to exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CONTRACTS = Path(__file__).resolve().parents[2]
ROOT = CONTRACTS.parent
NAMED = re.compile(r"`(?P<name>[\w./-]+\.t\.sol|(?:test|testFuzz|invariant|check)_\w+|services/[\w./-]+)`")
FUNCTION = re.compile(r"function (\w+)\(")


def functions(file: Path) -> set[str]:
    return set(FUNCTION.findall(file.read_text()))


PROOFS = {name for file in (CONTRACTS / "test/proof").glob("*.p.sol") for name in functions(file)}


@pytest.mark.parametrize("page", ["THREATS.md", "README.md"])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    file: Path | None = None
    named = 0
    for found in NAMED.finditer((CONTRACTS / page).read_text()):
        name = found["name"]
        named += 1
        if name.endswith(".t.sol"):
            file = CONTRACTS / "test" / Path(name).name
            assert file.is_file(), name
        elif name.startswith("services/"):
            assert (ROOT / name).exists(), name
        elif name.startswith("check_"):
            assert name in PROOFS, name
        else:
            assert file is not None
            assert name in functions(file), f"{file.name} has no {name}"
    assert named
