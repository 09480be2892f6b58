"""Money of the chain: pending until its block is final, dropped or reversed when its block leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

import pytest
from licet_billing.db import ledger as ledger_rows
from licet_billing.domain.errors import StateMoved
from licet_billing.domain.ledger import Account, AccountKind, Currency, Transaction
from licet_billing.domain.usage import DIRECT
from licet_billing.testing.builders import (
    ASSET,
    CHAIN,
    DEPOSIT,
    ESCROW,
    OPERATOR,
    OWNER,
    ROUTER,
    TOKEN,
    ChainLog,
    Gateway,
    again,
    finality,
    retracted,
)
from licet_billing.testing.inbox import Inbox, make_inbox
from licet_billing.usecases import chain
from licet_billing.usecases.chain import Books
from licet_kit.db import transaction
from licet_schemas.licet.chain.v1 import chain_pb2
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

USD = Currency(CHAIN, TOKEN)
CUSTOMER = Account(AccountKind.CUSTOMER, USD, DEPOSIT)
EARNINGS = Account(AccountKind.EARNINGS, USD, ASSET)
PAYOUTS = Account(AccountKind.PAYOUTS, USD, OWNER)
TREASURY = "0x" + "66" * 20
BOOKS = Books(CHAIN, OPERATOR, TREASURY)


@pytest.fixture
def inbox(engine: AsyncEngine) -> Inbox:
    return make_inbox(engine, CHAIN, ESCROW, OPERATOR)


@pytest.fixture
def log() -> ChainLog:
    return ChainLog()


def canonical(*events: chain_pb2.ChainEvent) -> dict[int, str]:
    return {event.block_number: event.block_hash for event in events}


async def post(inbox: Inbox, hashes: Mapping[int, str]) -> int:
    async with transaction(inbox.engine) as session:
        return await chain.post_final(session, BOOKS, hashes)


async def test_deposit_is_pending_until_its_block_is_final(inbox: Inbox, log: ChainLog) -> None:
    event = log.deposited(50)
    await inbox.send(event)
    assert await post(inbox, canonical(event)) == 0
    assert await inbox.balances(CUSTOMER) == (0,)
    await inbox.send(finality(event.block_number))
    assert await post(inbox, canonical(event)) == 1
    assert await inbox.balances(CUSTOMER) == (50,)
    assert await post(inbox, canonical(event)) == 0
    rows = await inbox.rows("SELECT tx_hash FROM ledger_transactions")
    assert [row.tx_hash for row in rows] == [event.tx_hash]


async def test_retraction_that_meets_a_posting_undoes_it(
    inbox: Inbox, log: ChainLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = log.deposited(50)
    await inbox.send(event)
    await inbox.send(finality(event.block_number))
    write, retracting = ledger_rows.post, []

    async def retract_meanwhile(
        session: AsyncSession, transactions: Sequence[Transaction], pending: Collection[str] = ()
    ) -> None:
        if pending:
            retracting.append(asyncio.create_task(inbox.send(retracted(event))))
            await asyncio.wait(retracting, timeout=0.3)
        await write(session, transactions, pending)

    monkeypatch.setattr(ledger_rows, "post", retract_meanwhile)
    assert await post(inbox, canonical(event)) == 1
    await asyncio.gather(*retracting)
    assert await inbox.balances(CUSTOMER) == (0,)
    rows = await inbox.rows("SELECT kind FROM ledger_transactions ORDER BY seq")
    assert [row.kind for row in rows] == ["deposited", "reversal"]


async def test_posting_that_meets_a_retraction_posts_nothing(
    inbox: Inbox, log: ChainLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = log.deposited(50)
    await inbox.send(event)
    await inbox.send(finality(event.block_number))
    drop, posting = ledger_rows.void, []

    async def post_meanwhile(session: AsyncSession, ids: Collection[str]) -> None:
        posting.append(asyncio.create_task(post(inbox, canonical(event))))
        await asyncio.wait(posting, timeout=0.3)
        await drop(session, ids)

    monkeypatch.setattr(ledger_rows, "void", post_meanwhile)
    await inbox.send(retracted(event))
    assert await asyncio.gather(*posting) == [0]
    assert await inbox.balances(CUSTOMER) == (0,)
    rows = await inbox.rows("SELECT state FROM ledger_transactions")
    assert [row.state for row in rows] == ["voided"]


async def test_what_is_pending_no_more_is_neither_voided_nor_posted(inbox: Inbox, log: ChainLog) -> None:
    event = log.deposited(50)
    await inbox.send(event)
    await inbox.send(finality(event.block_number))
    async with transaction(inbox.engine) as session:
        (waiting,) = await chain.awaiting_post(session, CHAIN)
    await inbox.send(retracted(event))
    made = waiting.transaction
    async with transaction(inbox.engine) as session:
        with pytest.raises(StateMoved):
            await ledger_rows.void(session, [made.id])
    with pytest.raises(StateMoved):
        async with transaction(inbox.engine) as session:
            await ledger_rows.post(session, [made], {made.id})


async def test_event_of_a_block_that_was_replaced_is_never_posted(inbox: Inbox, log: ChainLog) -> None:
    """Its retraction is late: finality of the replacing block has arrived, and only the chain's hash tells."""
    event = log.deposited(50)
    await inbox.send(event)
    await inbox.send(finality(event.block_number + 5))
    assert await post(inbox, {event.block_number: "0x" + "ee" * 32}) == 0
    assert await post(inbox, {}) == 0
    assert await inbox.balances(CUSTOMER) == (0,)
    await inbox.send(retracted(event))
    rows = await inbox.rows("SELECT state FROM ledger_transactions")
    assert [row.state for row in rows] == ["voided"]


