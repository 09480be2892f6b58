"""`make check`: every check that needs no server. Names as arguments run only those (`make check ARGS=ruff`)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from infra.local.paths import tools_path  # noqa: E402 - the line above makes it importable

PYTHON = sys.executable


@dataclass(frozen=True, slots=True)
class Check:
    """One command that has to end with 0."""

    name: str
    argv: tuple[str, ...]


def distributions() -> list[Path]:
    """Folders of this repository's own Python packages."""
    return sorted(
        path.parent for group in ("libs", "services") for path in ROOT.glob(f"{group}/*/pyproject.toml")
    )


def checks() -> list[Check]:
    """All of them, the quick ones first."""
    return [
        Check("ruff", ("ruff", "check", ".")),
        Check("format", ("ruff", "format", "--check", ".")),
        Check("tidy", (PYTHON, "tools/tidy.py")),
        Check("imports", ("lint-imports",)),
        Check("buf", ("buf", "lint", "proto")),
        Check("forge-fmt", ("forge", "fmt", "--check", "--root", "contracts")),
        *(Check(f"deptry:{path.name}", deptry(path)) for path in distributions()),
        *(Check(f"mypy:{path.name}", (PYTHON, "-m", "mypy", *sources(path))) for path in distributions()),
        Check("mypy:contracts", (PYTHON, "-m", "mypy", "contracts/script")),
        Check("mypy:rest", (PYTHON, "-m", "mypy", "infra", "tools", "e2e", "examples", "conftest.py")),
        Check("mypy:agreement", (PYTHON, "-m", "mypy", "services/agreement/tests")),
        Check("proto", (PYTHON, "tools/proto.py", "--check")),
        Check("abi", (PYTHON, "tools/abi.py", "--check")),
    ]


def sources(distribution: Path) -> list[str]:
    """Typed code of one distribution: its package, its tests and its fuzzers."""
    return [
        str(path.relative_to(ROOT))
        for name in ("src", "tests", "fuzz")
        if (path := distribution / name).is_dir()
    ]


def deptry(distribution: Path) -> tuple[str, ...]:
    """Whether a distribution declares exactly what it imports."""
    ours = ",".join(f"licet-{name}=licet_{name}" for name in ("kit", "schemas", "sdk"))
    return (
        *("deptry", "--config", str((distribution / "pyproject.toml").relative_to(ROOT))),
        *("--package-module-name-map", ours),
        # Triton's back end provides the first, inside Triton only; nothing imports pytest's own plugins.
        *("--per-rule-ignores", "DEP001=triton_python_backend_utils,DEP002=pytest-asyncio|pytest-timeout"),
        str((distribution / "src").relative_to(ROOT)),
    )


def run(check: Check) -> bool:
    """Run one check and print one line, and its output only if it fails."""
    began = time.monotonic()
    env = {**os.environ, "PATH": tools_path()}
    done = subprocess.run(check.argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    good = done.returncode == 0
    print(f"{'ok    ' if good else 'FAILED'} {check.name:24} {time.monotonic() - began:5.1f} s", flush=True)
    if not good:
        print(f"$ {' '.join(check.argv)}\n{done.stdout}{done.stderr}", flush=True)
    return good


def main(names: list[str]) -> int:
    """Run all checks, or those whose names begin with an argument; non-zero if one fails."""
    chosen = [check for check in checks() if not names or check.name.startswith(tuple(names))]
    failed = [check.name for check in chosen if not run(check)]
    print(f"check: {len(chosen)} run, {len(failed)} failed{': ' + ', '.join(failed) if failed else ''}")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
