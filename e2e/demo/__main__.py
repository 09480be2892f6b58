"""`make demo`: starts the stack, tells the story, and keeps the stack up until Ctrl-C."""

from __future__ import annotations

import argparse
import fcntl
import signal
import threading
import time
from types import FrameType
from typing import TextIO

from rich.console import Console

from e2e.demo.steps import Notes, Stage, is_unfinished, tell
from e2e.demo.story import STEPS
from e2e.world import World
from infra.local.errors import LocalError
from infra.local.profile import Profile
from infra.local.stack import Stack

PROFILE = "demo"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> int:
    """Exit code 0 only when every step held."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--exit", action="store_true", help="stop at the end instead of keeping the stack up")
    parser.add_argument("--fresh", action="store_true", help="forget an unfinished story and its chain")
    args = parser.parse_args()
    console = Console(soft_wrap=True)
    stopped = threading.Event()
    _stop_on_signals(stopped)
    if (held := _only_one()) is None:
        console.print("a demo runs already: stop it with Ctrl-C where it runs")
        return 1
    stack = Stack(PROFILE, report=lambda line: console.print(f"  {line}", markup=False, highlight=False))
    failed = 1
    try:
        failed = _tell(stack, console, fresh=args.fresh)
        if not args.exit:
            _stay(stack, console, stopped)
    except LocalError as error:
        console.print(str(error), markup=False)
        failed = 1
    except KeyboardInterrupt:
        console.print("stopping")
    finally:
        stack.stop()
        held.close()
    return 1 if failed else 0


def _only_one() -> TextIO | None:
    """The lock that a running demo holds: a second one would stop the stack of the first. It ends with its process."""
    home = Profile.named(PROFILE).home
    home.mkdir(parents=True, exist_ok=True)
    held = (home / "demo.lock").open("w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        return None
    return held


def _tell(stack: Stack, console: Console, *, fresh: bool) -> int:
    started = time.monotonic()
    story = stack.profile.home / "story.json"
    if fresh or not is_unfinished(story, STEPS):
        stack.stop()
        stack.wipe()
    console.print("[bold]Starting the stack[/]")
    stack.start()
    world = World(stack.endpoints)
    used_mib = sum(part.rss_mib for part in stack.status())
    console.print(f"  {len(stack.status())} processes, {used_mib} MiB, {time.monotonic() - started:.0f} s")
    genesis = world.chain.w3.eth.get_block(1)["hash"].to_0x_hex()
    notes = Notes.load(story, genesis)
    failed = tell(STEPS, world, notes, Stage(console, PROFILE, lambda: _dead(stack)))
    console.print(
        f"demo: {len(STEPS)} steps, {failed} failed  ({time.monotonic() - started:.0f} s)", markup=False
    )
    return failed


def _dead(stack: Stack) -> list[str]:
    return [part.name for part in stack.status() if part.state == "dead"]


def _stay(stack: Stack, console: Console, stopped: threading.Event) -> None:
    """Prints where everything is and waits for Ctrl-C, or until a part dies."""
    for name, value in stack.endpoints.items():
        if isinstance(value, dict) and "http" in value:
            console.print(f"  {name:<10} {value['http']}", markup=False, highlight=False)
    for number, gateway in enumerate(stack.endpoints["gateways"], 1):
        console.print(f"  gateway {number}  {gateway['http']}", markup=False, highlight=False)
    console.print("The stack stays up; Ctrl-C stops it.")
    stack.watch(stopped)


def _stop_on_signals(stopped: threading.Event) -> None:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        for number in STOP_SIGNALS:  # to cut the stop short would leave parts running
            signal.signal(number, signal.SIG_IGN)
        stopped.set()
        raise KeyboardInterrupt

    for number in STOP_SIGNALS:
        signal.signal(number, stop)


if __name__ == "__main__":
    raise SystemExit(main())
