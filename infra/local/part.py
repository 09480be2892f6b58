"""What one part of the stack is: how it starts, when it counts as ready, how it stops."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.ports import LOOPBACK, Ports
from infra.local.process import ProcessId

PROBE_TIMEOUT_S = 2.0
LOG_ROTATE_BYTES = 20 * 1024 * 1024

Probe = Callable[[], bool]


def _nothing() -> None:
    """A part without this step."""


@dataclass(frozen=True, slots=True)
class Part:
    """One supervised process.

    `prepare` runs before it starts, `settle` after its first good probe (databases, topics); only then do
    the parts that name it in `after` start. `user` is the account to run as, for a server that refuses root.
    """

    name: str
    argv: tuple[str, ...]
    ports: Ports
    probe: Probe
    env: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    prepare: Callable[[], None] = _nothing
    settle: Callable[[], None] = _nothing
    cwd: Path | None = None
    user: str | None = None
    ready_timeout_s: float = 120.0  # a cold start of everything at once on two busy cores


@dataclass(frozen=True, slots=True)
class Task:
    """One step that is done once and ends: contracts, schemas. Idempotent."""

    name: str
    run: Callable[[], None]
    after: tuple[str, ...] = ()


def overlay(base: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """Our settings over the caller's environment. A service refuses NAME beside NAME_FILE, so ours hide both."""
    hidden = {name.removesuffix("_FILE") for name in ours}
    kept = {name: value for name, value in base.items() if name.removesuffix("_FILE") not in hidden}
    return {**kept, **ours}


def spawn(part: Part, log: Path) -> ProcessId:
    """Start the part's process in a session of its own (Ctrl-C must reach us alone); output goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_ROTATE_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        child = subprocess.Popen(
            part.argv,
            env=overlay(os.environ, part.env),
            cwd=part.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,  # Triton's shared memory and the databases' files are nobody else's
            user=part.user,
            group=None if part.user is None else pwd.getpwnam(part.user).pw_gid,
            extra_groups=None if part.user is None else [],
        )
    identity = ProcessId.of(child.pid)
    # The process outlives this object on purpose; without a return code Popen would warn when collected.
    child.returncode = 0
    return identity or ProcessId(pid=child.pid, started=-1)


def tcp_open(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    try:
        socket.create_connection((LOOPBACK, port), PROBE_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def redis_answers(port: int) -> bool:
    """Whether a Redis on this port answers PING."""
    try:
        with socket.create_connection((LOOPBACK, port), PROBE_TIMEOUT_S) as link:
            link.sendall(b"PING\r\n")
            return link.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def http_ok(port: int, path: str) -> bool:
    """Whether GET answers 200. Direct, never through the machine's HTTP proxy."""
    link = http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_TIMEOUT_S)
    try:
        link.request("GET", path)
        return link.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        link.close()


def chain_answers(port: int, chain_id: int) -> bool:
    """Whether a JSON-RPC node of this chain answers."""
    link = http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_TIMEOUT_S)
    request = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    try:
        link.request("POST", "/", json.dumps(request), {"content-type": "application/json"})
        answer = json.loads(link.getresponse().read())
        return int(answer["result"], 16) == chain_id
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return False
    finally:
        link.close()