async def test_block_that_comes_back_counts_once(inbox: Inbox, log: ChainLog) -> None:
    """A, then B, then A again: three truths, one deposit."""
    event = log.deposited(50)
    await inbox.send(event, retracted(event), again(event))
    await inbox.send(finality(event.block_number))
    assert await post(inbox, canonical(event)) == 1
    assert await inbox.balances(CUSTOMER) == (50,)
    rows = await inbox.rows("SELECT state FROM ledger_transactions ORDER BY incarnation")
    assert [row.state for row in rows] == ["voided", "posted"]


async def test_retraction_before_its_observation_leaves_nothing(inbox: Inbox, log: ChainLog) -> None:
    event = log.deposited(50)
    await inbox.send(retracted(event))
    await inbox.send(event)
    await inbox.send(finality(event.block_number))
    assert await post(inbox, canonical(event)) == 0
    assert await inbox.balances(CUSTOMER) == (0,)


async def test_retraction_of_a_posted_event_is_a_reversal(inbox: Inbox, log: ChainLog) -> None:
    event = log.deposited(50)
    await inbox.send(event)
    await inbox.send(finality(event.block_number))
    await post(inbox, canonical(event))
    await inbox.send(retracted(event))
    await inbox.send(retracted(event))
    assert await inbox.balances(CUSTOMER) == (0,)
    kinds = await inbox.rows("SELECT kind FROM ledger_transactions ORDER BY seq")
    assert [row.kind for row in kinds] == ["deposited", "reversal"]


def revenue(log: ChainLog, amount: int) -> chain_pb2.ChainEvent:
    payload = chain_pb2.RevenueReceived(asset_id=ASSET, token=TOKEN, amount=str(amount), source="sale")
    return log.event(ROUTER, revenue_received=payload)


def distributed(log: ChainLog, amount: int, fee: int) -> chain_pb2.ChainEvent:
    payload = chain_pb2.Distributed(
        asset_id=ASSET,
        token=TOKEN,
        amount=str(amount),
        fee=str(fee),
        payee=OWNER,
        payee_amount=str(amount - fee),
    )
    return log.event(ROUTER, distributed=payload)


def claimed(log: ChainLog, account: str, amount: int) -> chain_pb2.ChainEvent:
    return log.event(ROUTER, claimed=chain_pb2.Claimed(account=account, token=TOKEN, amount=str(amount)))


