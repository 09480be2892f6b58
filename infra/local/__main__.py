"""`python -m infra.local up|down|status|logs|kill|restart`, from the repository root, in the venv."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from infra.local.errors import LocalError
from infra.local.profile import PROFILES
from infra.local.stack import PartStatus, Stack

LOG_LINES = 20
INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(argv: list[str]) -> int:
    """Run one verb; the exit code is 0 only if it did what it says."""
    args = _parser().parse_args(argv)
    verbs: dict[str, Callable[[argparse.Namespace], int]] = {
        "up": _up,
        "down": _down,
        "status": _status,
        "logs": _logs,
        "kill": _kill,
        "restart": _restart,
    }
    try:
        return verbs[args.verb](args)
    except LocalError as error:
        print(f"licet: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.local", description="Run the local stack as plain processes."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    both = argparse.ArgumentParser(add_help=False)
    both.add_argument("--profile", choices=PROFILES, default="dev", help="which stack (default: dev)")
    both.add_argument("--json", action="store_true", help="machine-readable output")
    up = verbs.add_parser("up", parents=[both], help="start what is not running; stops it all on Ctrl-C")
    up.add_argument(
        "parts", nargs="*", metavar="PART", help="parts or groups (servers, services); default: all"
    )
    up.add_argument("--detach", action="store_true", help="return when everything is ready")
    up.add_argument("--fresh", action="store_true", help="forget the data of an earlier run first")
    verbs.add_parser("down", parents=[both], help="stop everything of the profile")
    verbs.add_parser("status", parents=[both], help="what runs, where, since when it is dead")
    logs = verbs.add_parser("logs", parents=[both], help="the end of each log, or of the named parts")
    logs.add_argument("parts", nargs="*", metavar="PART")
    for verb, text in (("kill", "SIGKILL one part; the stack stays up"), ("restart", "start one part again")):
        verbs.add_parser(verb, parents=[both], help=text).add_argument("part")
    return parser


def _stack(args: argparse.Namespace) -> Stack:
    return Stack(args.profile, report=lambda line: print(f"  {line}", file=sys.stderr, flush=True))


def _up(args: argparse.Namespace) -> int:
    stack = _stack(args)
    if args.fresh:
        stack.wipe()
    stopped = threading.Event()
    for number in STOP_SIGNALS:
        signal.signal(number, _stop_once(stopped))
    started = stack.start(args.parts or None)
    _show(args, stack)
    if not started:
        print(f"profile {args.profile} is already up", file=sys.stderr)
    if args.detach or not started:
        return 0
    print("stop with Ctrl-C", file=sys.stderr, flush=True)
    try:
        stack.watch(stopped)
    except KeyboardInterrupt:
        print("stopping", file=sys.stderr)
    finally:
        stack.stop()
    return 0


def _stop_once(stopped: threading.Event) -> Callable[[int, Any], None]:
    """First signal: stop cleanly. While parts still start there is nobody to see the event, so raise."""

    def handle(number: int, frame: Any) -> None:
        # Also at the very end, when Python has put its own handlers back: a late one must not change how it ended.
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        stopped.set()
        raise KeyboardInterrupt

    return handle


def _down(args: argparse.Namespace) -> int:
    names = _stack(args).stop()
    print(json.dumps({"stopped": names}) if args.json else f"stopped {len(names)} parts")
    return 0


def _status(args: argparse.Namespace) -> int:
    return _show(args, _stack(args))


def _show(args: argparse.Namespace, stack: Stack) -> int:
    """Print what runs; 0 if all of it is alive, 3 if the profile is down or a part is dead."""
    parts = stack.status()
    if args.json:
        print(
            json.dumps(
                {"profile": args.profile, "parts": [_plain(p) for p in parts], **stack.endpoints}, indent=2
            )
        )
    else:
        for part in parts:
            where = " ".join(f"{role}={port}" for role, port in part.ports.items())
            print(
                f"{part.name:10} {part.state:6} {part.rss_mib:5} MiB  pid {part.pid or '-':<8} {where}  {part.log}"
            )
        total = sum(part.rss_mib for part in parts)
        print(
            f"profile {args.profile}: {sum(p.state == 'up' for p in parts)} of {len(parts)} parts up, {total} MiB"
        )
    return 0 if parts and all(part.state == "up" for part in parts) else 3


def _plain(part: PartStatus) -> dict[str, Any]:
    return {**asdict(part), "log": str(part.log)}


def _logs(args: argparse.Namespace) -> int:
    stack = _stack(args)
    logs = sorted(stack.profile.logs.glob("*.log"))
    if unknown := set(args.parts) - {log.stem for log in logs}:
        there = ", ".join(log.stem for log in logs) or "none: it never ran"
        raise LocalError(
            f"profile {args.profile} has no log of {', '.join(sorted(unknown))} (there are: {there}); "
            "PROFILE= names another profile"
        )
    for log in logs:
        if args.parts and log.stem not in args.parts:
            continue
        print(f"==> {log}")
        for line in log.read_text(errors="replace").splitlines()[-LOG_LINES:]:
            print(f"    {line}")
    return 0


def _kill(args: argparse.Namespace) -> int:
    _stack(args).kill(args.part)
    return 0


def _restart(args: argparse.Namespace) -> int:
    _stack(args).restart(args.part)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
