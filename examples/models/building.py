"""What the example models have in common: built once for each key, and told in figures."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from licet_schemas import manifest as manifests

CACHE = Path(".local/cache/models")


def cached(cache: Path, name: str, build: Callable[[], dict[str, bytes]]) -> Path:
    """The folder of this name with the built files; builds only when no run has finished under it."""
    folder = cache / name
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        part = Path(scratch) / "part"
        part.mkdir()
        for file, body in build().items():
            (part / file).write_bytes(body)
        try:
            # Renamed whole, so that a killed run leaves no half of a model behind.
            part.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    return folder


def artifacts_of(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """The manifest's list of these files, named by their digests."""
    return [
        {"name": name, "sha256": manifests.digest_bytes(body), "size_bytes": len(body)}
        for name, body in sorted(files.items())
    ]


def command(doc: str, argv: list[str] | None, built: Callable[[Path], Path]) -> int:
    """Command line of a model's program: writes its files into `--out` and prints its figures."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for manifest.json and the artefacts")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of built models")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    shutil.copytree(built(args.cache), args.out, dirs_exist_ok=True)
    parsed = manifests.parse((args.out / "manifest.json").read_bytes())
    report = {"name": parsed.name, "digest": manifests.digest(parsed), "out": str(args.out), **parsed.metrics}
    if args.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:32} {value}")
    return 0
