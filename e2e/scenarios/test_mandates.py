"""An agent spends by a mandate: with a key of it and nothing else, within its window, and not after it was revoked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
from licet_sdk.errors import Refused
from licet_sdk.mandates import Bounds

from e2e.demo import books, calls, story
from e2e.observe import eventually
from e2e.scenarios.conftest import Buyer, Installation

DEPOSIT = 50_000_000
ROWS = 10
HOUR_S = 3_600


@dataclass(frozen=True, slots=True)
class Agent:
    """Who has a key of a mandate; `name` is its key in the notes."""

    name: str
    payer: Buyer
    mandate_id: str


@pytest.fixture(scope="module")
def payer(make_buyer: Callable[..., Buyer]) -> Buyer:
    return make_buyer(deposit=DEPOSIT)


def _agent(installation: Installation, payer: Buyer, name: str, rows: int, total_rows: int) -> Agent:
    """A mandate over so many rows an hour and in all, and a key that is bound to it."""
    world, client = installation.world, installation.world.client(payer.name)
    bounds = Bounds(
        operator=world.actor("operator").address,
        window_amount=rows * story.UNIT_PRICE,
        total_amount=total_rows * story.UNIT_PRICE,
        in_flight_cap=rows * story.UNIT_PRICE,
        window_records=1_000,
        window_length=HOUR_S,
        grace=60,
        assets=[installation.notes["asset_id"]],
    )
    mandate_id, _ = client.mandates.open(client.mandates.draft(bounds))
    with pytest.raises(Refused, match="no wallet of this account"):
        client.licensing.create_key("agent", "0x" + "99" * 32)

    def bound() -> str:
        try:
            return str(client.licensing.create_key("agent", mandate_id)["key"])
        except Refused:
            return ""

    installation.notes[f"{name}_key"] = eventually(bound, "licensing knows the mandate")
    return Agent(name, payer, mandate_id)


def _call(installation: Installation, agent: Agent, number: int = 0) -> bool:
    world, notes = installation.world, installation.notes
    return not calls.refusal_code(world, notes, agent.name, replica=number, rows=ROWS)


def test_an_agent_calls_until_the_window_is_used_up(installation: Installation, payer: Buyer) -> None:
    agent = _agent(installation, payer, "agent-1", rows=3 * ROWS, total_rows=9 * ROWS)
    for _ in range(3):
        eventually(partial(_call, installation, agent), "the agent calls", 40)
    calls.wait_refused(installation.world, installation.notes, agent.name, "quota_exhausted")
    # The payer's own key is bound by no mandate.
    assert not calls.refusal_code(installation.world, installation.notes, payer.name)


def test_a_mandate_is_drawn_from_and_revoked_in_flight(installation: Installation, payer: Buyer) -> None:
    world = installation.world
    client = world.client(payer.name)
    agent = _agent(installation, payer, "agent-2", rows=500 * ROWS, total_rows=900 * ROWS)
    before = client.mandates.show(agent.mandate_id).remaining
    for number in range(len(world.config.gateway)):
        eventually(partial(_call, installation, agent, number), f"the agent calls replica {number}", 40)

    def settled() -> int:
        world.operator().usage.settle()
        return before - client.mandates.show(agent.mandate_id).remaining

    drawn = eventually(settled, "the mandate is drawn from", 60)
    lines = [line for log in world.logs("UsageEscrow", "GroupSettled") for line in log["args"]["lines"]]
    ours = [line for line in lines if line["authority"] == bytes.fromhex(agent.mandate_id[2:])]
    assert sum(line["paid"] for line in ours) == sum(line["due"] for line in ours) == drawn
    assert drawn % (ROWS * story.UNIT_PRICE) == 0

    stop = threading.Event()
    codes: list[str] = []

    def keep_calling() -> None:
        while not stop.is_set():
            codes.append(calls.refusal_code(world, installation.notes, agent.name, rows=1))

    caller = threading.Thread(target=keep_calling)
    caller.start()
    try:
        eventually(lambda: codes.count("") > 3, "calls are running")
        client.mandates.revoke(agent.mandate_id)
        eventually(lambda: codes[-1] == "mandate_ended", "a running agent is refused", 30)
        answered = codes.count("")
        eventually(lambda: len(codes) > answered + 20, "it goes on asking")
        assert codes.count("") == answered
    finally:
        stop.set()
        caller.join()
    eventually(lambda: books.reconciled(world), "receipts, ledger and chain agree", 60)
