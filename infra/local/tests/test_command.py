"""The command line, as a user has it: foreground, Ctrl-C, a part that dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.paths import ROOT
from infra.local.process import ProcessId

DEADLINE_S = 30.0
MODULE = [sys.executable, "-m", "infra.local"]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    env = {**os.environ, "LICET_STATE_DIR": str(tmp_path)}
    yield env
    subprocess.run([*MODULE, "down"], cwd=ROOT, env=env, capture_output=True, check=True)


def run(env: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MODULE, *args], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def status(env: dict[str, str]) -> dict[str, dict[str, Any]]:
    found = json.loads(run(env, "status", "--json").stdout)
    return {part["name"]: part for part in found["parts"]}


def foreground(env: dict[str, str]) -> subprocess.Popen[str]:
    """`up` in the foreground, returned once it says that it is up."""
    argv = [*MODULE, "up", "redis", "chain"]
    child = subprocess.Popen(
        argv, cwd=ROOT, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert child.stderr is not None
    ends = time.monotonic() + DEADLINE_S
    while "Ctrl-C" not in child.stderr.readline():
        assert time.monotonic() < ends
        assert child.poll() is None
    return child


def processes(env: dict[str, str]) -> list[ProcessId]:
    found = [ProcessId.of(part["pid"]) for part in status(env).values()]
    assert all(found)
    return [process for process in found if process]


def test_ctrl_c_stops_everything(environment: dict[str, str]) -> None:
    child = foreground(environment)
    running = processes(environment)
    assert len(running) == 2

    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=DEADLINE_S)

    assert child.returncode == 0
    assert "redis            stopped" in errors
    assert not any(process.alive() for process in running)
    assert run(environment, "status").returncode == 3


def test_a_part_that_dies_stops_the_stack_and_names_its_log(environment: dict[str, str]) -> None:
    child = foreground(environment)
    running = processes(environment)

    os.kill(status(environment)["chain"]["pid"], signal.SIGKILL)
    _, errors = child.communicate(timeout=DEADLINE_S)

    assert child.returncode == 1
    assert "licet: chain died; read " in errors
    assert "chain.log" in errors
    assert not any(process.alive() for process in running)


def test_up_twice_is_safe_and_down_stops_it(environment: dict[str, str]) -> None:
    assert run(environment, "up", "redis", "--detach").returncode == 0
    pid = status(environment)["redis"]["pid"]

    again = run(environment, "up", "redis")

    assert again.returncode == 0
    assert "profile dev is already up" in again.stderr
    assert status(environment)["redis"]["pid"] == pid
    assert run(environment, "down").stdout == "stopped 1 parts\n"
    assert status(environment) == {}


def test_kill_and_restart_of_one_part(environment: dict[str, str]) -> None:
    run(environment, "up", "redis", "--detach")

    assert run(environment, "kill", "redis").returncode == 0
    assert status(environment)["redis"]["state"] == "killed"
    assert run(environment, "status").returncode == 3
    assert run(environment, "restart", "redis").returncode == 0
    assert status(environment)["redis"]["state"] == "up"


def test_a_part_that_never_started_cannot_be_killed(environment: dict[str, str]) -> None:
    done = run(environment, "kill", "kafka")

    assert done.returncode == 1
    assert done.stderr == "licet: kafka was not started in profile dev\n"


def test_logs_show_the_end_of_each_log(environment: dict[str, str]) -> None:
    run(environment, "up", "redis", "chain", "--detach")

    shown = run(environment, "logs", "redis").stdout

    assert "redis.log" in shown
    assert "Ready to accept connections" in shown
    assert "chain.log" not in shown


def test_logs_of_a_part_that_never_ran_are_asked_for_in_vain(environment: dict[str, str]) -> None:
    answer = run(environment, "logs", "kafka")

    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    assert "profile dev has no log of kafka" in answer.stderr
