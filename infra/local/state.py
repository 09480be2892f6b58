"""What runs: `state.json` of a profile, the one truth that every `up`, `down`, `kill` and `restart` shares."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.process import ProcessId
from infra.local.profile import Profile, read_json, write_json


@dataclass(slots=True)
class State:
    """Started processes in start order. A part in `expected_down` was killed on purpose."""

    running: dict[str, ProcessId] = field(default_factory=dict)
    expected_down: set[str] = field(default_factory=set)
    memory: Path | None = None

    @classmethod
    def load(cls, profile: Profile) -> State:
        """The profile's state; empty if it never ran."""
        raw = read_json(_file(profile)) or {}
        return cls(
            running={name: ProcessId(**identity) for name, identity in raw.get("running", {}).items()},
            expected_down=set(raw.get("expected_down", [])),
            memory=Path(raw["memory"]) if raw.get("memory") else None,
        )

    def save(self, profile: Profile) -> None:
        """Write it in one step."""
        write_json(
            _file(profile),
            {
                "running": {name: {"pid": p.pid, "started": p.started} for name, p in self.running.items()},
                "expected_down": sorted(self.expected_down),
                "memory": str(self.memory) if self.memory else None,
            },
        )

    def alive(self, name: str) -> bool:
        """Whether the part's process runs."""
        return name in self.running and self.running[name].alive()

    def dead(self) -> list[str]:
        """Parts that should run and do not."""
        return [name for name in self.running if name not in self.expected_down and not self.alive(name)]


@contextmanager
def locked(profile: Profile) -> Iterator[None]:
    """One change of a profile at a time: a second `up` waits for the first, then finds everything running."""
    profile.home.mkdir(parents=True, exist_ok=True)
    with (profile.home / "lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _file(profile: Profile) -> Path:
    return profile.home / "state.json"
