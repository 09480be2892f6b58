"""`make demo`: starts the stack, tells the story, and keeps the stack up until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import threading
import time
from types import FrameType

from rich.console import Console

from e2e.demo.steps import Notes, is_unfinished, tell
from e2e.demo.story import STEPS
from e2e.world import World
from infra.local.launch import PartFailed
from infra.local.stack import Stack

PROFILE = "demo"


def main() -> int:
    """Exit code 0 only when every step held."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--exit", action="store_true", help="stop at the end instead of keeping the stack up")
    parser.add_argument("--fresh", action="store_true", help="forget an unfinished story and its chain")
    args = parser.parse_args()
    console = Console(soft_wrap=True)
    stopped = threading.Event()
    _stop_on_signals(stopped)
    stack = Stack(PROFILE, report=lambda line: console.print(f"  {line}", markup=False, highlight=False))
    failed = 1
    try:
        failed = _tell(stack, console, fresh=args.fresh)
        if not args.exit:
            _stay(stack, console, stopped)
    except PartFailed as error:
        console.print(str(error), markup=False)
        failed = 1
    except KeyboardInterrupt:
        console.print("stopping")
    finally:
        stack.stop()
    return 1 if failed else 0


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
    failed = tell(STEPS, world, notes, console, PROFILE)
    console.print(
        f"demo: {len(STEPS)} steps, {failed} failed  ({time.monotonic() - started:.0f} s)", markup=False
    )
    return failed


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
        if stopped.is_set():  # it stops already, and to cut that short would leave parts running
            return
        stopped.set()
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


if __name__ == "__main__":
    raise SystemExit(main())
