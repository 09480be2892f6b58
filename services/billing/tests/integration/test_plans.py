"""What becomes of plans, and of the use of them, when reorgs remove them and give their ids anew."""

from __future__ import annotations

import pytest
from licet_billing.domain.ledger import Account, AccountKind, Currency
from licet_billing.domain.reconciliation import Span
from licet_billing.testing.builders import (
    CHAIN,
    DEPOSIT,
    ESCROW,
    OPERATOR,
    TOKEN,
    ChainLog,
    Gateway,
    again,
    event_id,
    retracted,
)
from licet_billing.testing.inbox import Inbox, make_inbox
from licet_billing.usecases import evidence, intake
from licet_kit.db import reading, transaction
from licet_kit.kafka import replay
from licet_schemas import eip712
from sqlalchemy.ext.asyncio import AsyncEngine

ACCRUED = Account(AccountKind.ACCRUED, Currency(CHAIN, TOKEN), DEPOSIT)


@pytest.fixture
async def inbox(engine: AsyncEngine, gateway: Gateway, log: ChainLog) -> Inbox:
    """A receipt key and a deposit grant of 100."""
    made = make_inbox(engine, CHAIN, ESCROW, OPERATOR)
    await made.send(log.key())
    await made.send(gateway.deposit_changed(100))
    return made


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def log() -> ChainLog:
    return ChainLog()


async def cover(inbox: Inbox) -> None:
    async with transaction(inbox.engine) as session:
        for grant_id in await intake.grants_to_cover(session, 10):
            await intake.cover_late(session, grant_id)


async def test_use_of_a_plan_that_a_reorg_removed_is_operator_loss_until_it_is_back(
    inbox: Inbox, gateway: Gateway, log: ChainLog
) -> None:
    plan = log.plan(9, plan_id="2")
    await inbox.send(plan)
    await inbox.send(retracted(plan))
    gateway.plan_id = "2"
    await inbox.send(*gateway.calls(1, 2))
    assert await dispositions(inbox) == [(0, "uncovered"), (0, "uncovered")]
    assert await inbox.rows("SELECT key FROM quarantine") == []
    await cover(inbox)
    await inbox.send(log.plan(8, plan_id="2"))  # the id is given anew, at other terms
    await cover(inbox)
    assert await dispositions(inbox) == [(0, "uncovered"), (0, "uncovered")]
    await inbox.send(again(plan))
    await cover(inbox)
    assert await dispositions(inbox) == [(9, "billed"), (18, "billed")]
    assert await inbox.balances(ACCRUED) == (27,)


async def dispositions(inbox: Inbox) -> list[tuple[int, str]]:
    rows = await inbox.rows("SELECT amount, disposition FROM charges ORDER BY seq")
    return [(int(row.amount), row.disposition) for row in rows]


async def test_plan_that_is_observed_after_its_retraction_does_not_stand(
    inbox: Inbox, gateway: Gateway, log: ChainLog
) -> None:
    plan = log.plan(9)
    await inbox.send(retracted(plan))
    lease = gateway.lease()
    await inbox.send(*gateway.calls(1, lease=lease))
    await inbox.send(plan)
    await replay(inbox.subscription("usage.recorded"), lease)
    assert await dispositions(inbox) == [(0, "uncovered")]


async def test_late_statement_of_a_plan_that_left_the_chain_takes_nothing_from_the_one_that_stands(
    inbox: Inbox, gateway: Gateway, log: ChainLog
) -> None:
    """A reorg swaps two creations: plan 1 is of another asset then, whose events another partition holds."""
    stands, left = log.plan(7), log.plan(1)
    left.block_number, left.plan_created.terms.asset_id = stands.block_number, "0x" + "bb" * 32
    left.event_id = event_id(left)
    await inbox.send(stands)
    await inbox.send(left)
    await inbox.send(*gateway.calls(1))
    await inbox.send(retracted(left))
    await inbox.send(*gateway.calls(2))
    gateway.asset_id = "0x" + "bb" * 32
    await inbox.send(*gateway.calls(3))
    assert await inbox.rows("SELECT key, detail FROM quarantine") == []
    assert await dispositions(inbox) == [(7, "billed"), (14, "billed"), (0, "uncovered")]


async def test_call_of_a_plan_whose_id_is_given_anew_waits_for_its_statement(
    inbox: Inbox, gateway: Gateway, log: ChainLog
) -> None:
    """Another partition holds the events of its asset, so its use may arrive before it."""
    former, anew = log.plan(9), log.plan(7)
    gateway.asset_id = anew.plan_created.terms.asset_id = "0x" + "bb" * 32
    await inbox.send(former)
    await inbox.send(retracted(former))
    lease = gateway.lease()
    await inbox.send(*gateway.calls(1, lease=lease))
    held = await inbox.rows("SELECT reason, detail FROM quarantine")
    assert [(row.reason, row.detail) for row in held] == [
        ("parent_missing", f"plan:{gateway.price_book_version}")
    ]
    await inbox.send(anew)
    await replay(inbox.subscription("usage.recorded"), lease)
    assert await dispositions(inbox) == [(7, "billed")]


async def test_charge_is_compared_with_the_terms_that_rated_it(
    inbox: Inbox, gateway: Gateway, log: ChainLog
) -> None:
    """A reorg gives the id anew, to a plan of the same asset at another price."""
    former = log.plan(9)
    await inbox.send(former)
    await inbox.send(*gateway.calls(1))
    await inbox.send(retracted(former))
    await inbox.send(*gateway.calls(2))
    await inbox.send(log.plan(8))
    await inbox.send(*gateway.calls(3))
    assert await dispositions(inbox) == [(9, "billed"), (0, "uncovered"), (24, "billed")]
    async with reading(inbox.engine) as session:
        page = await evidence.check_charges(
            session, CHAIN, eip712.domain_separator(CHAIN, ESCROW), Span(0, 3)
        )
    assert page.compared == 3
    assert page.differences == []
    await inbox.rows("UPDATE charges SET unit_price = 7 RETURNING 1")
    async with reading(inbox.engine) as session:
        page = await evidence.check_charges(
            session, CHAIN, eip712.domain_separator(CHAIN, ESCROW), Span(0, 3)
        )
    assert len(page.differences) == 3
