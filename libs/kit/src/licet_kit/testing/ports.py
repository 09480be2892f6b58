"""Free loopback ports for servers that tests start, such that test processes beside each other never take the same."""

import os
import random
import socket

# Below the range of client sockets, and apart from the local stacks: any connection could otherwise take the port
# between the choice and the start of the server.
_FIRST, _LAST = 10_000, 13_999
# Test processes of one run (pytest-xdist) draw from separate parts; separate runs are separated by chance.
_PARTS = 8
_HOST = "127.0.0.1"

_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Return ports on which nothing listens and which this process has not given out before.

    Raises LookupError when a whole part is taken.
    """
    found: list[int] = []
    while len(found) < count:
        found.append(_next())
    return found


def free_port() -> int:
    """Return one free port."""
    return _next()


def _next() -> int:
    part = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PARTS
    size = (_LAST + 1 - _FIRST) // _PARTS
    ports = range(_FIRST + part * size, _FIRST + (part + 1) * size)
    for port in random.sample(ports, len(ports)):
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    # A long run uses them up: what was given long ago is free again.
    if _given:
        _given.clear()
        return _next()
    raise LookupError(f"no free port in {ports}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True
