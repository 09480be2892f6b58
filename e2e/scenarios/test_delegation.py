"""A delegated license calls for its user; after the delegation's end or revocation it is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import pytest
from licet_schemas.licet.licensing.v1 import licensing_pb2
from licet_sdk.errors import ChainError

from e2e.demo import books, calls
from e2e.demo.steps import Notes
from e2e.load import revocation
from e2e.observe import eventually
from e2e.scenarios.conftest import FUNDS, Buyer, Installation
from e2e.world import World

LONG_S = 600
# Long enough for a call at each replica, and for the block that carries it.
BRIEF_S = 8


@pytest.fixture(scope="module")
def holder(installation: Installation, wallets: Iterator[int]) -> Buyer:
    """Somebody with a key and one license, of more units than are called here."""
    world, notes, name = installation.world, installation.notes, f"buyer-{next(wallets)}"
    books.fund(world, world.actor(name).address, FUNDS)
    license_id, _ = world.client(name).chain.buy(revocation.endless_plan(world, notes))
    eventually(lambda: books.grant(world, "license", license_id)["free"] > 0, "license is granted")
    calls.make_key(world, notes, name)
    return Buyer(name, world.actor(name), license_id, "")


@pytest.fixture(scope="module")
def user(installation: Installation, wallets: Iterator[int]) -> str:
    """Somebody with a key and gas, and no license."""
    world, name = installation.world, f"user-{next(wallets)}"
    books.fund(world, world.actor(name).address, 0)
    calls.make_key(world, installation.notes, name)
    return name


def _answers(installation: Installation, name: str) -> None:
    world, notes = installation.world, installation.notes
    for number in range(len(world.config.gateway)):
        eventually(partial(_is_answered, world, notes, name, number), f"{name} calls replica {number}")


def _is_answered(world: World, notes: Notes, name: str, number: int) -> bool:
    return not calls.refusal_code(world, notes, name, replica=number)


def _refused(installation: Installation, name: str, code: str) -> None:
    calls.wait_refused(installation.world, installation.notes, name, code)


def _delegate(installation: Installation, holder: Buyer, user: str, seconds: int, **how: bool) -> int:
    """Delegates until some seconds after the newest block; returns until when."""
    world = installation.world
    until = int(world.chain.w3.eth.get_block("latest")["timestamp"]) + seconds
    address = world.actor(user).address
    world.client(holder.name).chain.delegate_license(holder.license_id, address, until, **how)
    assert world.chain.call("License", "userOf", holder.license_id) == address
    return until


def _revoked(installation: Installation, holder: Buyer) -> list[str]:
    """Codes of all revocations of the license's grant so far."""
    world = installation.world
    name = books.grant(world, "license", holder.license_id)["grant_id"]
    said = world.topic("licensing.revocation", licensing_pb2.GrantRevoked)
    return [each.code for each in said if each.grant_id == name]


def test_a_delegated_license_calls_until_it_is_taken_back(
    installation: Installation, holder: Buyer, user: str
) -> None:
    _answers(installation, holder.name)
    assert calls.refusal_code(installation.world, installation.notes, user) == "license_missing"
    _delegate(installation, holder, user, LONG_S)
    _refused(installation, holder.name, "license_delegated")
    _answers(installation, user)
    installation.world.client(holder.name).chain.end_delegation(holder.license_id)
    _refused(installation, user, "delegation_ended")
    _answers(installation, holder.name)
    assert _revoked(installation, holder) == ["license_delegated", "delegation_ended"]


def test_a_delegated_license_calls_until_its_time_and_no_longer(
    installation: Installation, holder: Buyer, user: str
) -> None:
    world, notes = installation.world, installation.notes
    until = _delegate(installation, holder, user, BRIEF_S)
    answered_at: list[float] = []

    def ended() -> bool:
        asked_at = time.time()
        code = calls.refusal_code(world, notes, user)
        if not code:
            answered_at.append(asked_at)
        return bool(answered_at) and code == "delegation_ended"

    eventually(ended, f"{user} called, and calls no more")
    assert answered_at[-1] < until, "no call was admitted after the end"
    _refused(installation, user, "delegation_ended")
    _answers(installation, holder.name)
    # Nobody had to say that it ended: no lease was lent beyond it.
    assert _revoked(installation, holder)[2:] == ["license_delegated"]


def test_an_irrevocable_delegation_is_kept_and_its_user_may_give_it_back(
    installation: Installation, holder: Buyer, user: str
) -> None:
    world = installation.world
    _delegate(installation, holder, user, LONG_S, revocable=False)
    chain = world.client(holder.name).chain
    with pytest.raises(ChainError) as kept:
        chain.end_delegation(holder.license_id)
    assert kept.value.code == "License_Delegated"
    with pytest.raises(ChainError) as bound:
        chain.transfer_license(holder.license_id, world.actor(user).address)
    assert bound.value.code == "License_Locked"
    _answers(installation, user)
    world.client(user).chain.end_delegation(holder.license_id)
    _refused(installation, user, "delegation_ended")
    _answers(installation, holder.name)
    # What its user called was spent of the license's own units.
    account = installation.notes[f"{user}_account"]
    billed = eventually(lambda: books.charges_by_request(world, account), "the user's calls are billed")
    assert set(billed.values()) == {1}
