"""A process is ours by pid and start time, and a port is its by the socket that it holds."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from infra.local.ports import LOOPBACK
from infra.local.process import ProcessId, send, wait_gone

SLEEPER = "import time; time.sleep(60)"
LISTENER = """
import socket, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
time.sleep(60)
"""
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEPER!r}])"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    children: list[subprocess.Popen[str]] = []
    yield children
    for child in children:
        tree = ProcessId.of(child.pid)
        send(tree.tree() if tree else [], signal.SIGKILL)
        child.kill()
        child.communicate()


def start(started: list[subprocess.Popen[str]], code: str) -> tuple[subprocess.Popen[str], ProcessId]:
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    started.append(child)
    identity = ProcessId.of(child.pid)
    assert identity is not None
    return child, identity


def test_a_reused_pid_is_another_process_and_is_not_signalled(started: list[subprocess.Popen[str]]) -> None:
    child, identity = start(started, SLEEPER)
    earlier = ProcessId(pid=child.pid, started=identity.started - 1)

    assert identity.alive()
    assert not earlier.alive()
    send([earlier], signal.SIGKILL)
    assert earlier.tree() == []
    assert identity.alive()


def test_a_killed_process_is_gone_even_as_a_zombie(started: list[subprocess.Popen[str]]) -> None:
    _, identity = start(started, SLEEPER)

    send([identity], signal.SIGKILL)

    assert wait_gone([identity], timeout_s=5)
    assert not identity.alive()


def test_a_tree_has_the_children_of_children(started: list[subprocess.Popen[str]]) -> None:
    _, identity = start(started, PARENT)

    while len(identity.tree()) < 2:
        assert identity.alive()

    tree = identity.tree()
    send(tree, signal.SIGKILL)
    assert wait_gone(tree, timeout_s=5)


def test_a_port_belongs_to_the_process_that_listens(started: list[subprocess.Popen[str]]) -> None:
    child, listener = start(started, LISTENER)
    assert child.stdout is not None
    port = int(child.stdout.readline())
    _, other = start(started, SLEEPER)

    assert listener.listens_on(port)
    assert not other.listens_on(port)


def test_a_connection_to_a_port_is_no_listener(started: list[subprocess.Popen[str]]) -> None:
    child, _ = start(started, LISTENER)
    assert child.stdout is not None
    port = int(child.stdout.readline())
    me = ProcessId.of(os.getpid())
    assert me is not None

    with socket.create_connection((LOOPBACK, port)) as link:
        assert not me.listens_on(link.getsockname()[1])
