"""Generates the Python code of every protobuf file into libs/schemas; `--check` fails where it is out of date."""

from __future__ import annotations

import argparse
import filecmp
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "proto"
TARGET = ROOT / "libs/schemas/src/licet_schemas/licet"


def generate(out: pathlib.Path) -> None:
    """Writes messages, type stubs and gRPC code under `out`/licet."""
    files = sorted(str(p.relative_to(SOURCE)) for p in SOURCE.glob("licet/**/*.proto"))
    services = [f for f in files if "service " in (SOURCE / f).read_text()]
    bin_dir = pathlib.Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}"}
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{SOURCE}"]
    subprocess.run([*protoc, f"--python_out={out}", f"--mypy_out=quiet:{out}", *files], check=True, env=env)
    grpc_out = [f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}"]
    subprocess.run([*protoc, *grpc_out, *services], check=True, env=env)
    for path in out.rglob("*.py*"):
        path.write_text(_qualified(path.read_text()))
    for folder in [p for p in (out / "licet").rglob("*") if p.is_dir()] + [out / "licet"]:
        (folder / "__init__.py").touch()


def _qualified(text: str) -> str:
    """Moves generated imports from a top-level package `licet` into licet_schemas, so that the name stays free."""
    text = text.replace("from licet.", "from licet_schemas.licet.")
    return text.replace("import licet.", "import licet_schemas.licet.")


def _differences(left: pathlib.Path, right: pathlib.Path) -> list[str]:
    compared = filecmp.dircmp(left, right, ignore=["__pycache__"])
    found = [str(left / n) for n in (*compared.left_only, *compared.right_only, *compared.diff_files)]
    for name in compared.common_dirs:
        found += _differences(left / name, right / name)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the committed code is current")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        out = pathlib.Path(name)
        generate(out)
        if args.check:
            stale = _differences(TARGET, out / "licet")
            if stale:
                print("out of date, run `make proto`:", *stale, sep="\n  ")
            return 1 if stale else 0
        shutil.rmtree(TARGET, ignore_errors=True)
        shutil.copytree(out / "licet", TARGET)
    print(f"generated {len(list(TARGET.rglob('*_pb2.py')))} modules")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
