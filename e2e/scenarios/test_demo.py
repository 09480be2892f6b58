"""The demo as a user meets it: it goes on where it failed, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from e2e.demo import refusals, story
from e2e.demo.steps import Notes, Stage, Step, StepFailed, is_unfinished, tell
from e2e.scenarios.conftest import Installation
from e2e.world import World
from infra.local.paths import ROOT
from infra.local.process import ProcessId

STOP_TIMEOUT_S = 60
AGAIN_S = 0.01


class Story:
    """Three steps, the second of which fails until it is `mended`."""

    def __init__(self, notes: Path) -> None:
        self.mended = False
        self.dead: list[str] = []
        self.ran: list[str] = []
        self.output = io.StringIO()
        self._notes = notes
        self.steps = [Step(name, getattr(self, name), "billing") for name in ("first", "second", "third")]

    def tell(self, stack_id: str = "chain-1") -> int:
        notes = Notes.load(self._notes, stack_id)
        stage = Stage(Console(file=self.output, width=200), "demo", lambda: self.dead)
        return tell(self.steps, World({}), notes, stage)

    def first(self, world: World, notes: Notes) -> list[str]:
        self.ran.append("first")
        notes["license"] = 7
        return []

    def second(self, world: World, notes: Notes) -> list[str]:
        self.ran.append("second")
        if not self.mended:
            raise StepFailed("the license is final")
        return [f"license {notes['license']}"]

    def third(self, world: World, notes: Notes) -> list[str]:
        self.ran.append("third")
        return []


def test_a_failed_story_names_the_log_and_goes_on_where_it_failed(tmp_path: Path) -> None:
    path = tmp_path / "story.json"
    told = Story(path)
    assert not is_unfinished(path, told.steps)
    assert told.tell() == 1
    assert told.ran == ["first", "second"]
    assert "StepFailed: the license is final" in told.output.getvalue()
    assert "make logs PROFILE=demo ARGS=billing" in told.output.getvalue()
    assert is_unfinished(path, told.steps)
    told.mended = True
    assert told.tell() == 0
    assert told.ran == ["first", "second", "second", "third"]
    assert "license 7" in told.output.getvalue()
    assert not is_unfinished(path, told.steps)


def test_the_log_of_a_part_that_died_is_named_before_the_steps_own(tmp_path: Path) -> None:
    told = Story(tmp_path / "story.json")
    told.dead = ["indexer"]
    assert told.tell() == 1
    assert "died meanwhile: indexer" in told.output.getvalue()
    assert "make logs PROFILE=demo ARGS=indexer" in told.output.getvalue()


def test_notes_of_another_chain_are_dropped(tmp_path: Path) -> None:
    told = Story(tmp_path / "story.json")
    told.tell()
    told.mended = True
    assert told.tell("chain-2") == 0
    assert told.ran == ["first", "second", "first", "second", "third"]


def test_a_story_that_broke_off_anywhere_is_told_to_its_end(
    installation: Installation, tmp_path: Path
) -> None:
    """Each step that changes something runs twice, as after a Ctrl-C between its effect and its note."""
    published = ("folder", "asset_id", "digest", "plan", "brief_plan")
    world = installation.world
    notes = Notes(tmp_path / "story.json", {name: installation.notes[name] for name in published})
    for step in (
        story.buy_licenses,
        story.call_both_replicas,
        refusals.transferred,
        refusals.exhausted,
        story.deposit_and_go_on,
        story.show_usage,
        story.settle,
        story.claim,
    ):
        assert step(world, notes)
        assert step(world, notes)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_that_the_demo_started(number: signal.Signals, tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "e2e.demo"],
        cwd=ROOT,
        env={**os.environ, "LICET_STATE_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert demo.stdout is not None
    try:
        for line in demo.stdout:
            if "ready in" in line:
                break
        started = json.loads((tmp_path / "demo" / "state.json").read_text())["running"]
        assert started
        # A terminal's Ctrl-C reaches every process of the group.
        os.killpg(demo.pid, number)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while demo.poll() is None and time.monotonic() < deadline:  # and impatient people press it again
            time.sleep(AGAIN_S)
            demo.send_signal(number)
        rest, _ = demo.communicate(timeout=STOP_TIMEOUT_S)
    finally:
        demo.kill()
    assert "Traceback" not in rest, rest
    assert demo.returncode == 1
    assert not [name for name, process in started.items() if ProcessId(**process).alive()]
    assert json.loads((tmp_path / "demo" / "state.json").read_text())["running"] == {}
