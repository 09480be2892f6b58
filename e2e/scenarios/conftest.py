"""One whole installation for all scenarios: every server, contract and service, with the story's model on sale."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from web3.types import RPCEndpoint

from e2e.actors import Actor
from e2e.demo import books, calls, story
from e2e.demo.steps import Notes
from e2e.observe import eventually
from e2e.traffic import Traffic
from e2e.world import World
from infra.local.stack import Stack

# Another name lets a second installation run beside this one.
PROFILE = os.environ.get("LICET_E2E_PROFILE", "e2e")
FUNDS = 1_000_000_000
# The story's actors end at 7; each scenario takes wallets of its own from here on.
FIRST_WALLET = 20


@dataclass(frozen=True, slots=True)
class Installation:
    """The running stack, what was published on it, and its world."""

    stack: Stack
    world: World
    notes: Notes


@dataclass(frozen=True, slots=True)
class Buyer:
    """A wallet with a license and, where asked, a deposit; `name` is its key in the notes."""

    name: str
    actor: Actor
    license_id: int
    deposit_id: str


def pass_time(world: World, seconds: int) -> None:
    """Lets the chain's clock run ahead of all others: the scenarios that do so are the last ones."""
    w3 = world.client("publisher").chain.w3
    w3.provider.make_request(RPCEndpoint("evm_increaseTime"), [seconds])
    start = w3.eth.get_block("latest")["timestamp"]
    eventually(lambda: w3.eth.get_block("latest")["timestamp"] >= start + seconds, "the time has passed")


@pytest.fixture(scope="package")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Starts from nothing and stops at the end; the story's model and plans are published once."""
    stack = Stack(PROFILE)
    stack.stop()
    stack.wipe()
    stack.start()
    try:
        with contextlib.closing(World(stack.endpoints)) as world:
            notes = Notes(tmp_path_factory.mktemp("story") / "notes.json")
            for step in (story.train_model, story.publish_model, story.create_plans):
                step(world, notes)
            yield Installation(stack, world, notes)
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def wallets() -> Iterator[int]:
    """Indexes of unused development wallets."""
    return itertools.count(FIRST_WALLET)


@pytest.fixture(scope="package")
def make_buyer(installation: Installation, wallets: Iterator[int]) -> Callable[..., Buyer]:
    """A new buyer: funded, licensed, with a key and, when `deposit` is given, a final deposit. May run in threads."""
    one_funder = threading.Lock()  # whose transactions have one order

    def make(deposit: int = 0) -> Buyer:
        world, notes = installation.world, installation.notes
        name = f"buyer-{next(wallets)}"
        person = world.actor(name)
        client = world.client(name)
        with one_funder:
            books.fund(world, person.address, FUNDS)
        license_id, _ = client.chain.buy(notes["plan"])
        deposit_id = ""
        if deposit:
            deposit_id, _ = client.chain.deposit(world.actor("operator").address, deposit)
            eventually(
                lambda: books.grant(world, "deposit", deposit_id)["granted"] == deposit, "deposit is final"
            )
        eventually(lambda: books.grant(world, "license", license_id)["free"] > 0, "license is final")
        calls.make_key(world, notes, name)
        return Buyer(name, person, license_id, deposit_id)

    return make


@pytest.fixture
def traffic(installation: Installation) -> Callable[[Buyer], Traffic]:
    """Calls of one row by a buyer, in binary tensors, at every replica in turn."""

    def start(buyer: Buyer) -> Traffic:
        return Traffic(installation.world, installation.notes[f"{buyer.name}_key"])

    return start
