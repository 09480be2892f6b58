"""Writes the manifest of the benchmark's identity model, so that it can be published like any other.

`python -m examples.models.bench_identity.build --out DIR [--json]`

The same model without Licet in front of it lies beside this file, as the Triton repository `repository/`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from licet_schemas import manifest as manifests

COLUMNS = 256

MANIFEST: dict[str, Any] = {
    "format": "licet.manifest/1",
    "name": "identity",
    "kind": "model",
    "summary": "Gives back its input. Used to measure what serving costs around a model.",
    "runner": "identity",
    "artifacts": [],
    "pipeline": None,
    "inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [-1, COLUMNS]}],
    "outputs": [{"name": "OUTPUT0", "datatype": "FP32", "shape": [-1, COLUMNS]}],
    "metering_rule": "request",
    "limits": {"max_batch": 0},
    "licenses": [{"part": "code", "spdx": "Apache-2.0", "source": "examples/models/bench_identity"}],
    "metrics": {},
}


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True, help="folder for manifest.json")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "manifest.json").write_bytes(manifests.canonical(MANIFEST))
    report = {"name": MANIFEST["name"], "digest": manifests.digest(MANIFEST), "out": str(args.out)}
    print(json.dumps(report) if args.json else "\n".join(f"{k:8} {v}" for k, v in report.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
