"""The local chain: anvil, and the state that it saves each second.

anvil writes its state in place, so a kill in the wrong moment leaves half a file, with which it does not start
again (1 of 8 kills of a chain of 2,000 blocks). `python -m infra.local.chain HOME anvil …` becomes anvil, and leaves a
child that keeps a copy of the last whole state for as long as anvil lives.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from infra.local.errors import LocalError
from infra.local.part import Part, chain_answers
from infra.local.paths import NODE_BIN, ROOT
from infra.local.ports import LOOPBACK, Ports

CHAIN_ID = 31337
WHOLE_WITHIN_S = 3.0  # three saves: one of them is read whole
RETRY_S = 0.05
WATCH_S = 0.25
# anvil writes a state in some milliseconds and waits for the next second.
STILL_S = 0.1


@dataclass(frozen=True, slots=True)
class SavedState:
    """What anvil saved in `home`, and the copy that is known to be whole."""

    home: Path

    @property
    def file(self) -> Path:
        """The file that anvil loads and overwrites."""
        return self.home / "state.json"

    @property
    def copy(self) -> Path:
        """The last whole state that was seen."""
        return self.home / "state.whole.json"

    def keep(self) -> bool:
        """Copy the saved state if it is whole, waiting for a whole one; False if there was none."""
        ends = time.monotonic() + WHOLE_WITHIN_S
        while time.monotonic() < ends:
            content = self.file.read_bytes() if self.file.exists() else b""
            if _whole(content):
                part = self.copy.with_name(f".{self.copy.name}.{os.getpid()}")
                part.write_bytes(content)
                part.replace(self.copy)
                return True
            time.sleep(RETRY_S)
        return False

    def follow(self, parent: int) -> None:
        """Copy every state that anvil has finished, until it is no longer our parent."""
        copied = None
        while os.getppid() == parent:
            time.sleep(WATCH_S)
            seen = self._stamp()
            if seen in (None, copied):
                continue
            time.sleep(STILL_S)
            part = self.copy.with_name(f".{self.copy.name}.{os.getpid()}")
            if self._stamp() != seen:
                continue
            shutil.copyfile(self.file, part)
            # Untouched before, during and after, and by an anvil that lives: it was not cut off.
            if self._stamp() == seen and os.getppid() == parent:
                part.replace(self.copy)
                copied = seen

    def _stamp(self) -> tuple[int, int] | None:
        """Time and size of the saved state; None where there is nothing."""
        try:
            found = self.file.stat()
        except FileNotFoundError:
            return None
        return (found.st_mtime_ns, found.st_size) if found.st_size else None

    def recover(self) -> None:
        """Before a start: put the copy in the place of a state that was cut off."""
        self.home.mkdir(parents=True, exist_ok=True)
        # States that an earlier process moved to disk are of no use to the next.
        shutil.rmtree(self.home / "cache", ignore_errors=True)
        if not self.file.exists() or _whole(self.file.read_bytes()):
            return
        if not self.copy.exists():
            raise LocalError(
                "the chain's saved state was cut off by a kill: start anew with make up ARGS=--fresh"
            )
        shutil.copyfile(self.copy, self.file)


def chain(home: Path, ports: Ports, *, second: bool = False) -> Part:
    """anvil: a block each second, final two blocks back, its state saved each second in `home`, which names it."""
    chain_id = CHAIN_ID + 1 if second else CHAIN_ID
    port = ports["rpc"]
    return Part(
        name=home.name,
        argv=(
            *(sys.executable, "-m", "infra.local.chain", str(home)),
            *(str(NODE_BIN / "anvil"), "--host", LOOPBACK, "--port", str(port), "--chain-id", str(chain_id)),
            *("--block-time", "1", "--slots-in-an-epoch", "1"),
            *("--state", str(home / "state.json"), "--state-interval", "1"),
            # Older states go to disk, one file a block; nothing here asks for a state this old.
            *("--cache-path", str(home / "cache"), "--max-persisted-states", "100"),
        ),
        ports=ports,
        probe=lambda: chain_answers(port, chain_id),
        prepare=SavedState(home).recover,
        cwd=ROOT,
    )


def main(home: Path, argv: list[str]) -> None:
    """Become anvil; our child keeps its states."""
    anvil = os.getpid()
    if os.fork():
        os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted
    SavedState(home).follow(anvil)


def _whole(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
