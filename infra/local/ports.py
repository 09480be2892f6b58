"""Free loopback ports: the documented default if it is free, otherwise the next one that is.

The ports of one part move together, so that fixed distances (admin = first + 1000) hold wherever it lands.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

from infra.local.errors import LocalError
from infra.local.process import listeners

Ports = dict[str, int]

LOOPBACK = "127.0.0.1"
STEP = 10
# Below Linux's ephemeral range: a client socket could otherwise sit on a server's port while it restarts.
HIGHEST = 32_767


class NoFreePort(LocalError):
    """Every candidate is taken; something holds hundreds of ports."""


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    return free_now()(port)


def free_now() -> Callable[[int], bool]:
    """A function that tells whether a server could listen on a loopback port, by what listens at this moment.

    Looked up before it is tried: a trial with SO_REUSEPORT succeeds beside a listener that has it too, and
    one without it fails beside the closing connections of a server that had it.
    """
    taken = listeners().keys()
    return lambda port: port not in taken and _can_bind(port)


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def choose(
    defaults: Mapping[str, Ports],
    kept: Mapping[str, Ports],
    fixed: frozenset[str] = frozenset(),
    free: Callable[[int], bool] = is_free,
) -> dict[str, Ports]:
    """Ports for every part: those it had before if still free, else its defaults, else defaults moved up.

    `fixed` parts run and keep theirs. Nobody moves onto another part's default, former or chosen port.
    """
    chosen = {name: kept[name] for name in fixed if name in kept}
    for name, wanted in defaults.items():
        if name not in chosen:
            others = _claimed_by_others(name, defaults, kept, chosen)
            chosen[name] = _first_fit(name, _candidates(wanted, kept.get(name)), others, free)
    return chosen


def _claimed_by_others(name: str, *claims: Mapping[str, Ports]) -> set[int]:
    return {
        port for claim in claims for other, ports in claim.items() if other != name for port in ports.values()
    }


def _candidates(wanted: Ports, before: Ports | None) -> list[Ports]:
    room = range(STEP, HIGHEST - max(wanted.values()), STEP)
    moved = [{role: port + shift for role, port in wanted.items()} for shift in room]
    earlier = [before] if before is not None and before.keys() == wanted.keys() else []
    return [*earlier, wanted, *moved]


def _first_fit(name: str, candidates: list[Ports], others: set[int], free: Callable[[int], bool]) -> Ports:
    for candidate in candidates:
        if others.isdisjoint(candidate.values()) and all(free(port) for port in candidate.values()):
            return candidate
    raise NoFreePort(f"no free loopback port for {name}")
