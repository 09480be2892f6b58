"""A chain that is killed while it saves comes back at its last whole state."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from infra.local import chain
from infra.local.chain import SavedState
from infra.local.errors import LocalError
from infra.local.process import ProcessId
from infra.local.stack import Stack
from infra.local.tests.test_stack import block_number, until

WHOLE, CUT = '{"block": {"number": "0x7"}}', '{"block": {"number": "0'


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SavedState:
    monkeypatch.setattr(chain, "WHOLE_WITHIN_S", 0.2)
    return SavedState(tmp_path)


def test_a_state_that_was_cut_off_is_replaced_by_the_last_whole_one(saved: SavedState) -> None:
    saved.file.write_text(WHOLE)
    assert saved.keep()
    saved.file.write_text(CUT)

    assert not saved.keep()
    saved.recover()

    assert saved.file.read_text() == WHOLE


def test_a_whole_state_is_left_alone_and_a_new_chain_needs_none(saved: SavedState) -> None:
    saved.recover()
    assert not saved.file.exists()
    saved.file.write_text(WHOLE)
    saved.copy.write_text("{}")

    saved.recover()

    assert saved.file.read_text() == WHOLE


def test_a_lost_state_is_said_with_the_way_out(saved: SavedState) -> None:
    saved.file.write_text(CUT)

    with pytest.raises(LocalError, match="start anew with make up ARGS=--fresh"):
        saved.recover()


def test_a_chain_that_nobody_watches_comes_back_from_a_kill_in_mid_save(stack: Stack) -> None:
    """As after `up --detach`: only the chain's own child keeps the states."""
    stack.start(["chain"])
    until(lambda: block_number(stack) >= 5)
    before = block_number(stack)
    process = ProcessId.of(stack.status()[0].pid or 0)
    assert process is not None
    (_, keeper) = process.tree()
    os.kill(process.pid, signal.SIGKILL)
    file = stack.profile.home / "chain" / "state.json"
    file.write_bytes(file.read_bytes()[:-100])
    until(lambda: not keeper.alive())

    stack.start(["chain"])

    assert block_number(stack) >= before - 2


def test_a_chain_whose_save_was_cut_off_starts_again(stack: Stack) -> None:
    stack.start(["chain"])
    until(lambda: block_number(stack) >= 3)
    before = block_number(stack)
    stack.kill("chain")
    file = stack.profile.home / "chain" / "state.json"
    file.write_bytes(file.read_bytes()[:-100])

    stack.restart("chain")

    assert block_number(stack) >= before - 2
