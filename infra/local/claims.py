"""Ports that a stack holds from its choice until it is stopped, also while a part of it is down or still starts.

A port on which nobody listens is not free: a broker that was killed on purpose comes back to it. So each stack of this
user notes its ports where all others look before they choose. A note ends with its stack: one whose starter is gone and
whose state names nothing that runs counts for nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.local.errors import LocalError
from infra.local.process import ProcessId
from infra.local.profile import Profile, read_json, write_json
from infra.local.state import State


@contextmanager
def choosing(home: Path) -> Iterator[set[int]]:
    """Let nobody else choose meanwhile; gives the ports that other stacks hold. Raises LocalError."""
    with _locked() as folder:
        notes = [read_json(path) or {} for path in folder.glob("*.json") if path != note_of(home)]
        yield {port for note in notes if _in_force(note) for port in note["ports"]}


def hold(home: Path, ports: Iterable[int]) -> None:
    """Note the ports of a stack, inside `choosing`."""
    starter = ProcessId.of(os.getpid())
    note = {
        "home": str(home.resolve()),
        "starter": [starter.pid, starter.started] if starter else [0, 0],
        "ports": sorted(ports),
    }
    write_json(note_of(home), note)


def release(home: Path) -> None:
    """Give the ports of a stack back."""
    with _locked():
        note_of(home).unlink(missing_ok=True)


def note_of(home: Path) -> Path:
    """Where a stack notes its ports."""
    return _folder() / f"{hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:32]}.json"


@contextmanager
def _locked() -> Iterator[Path]:
    folder = _folder()
    with (folder / "lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"licet-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise LocalError(
            f"{folder} belongs to another user: remove it, or set TMPDIR to a folder of your own"
        )
    return folder


def _in_force(note: dict[str, Any]) -> bool:
    if not note:
        return False
    home = Path(note["home"])
    if ProcessId(*note["starter"]).alive():
        return True
    return bool(State.load(Profile(name=home.name, home=home, external={})).running)
