"""What strangers and reorgs do to the chain must not stop the books of everybody else."""

from __future__ import annotations

import pytest
from licet_billing.testing import builders
from licet_billing.testing.builders import CHAIN, ESCROW, OPERATOR, TOKEN, ChainLog, Gateway
from licet_billing.testing.inbox import make_inbox
from licet_billing.usecases import batches as use_batches
from licet_kit.clock import ManualClock
from licet_kit.db import transaction
from licet_kit.testing.plugin import StartChain
from licet_schemas.licet.chain.v1 import chain_pb2
from sqlalchemy.ext.asyncio import AsyncEngine
from web3.types import RPCEndpoint

from .settling import assert_exact, finish
from .town import House, open_house, settle_in, use

REVERTS, ANSWERS_NOTHING, HAS_NOTHING = "0x60006000fd", "0x00", "0x5f5f5260205ff3"


async def test_use_of_a_deposit_that_a_reorg_removed_is_settled_as_loss(
    engine: AsyncEngine, chain: StartChain
) -> None:
    """The escrow does not know the deposit any more, so the settled line names no token."""
    town = settle_in(await chain())
    house = open_house(engine, town)
    await town.deployed.anvil.mine(2)
    await house.tell()
    town.deposit(1000)
    await house.feed.sync(house.inbox)
    await use(house, 1)
    await town.deployed.anvil.reorg(2)
    await house.tell()
    sender = await house.settler.open_epoch()
    for _ in range(2):
        await finish(house, sender)
    settled = await house.inbox.rows("SELECT number, state FROM settlement_batches")
    assert [(b.number, b.state) for b in settled] == [(1, "final")]
    assert await house.inbox.rows("SELECT 1 FROM settlement_items WHERE paid IS DISTINCT FROM 0") == []
    await assert_exact(house)
    # What comes after is settled as ever.
    town.deposit(1000)
    await house.finalise()
    await use(house, 2)
    await finish(house, sender)
    await assert_exact(house)
    await house.close()


async def test_an_empty_account_drives_no_fee_up_and_settles_when_it_is_filled(
    house: House, manual_clock: ManualClock
) -> None:
    town = house.town
    await use(house, 1)
    account = town.checksum(town.operator)
    town.w3.provider.make_request(RPCEndpoint("anvil_setBalance"), [account, hex(10**9)])
    sender = await house.settler.open_epoch()
    for _ in range(60):
        await house.settler.tick(sender)
        manual_clock.advance(31)
    (tried,) = await house.inbox.rows(
        "SELECT a.state, b.state AS batch, b.last_error FROM settlement_attempts a"
        " JOIN settlement_batches b USING (chain_id, operator, number)"
    )
    assert (tried.state, tried.batch) == ("signed", "prepared")
    assert "Insufficient funds" in tried.last_error
    town.w3.provider.make_request(RPCEndpoint("anvil_setBalance"), [account, hex(10**18)])
    for _ in range(2):
        manual_clock.advance(31)
        await finish(house, sender)
    batches = await house.inbox.rows("SELECT state FROM settlement_batches")
    assert [b.state for b in batches] == ["final"]
    await assert_exact(house)


@pytest.mark.parametrize("code", [REVERTS, ANSWERS_NOTHING, HAS_NOTHING])
async def test_a_strangers_token_has_no_say_in_the_books(house: House, code: str) -> None:
    """Anybody may deposit any token for an operator, and change what it answers."""
    town = house.town
    token = town.checksum("0x" + "e1" * 20)
    bytecode = town.w3.eth.get_code(town.checksum(town.token)).hex()
    town.w3.provider.make_request(RPCEndpoint("anvil_setCode"), [token, "0x" + bytecode.removeprefix("0x")])
    town.contracts["Strange"] = town.w3.eth.contract(address=token, abi=town.contracts["TestUSD"].abi)
    town.send(5, "Strange", "mint", town.checksum(town.deployed.account(5).address), 10)
    town.send(5, "Strange", "approve", town.checksum(town.chain.contract("UsageEscrow")), 10)
    town.send(5, "UsageEscrow", "deposit", town.checksum(town.operator), token, 10)
    await house.finalise()
    town.w3.provider.make_request(RPCEndpoint("anvil_setCode"), [token, code])
    await town.deployed.anvil.mine(3)
    await house.tell()
    await assert_exact(house)


async def test_charges_that_may_not_be_drawn_hold_up_nobody_else(engine: AsyncEngine) -> None:
    inbox, log = make_inbox(engine, CHAIN, ESCROW, OPERATOR), ChainLog()
    other = "0x" + "ee" * 20
    plan, terms = log.plan(7), chain_pb2.PlanTerms()
    terms.CopyFrom(plan.plan_created.terms)
    terms.currency = other
    created = chain_pb2.PlanCreated(plan_id="2", creator=builders.OWNER, terms=terms)
    await inbox.send(plan, log.event(builders.PLAN_BOOK, plan_created=created), log.key())
    drawable = Gateway()
    strange = Gateway(token=other, plan_id="2", deposit_id="0x" + "bb" * 32)
    await inbox.send(drawable.deposit_changed(10_000), strange.deposit_changed(10**6))
    await inbox.send(*strange.calls(*[1] * 20, lease=f"{900:032x}"))
    await inbox.send(*drawable.calls(*[1] * 5, lease=f"{901:032x}"))
    async with transaction(engine) as session:
        key = await use_batches.prepare(
            session,
            chain_id=CHAIN,
            operator=OPERATOR,
            escrow=ESCROW,
            caps={TOKEN: 10**9, other: 0},
            last_on_chain=0,
            limit=20,
        )
    assert key is not None
    items = await inbox.rows("SELECT currency, amount FROM settlement_items")
    assert [(i.currency, int(i.amount)) for i in items] == [(TOKEN, 35)]
