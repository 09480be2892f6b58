"""A payer asks for a charge on chain: the operator answers by itself, or the draw goes back and the books follow."""

from __future__ import annotations

from typing import Any

import pytest
from licet_billing.usecases.reading import charge_with_proof
from licet_kit.db import reading
from web3.types import RPCEndpoint

from .settling import assert_exact, batches, finish, look
from .town import House, use

OPEN, ANSWERED, REFUNDED = 1, 2, 3


@pytest.fixture
async def settled(house: House) -> tuple[House, list[str]]:
    """Five calls, settled in one line and final."""
    requests = await use(house, 1, 2, 3, 4, 5)
    await finish(house, await house.settler.open_epoch())
    return house, requests


async def line(house: House, request_id: str) -> tuple[tuple[Any, ...], int]:
    """The line of a call with its proof, as the contract takes it, and the place of its charge."""
    async with reading(house.engine) as session:
        charge, proof = await charge_with_proof(session, request_id, "account-1")
    assert proof is not None
    assert charge.leaf is not None
    item, checksum = proof.item, house.town.checksum
    place = (item.position, item.asset_id, checksum(item.currency), checksum(item.payer))
    terms = (item.authority, item.window, item.amount, item.payer_root, item.records)
    return (checksum(house.town.operator), item.number, (*place, *terms), list(proof.line_proof)), charge.leaf


async def challenge(house: House, request_id: str) -> bytes:
    """The payer challenges a call's charge; returns the line's id."""
    named, place = await line(house, request_id)
    house.town.send(3, "UsageEscrow", "challenge", named, place)
    return bytes(house.town.call("UsageEscrow", "lineIdOf", *named[:3]))


def status(house: House, line_id: bytes) -> int:
    return int(house.town.call("UsageEscrow", "disputeOf", line_id)[0])


async def states(house: House) -> list[str]:
    return [row.state for row in await house.inbox.rows("SELECT state FROM challenges")]


def wait(house: House) -> None:
    """The time to answer passes."""
    seconds = house.town.call("UsageEscrow", "disputeTime") + 1
    house.town.w3.provider.make_request(RPCEndpoint("evm_increaseTime"), [seconds])
    house.town.w3.provider.make_request(RPCEndpoint("evm_mine"), [])


@pytest.mark.parametrize("which", [0, 2, 4])
async def test_a_challenge_is_answered_with_the_charge_and_its_receipt(
    settled: tuple[House, list[str]], which: int
) -> None:
    house, requests = settled
    line_id = await challenge(house, requests[which])
    assert status(house, line_id) == OPEN
    await house.tell()
    sender = await house.settler.open_epoch()
    await look(house, sender)
    assert status(house, line_id) == ANSWERED
    house.settler._answerer._sent.clear()
    await look(house, sender)
    assert await states(house) == ["closed"]
    house.town.release(1)
    await house.finalise()
    await assert_exact(house)


async def test_an_answer_waits_for_a_settlement_that_is_on_its_way(
    settled: tuple[House, list[str]],
) -> None:
    house, requests = settled
    line_id = await challenge(house, requests[0])
    await house.tell()
    await use(house, 1)
    sender = await house.settler.open_epoch()
    await house.town.deployed.anvil.rpc("evm_setAutomine", False)
    for _ in range(3):
        await look(house, sender)
    assert status(house, line_id) == OPEN
    await house.town.deployed.anvil.rpc("evm_setAutomine", True)
    await house.town.deployed.anvil.mine(1)
    house.settler._answerer._sent.clear()
    await finish(house, sender)
    assert status(house, line_id) == ANSWERED
    assert await batches(house) == [(1, "final", 105, 105), (2, "final", 7, 7)]
    await assert_exact(house)


async def test_what_nobody_answered_is_refunded_and_the_books_agree(
    settled: tuple[House, list[str]],
) -> None:
    house, requests = settled
    town = house.town
    line_id = await challenge(house, requests[1])
    await house.tell()
    wait(house)
    await look(house, await house.settler.open_epoch())
    assert await states(house) == ["missed"]
    named, _ = await line(house, requests[1])
    before = town.call("TestUSD", "balanceOf", town.checksum(town.payer))
    town.send(4, "UsageEscrow", "refund", named)
    assert town.call("TestUSD", "balanceOf", town.checksum(town.payer)) - before == 105
    assert status(house, line_id) == REFUNDED
    await house.finalise()
    await assert_exact(house)
    rows = await house.inbox.rows("SELECT kind FROM ledger_transactions WHERE kind = 'draw_refunded'")
    assert len(rows) == 1


async def test_a_challenge_whose_block_left_the_chain_is_forgotten(
    settled: tuple[House, list[str]],
) -> None:
    house, requests = settled
    anvil = house.town.deployed.anvil
    before = await anvil.snapshot()
    await challenge(house, requests[0])
    await house.tell()
    assert await states(house) == ["open"]
    await anvil.revert(before)
    await anvil.mine(1)
    await house.tell()
    assert await states(house) == []


async def test_a_challenge_of_what_these_books_do_not_have_is_said(
    settled: tuple[House, list[str]],
) -> None:
    house, requests = settled
    line_id = await challenge(house, requests[0])
    await house.tell()
    await house.inbox.rows("UPDATE challenges SET leaf = 9 RETURNING 1")
    await look(house, await house.settler.open_epoch())
    rows = await house.inbox.rows("SELECT state, last_error FROM challenges")
    assert [(row.state, row.last_error) for row in rows] == [("open", "these books have no such charge")]
    assert status(house, line_id) == OPEN