async def test_claim_that_arrives_before_its_distribution_waits_for_it(inbox: Inbox, log: ChainLog) -> None:
    first, second, third = revenue(log, 100), distributed(log, 100, 5), claimed(log, OWNER, 95)
    await inbox.send(third)
    await inbox.send(finality(99))
    assert await post(inbox, canonical(first, second, third)) == 0
    await inbox.send(second, first)
    assert await post(inbox, canonical(first, second, third)) == 3
    assert await inbox.balances(EARNINGS, PAYOUTS) == (0, 0)


async def test_treasury_claims_the_fees(inbox: Inbox, log: ChainLog) -> None:
    events = [revenue(log, 100), distributed(log, 100, 5), claimed(log, TREASURY, 5)]
    await inbox.send(*events)
    await inbox.send(finality(99))
    assert await post(inbox, canonical(*events)) == 3
    fees = Account(AccountKind.PROTOCOL_FEE, USD, ROUTER)
    assert await inbox.balances(fees) == (0,)
    await inbox.send(retracted(events[2]))
    assert await inbox.balances(fees) == (5,)


async def test_reversal_that_comes_too_early_waits_for_its_turn(inbox: Inbox, log: ChainLog) -> None:
    events = [revenue(log, 100), distributed(log, 100, 5)]
    await inbox.send(*events)
    await inbox.send(finality(99))
    await post(inbox, canonical(*events))
    await inbox.send(retracted(events[0]))
    rows = await inbox.rows("SELECT reason FROM quarantine")
    assert [row.reason for row in rows] == ["parent_missing"]
    assert await inbox.balances(EARNINGS, PAYOUTS) == (0, 95)


async def test_deposit_to_another_operator_is_not_in_these_books(inbox: Inbox, log: ChainLog) -> None:
    await inbox.send(log.deposited(50, operator="0x" + "99" * 20))
    assert await inbox.rows("SELECT 1 FROM ledger_transactions") == []


async def test_settled_line_that_was_not_sent_from_here_stays_pending(inbox: Inbox, log: ChainLog) -> None:
    """Although the deposit has a charge of that very amount."""
    gateway = Gateway()
    await inbox.send(log.plan(7), log.key())
    await inbox.send(gateway.deposit_changed(50))
    await inbox.send(*gateway.calls(1))
    line = chain_pb2.SettledLine(deposit_id=DEPOSIT, authority=DIRECT, due="7", paid="7", records=1)
    group = chain_pb2.GroupSettled(operator=OPERATOR, batch=1, asset_id=ASSET, token=TOKEN, lines=[line])
    event = log.event(ESCROW, group_settled=group)
    await inbox.send(event)
    await inbox.send(finality(99))
    assert await post(inbox, canonical(event)) == 0
    assert await inbox.balances(Account(AccountKind.ACCRUED, USD, DEPOSIT)) == (7,)


async def test_two_replicas_that_post_at_once_post_each_event_once(inbox: Inbox, log: ChainLog) -> None:
    events = [log.deposited(10) for _ in range(20)]
    await inbox.send(*events)
    await inbox.send(finality(99))
    posted = await asyncio.gather(*(post(inbox, canonical(*events)) for _ in range(4)))
    assert sorted(posted) == [0, 0, 0, 20]
    assert await inbox.balances(CUSTOMER) == (200,)


async def test_use_before_finality_is_owed_and_covered_by_the_deposit(inbox: Inbox, log: ChainLog) -> None:
    gateway = Gateway()
    await inbox.send(log.plan(7), log.key())
    await inbox.send(gateway.deposit_changed(50))
    event = log.deposited(50)
    await inbox.send(event)
    await inbox.send(*gateway.calls(2))
    owed = Account(AccountKind.RECEIVABLE, USD, DEPOSIT)
    assert await inbox.balances(CUSTOMER, owed) == (0, 14)
    await inbox.send(finality(99))
    await post(inbox, canonical(event))
    assert await inbox.balances(CUSTOMER, owed) == (36, 0)
