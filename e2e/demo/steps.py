"""The step machinery: ordered, resumable, each step ends with checks and figures."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from e2e.world import World


class StepFailed(AssertionError):
    """A figure is not what the story promises."""


@dataclass(slots=True)
class Notes:
    """What later steps need of earlier ones: ids and names, never figures to be shown. Kept in a file, so that a
    failed story goes on where it stopped."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path, stack_id: str) -> Notes:
        """Notes of this very stack; those of an earlier one are dropped."""
        notes = cls(path, {"stack": stack_id})
        if path.exists():
            kept = json.loads(path.read_text())
            if kept["values"].get("stack") == stack_id:
                notes.values, notes.done = kept["values"], kept["done"]
        return notes

    def save(self) -> None:
        """Writes the notes; only ids and development keys are in them."""
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({"values": self.values, "done": self.done}, indent=1))
        part.chmod(0o600)
        part.replace(self.path)

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __setitem__(self, name: str, value: Any) -> None:
        self.values[name] = value


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a title, what it does, and the log to read when it fails."""

    title: str
    run: Callable[[World, Notes], list[str]]
    log: str

    @property
    def name(self) -> str:
        """Key in the notes."""
        return self.run.__name__


def is_unfinished(path: Path, steps: list[Step]) -> bool:
    """Whether the notes are of a story that was begun and not told to its end: one that can be gone on with."""
    if not path.exists():
        return False
    return not {step.name for step in steps} <= set(json.loads(path.read_text())["done"])


def check(holds: object, promise: str) -> None:
    """Raises StepFailed with the promise when it does not hold."""
    if not holds:
        raise StepFailed(promise)


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a story is told: its console, the name of its stack, and which parts of that have died."""

    console: Console
    profile: str
    dead: Callable[[], list[str]]


def tell(steps: list[Step], world: World, notes: Notes, stage: Stage) -> int:
    """Runs every step that is not done yet; returns how many failed (the story stops at the first).

    Whatever ends a step, its notes are kept: a step may be run again from anywhere inside it.
    """
    console = stage.console
    for number, step in enumerate(steps, 1):
        head = f"[bold]{number:>2}/{len(steps)}[/] {step.title}"
        if step.name in notes.done:
            console.print(f"{head}  [dim](done before)[/]")
            continue
        started = time.monotonic()
        try:
            figures = step.run(world, notes)
        except Exception as error:  # noqa: BLE001 - whatever broke the step ends the story with a pointer to its log
            console.print(f"{head}  [red]failed[/]")
            console.print(f"     {type(error).__name__}: {error}", markup=False)
            dead = stage.dead()
            if dead:
                console.print(f"     died meanwhile: {', '.join(dead)}")
            console.print(
                f"     read the log: make logs PROFILE={stage.profile} ARGS={dead[0] if dead else step.log}\n"
                "     run the same command again to go on from here, or make demo ARGS=--fresh to begin again",
                markup=False,
                highlight=False,
            )
            return 1
        finally:
            notes.save()
        console.print(f"{head}  [green]ok[/] [dim]{time.monotonic() - started:.1f} s[/]")
        for figure in figures:
            console.print(f"     {figure}", markup=False, highlight=False)
        notes.done.append(step.name)
        notes.save()
    return 0
