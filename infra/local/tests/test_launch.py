"""Parts start in the order of their health, and only our own child can make one ready."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from licet_kit.testing.ports import free_port

from infra.local.errors import LocalError
from infra.local.launch import Launch, Node, PartFailed
from infra.local.part import Part, Task, overlay, tcp_open
from infra.local.ports import LOOPBACK, Ports
from infra.local.process import ProcessId, send, wait_gone

LISTEN = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"
SLEEP = "import time; time.sleep(60)"


class Started:
    """Starts nodes below a folder, and remembers what happened in which order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, ProcessId] = {}
        self.events: list[str] = []

    def launch(self, *nodes: Node, ready: tuple[str, ...] = ()) -> None:
        launch = Launch(log=self.log, on_spawn=self.spawned, on_ready=self.became_ready)
        launch.all({node.name: node for node in nodes}, set(ready))

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def spawned(self, name: str, process: ProcessId) -> None:
        self.processes[name] = process
        self.events.append(f"{name} spawned")

    def became_ready(self, node: Node, seconds: float) -> None:
        self.events.append(f"{node.name} ready")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    run = Started(tmp_path)
    yield run
    for process in run.processes.values():
        send(process.tree(), signal.SIGKILL)
        wait_gone([process], timeout_s=5)


def part(
    name: str, code: str, port: int | None = None, after: tuple[str, ...] = (), ready_s: float = 20
) -> Part:
    ports: Ports = {} if port is None else {"tcp": port}
    return Part(
        name=name,
        argv=(sys.executable, "-c", code, str(port)),
        ports=ports,
        probe=lambda: port is None or tcp_open(port),
        after=after,
        ready_timeout_s=ready_s,
    )


def test_a_part_starts_after_all_that_it_comes_after_is_ready(started: Started) -> None:
    started.launch(
        part("last", SLEEP, after=("middle", "task")),
        part("middle", LISTEN, free_port(), after=("first",)),
        part("first", LISTEN, free_port()),
        Task("task", lambda: None, after=("first",)),
    )

    assert started.events.index("first ready") < started.events.index("middle spawned")
    assert started.events.index("middle ready") < started.events.index("last spawned")
    assert started.events.index("task ready") < started.events.index("last spawned")


def test_a_part_that_runs_elsewhere_is_not_waited_for(started: Started) -> None:
    started.launch(part("service", SLEEP, after=("postgres", "kafka")), ready=("kafka",))

    assert started.events == ["service spawned", "service ready"]


def test_a_strangers_answer_does_not_make_a_part_ready(started: Started) -> None:
    with socket.create_server((LOOPBACK, 0)) as stranger:
        port = stranger.getsockname()[1]

        with pytest.raises(PartFailed, match="mine was not ready after 0 s"):
            started.launch(part("mine", SLEEP, port, ready_s=0.4))


def test_a_part_that_dies_while_starting_names_its_log_and_shows_its_end(started: Started) -> None:
    with pytest.raises(PartFailed) as caught:
        started.launch(part("broken", "import sys; print('no disk'); sys.exit(3)", free_port()))

    assert str(caught.value).startswith(f"broken died while starting; read {started.log('broken')}")
    assert "no disk" in str(caught.value)
    assert caught.value.log == started.log("broken")


def test_a_failed_task_names_itself_and_nothing_after_it_starts(started: Started) -> None:
    def fail() -> None:
        raise LocalError("no such contract")

    with pytest.raises(PartFailed, match="contracts could not start: no such contract"):
        started.launch(Task("contracts", fail), part("service", SLEEP, after=("contracts",)))

    assert started.events == []


def test_what_needs_setting_up_is_set_up_before_others_start(started: Started) -> None:
    steps: list[str] = []
    server = Part(
        name="server",
        argv=(sys.executable, "-c", SLEEP),
        ports={},
        probe=lambda: True,
        prepare=lambda: steps.append("prepared"),
        settle=lambda: steps.append("settled"),
    )

    started.launch(server, Task("user", lambda: steps.append("used"), after=("server",)))

    assert steps == ["prepared", "settled", "used"]


def test_a_setting_of_ours_hides_the_callers_in_both_forms() -> None:
    callers = {"TOKEN": "theirs", "URL_FILE": "/theirs", "OTEL_ENDPOINT": "theirs"}

    assert overlay(callers, {"TOKEN_FILE": "/ours", "URL": "ours"}) == {
        "OTEL_ENDPOINT": "theirs",
        "TOKEN_FILE": "/ours",
        "URL": "ours",
    }
