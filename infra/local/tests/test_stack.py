"""Start, kill, restart and stop, on real servers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.local import claims
from infra.local.chain import SavedState
from infra.local.deployment import rpc
from infra.local.errors import LocalError
from infra.local.launch import PartFailed
from infra.local.part import redis_answers
from infra.local.ports import LOOPBACK
from infra.local.process import POLL_S, ProcessId, wait_gone
from infra.local.stack import Stack
from infra.local.state import State
from infra.local.tests.conftest import MakeStack

DEADLINE_S = 20.0


def pids(stack: Stack) -> dict[str, int | None]:
    return {part.name: part.pid for part in stack.status()}


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < ends, "not within the deadline"
        time.sleep(POLL_S)


def block_number(stack: Stack) -> int:
    return int(rpc(stack.endpoints["chain"]["rpc_url"], "eth_blockNumber"), 16)


def test_a_second_start_starts_nothing(stack: Stack) -> None:
    assert stack.start(["redis"]) == ["redis"]
    before = pids(stack)

    assert stack.start(["redis"]) == []
    assert pids(stack) == before


def test_a_part_that_is_left_out_is_not_started(stack: Stack) -> None:
    assert stack.start(["redis", "chain"], without=["chain", "services"]) == ["redis"]
    assert list(pids(stack)) == ["redis"]


def test_two_starts_at_once_start_each_part_once(make_stack: MakeStack) -> None:
    with ThreadPoolExecutor(2) as pool:
        started = [
            name for names in pool.map(lambda _: make_stack().start(["redis"]), range(2)) for name in names
        ]

    assert started == ["redis"]


def test_a_later_start_adds_what_is_missing(stack: Stack) -> None:
    stack.start(["redis"])
    redis = pids(stack)["redis"]

    assert stack.start(["redis", "chain"]) == ["chain"]
    assert pids(stack)["redis"] == redis


def test_the_parts_are_listed_in_one_order_whichever_was_spawned_first(stack: Stack) -> None:
    stack.start(["chain"])
    stack.start(["redis"])

    assert list(pids(stack)) == ["redis", "chain"]


def test_a_taken_port_moves_the_part_and_the_endpoints_say_so(stack: Stack) -> None:
    wanted = stack.profile.default_ports["redis"]["redis"]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if other.connect_ex((LOOPBACK, wanted)) != 0:  # a stack in use may hold the default already
            other.close()
            other = socket.create_server((LOOPBACK, wanted))  # noqa: PLW2901 - one stranger either way
        stack.start(["redis"])
        other.close()

    port = stack.status()[0].ports["redis"]
    assert port != wanted
    assert stack.endpoints["redis"]["url"] == f"redis://{LOOPBACK}:{port}/0"
    assert redis_answers(port)


def test_a_dead_part_is_reported_with_its_log(stack: Stack) -> None:
    stack.start(["redis"])
    pid = pids(stack)["redis"]
    assert pid is not None

    os.kill(pid, signal.SIGKILL)

    with pytest.raises(PartFailed, match=r"redis died; read .*/logs/redis\.log"):
        stack.watch(threading.Event())
    assert stack.status()[0].state == "dead"


def test_a_part_that_cannot_be_brought_back_is_still_missed(stack: Stack) -> None:
    stack.start(["redis", "chain"])
    until(lambda: block_number(stack) >= 3)
    process = ProcessId.of(pids(stack)["chain"] or 0)
    assert process is not None
    tree = process.tree()
    os.kill(process.pid, signal.SIGKILL)
    assert wait_gone(tree, DEADLINE_S)
    saved = SavedState(stack.profile.home / "chain")
    saved.file.write_text("{")
    saved.copy.unlink(missing_ok=True)

    with pytest.raises(PartFailed, match="cut off by a kill"):
        stack.start(["redis", "chain"])

    assert {part.name: part.state for part in stack.status()} == {"redis": "up", "chain": "dead"}


def test_a_part_killed_on_purpose_does_not_end_the_stack_and_returns_on_its_port(stack: Stack) -> None:
    stack.start(["redis", "chain"])
    port = stack.status()[0].ports["redis"]

    stack.kill("redis")

    assert not redis_answers(port)
    assert {part.name: part.state for part in stack.status()}["redis"] == "killed"
    stopped = threading.Event()
    threading.Timer(1.0, stopped.set).start()
    stack.watch(stopped)

    stack.restart("redis")
    assert redis_answers(port)
    assert {part.state for part in stack.status()} == {"up"}


def test_no_other_stack_takes_the_port_of_a_part_that_is_down(make_stack: MakeStack) -> None:
    first, second = make_stack("dev"), make_stack("demo")
    first.start(["redis", "chain"])
    port = first.status()[0].ports["redis"]
    first.kill("redis")

    second.start(["redis"])

    assert second.status()[0].ports["redis"] != port
    first.restart("redis")
    assert redis_answers(port)
    assert claims.note_of(first.profile.home).exists()
    first.stop()
    # A stopped stack holds nothing, though the process that started it lives on.
    assert not claims.note_of(first.profile.home).exists()


def test_a_stack_whose_starter_died_holds_its_ports_only_while_it_runs(
    make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_stack("dev"), make_stack("demo")
    monkeypatch.setattr(ProcessId, "of", classmethod(lambda cls, pid: None))  # as if it were gone
    claims.hold(first.profile.home, [17_001])
    with claims.choosing(second.profile.home) as held:
        assert 17_001 not in held
    state = State(running={"redis": ProcessId(1, 1)})
    state.save(first.profile)
    with claims.choosing(second.profile.home) as held:
        assert 17_001 in held
    State().save(first.profile)


def test_a_part_that_dies_after_its_restart_is_reported_again(stack: Stack) -> None:
    stack.start(["redis"])
    stack.kill("redis")
    stack.restart("redis")
    pid = pids(stack)["redis"]
    assert pid is not None

    os.kill(pid, signal.SIGKILL)

    with pytest.raises(PartFailed, match="redis died"):
        stack.watch(threading.Event())


def test_watching_ends_when_the_stack_is_taken_down_elsewhere(
    stack: Stack, make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.local.stack.WATCH_S", 0.01)  # sees every moment of the end
    stack.start(["redis", "chain"])

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(stack.watch, threading.Event())
        assert set(make_stack().stop()) == {"redis", "chain"}
        watching.result(timeout=DEADLINE_S)

    assert stack.endpoints == {}


def test_stopping_leaves_a_process_that_took_over_a_pid_alone(stack: Stack) -> None:
    stack.start(["redis"])
    stranger = subprocess.Popen(["sleep", "60"])
    identity = ProcessId.of(stranger.pid)
    assert identity is not None
    state = State.load(stack.profile)
    state.running["chain"] = ProcessId(pid=stranger.pid, started=identity.started - 1)
    state.save(stack.profile)

    stack.stop()

    assert identity.alive()
    stranger.kill()
    stranger.wait()


def test_a_killed_chain_returns_at_its_last_saved_block(stack: Stack) -> None:
    stack.start(["chain"])
    until(lambda: block_number(stack) >= 4)
    third = rpc(stack.endpoints["chain"]["rpc_url"], "eth_getBlockByNumber", "0x3", False)["hash"]
    before = block_number(stack)

    stack.kill("chain")
    stack.restart("chain")

    assert block_number(stack) >= before - 2
    assert rpc(stack.endpoints["chain"]["rpc_url"], "eth_getBlockByNumber", "0x3", False)["hash"] == third


def test_final_blocks_are_two_back(stack: Stack) -> None:
    stack.start(["chain"])
    until(lambda: block_number(stack) >= 3)

    latest, final = (
        int(rpc(stack.endpoints["chain"]["rpc_url"], "eth_getBlockByNumber", tag, False)["number"], 16)
        for tag in ("latest", "finalized")
    )

    assert latest - final in {2, 3}  # a block may have come between the two questions


def test_an_external_server_is_not_started(make_stack: MakeStack) -> None:
    stack = make_stack(REDIS_URL="redis://cache.example:6379/1")

    assert stack.start(["redis", "chain"]) == ["chain"]
    assert stack.endpoints["redis"]["url"] == "redis://cache.example:6379/1"


def test_data_of_a_running_profile_is_not_wiped(stack: Stack) -> None:
    stack.start(["redis"])

    with pytest.raises(LocalError, match="still runs: stop it first"):
        stack.wipe()


def test_an_unknown_part_is_named_with_the_known_ones(stack: Stack) -> None:
    with pytest.raises(LocalError, match="no part is called mysql: servers, services, postgres"):
        stack.start(["mysql"])


def test_a_failed_start_stops_what_it_had_started(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.local.chain.CHAIN_ID", "not a number")

    with pytest.raises(PartFailed, match="chain died while starting"):
        stack.start(["redis", "chain"])

    assert stack.status() == []
    assert stack.endpoints == {}
