"""The database itself refuses what the ledger's rules forbid, whoever asks."""

from __future__ import annotations

import asyncio

import pytest
from licet_billing.db import ledger as rows
from licet_billing.db.ledger import Stored
from licet_billing.domain.errors import StateMoved
from licet_billing.domain.ledger import (
    Account,
    AccountKind,
    Book,
    Currency,
    Transaction,
    TransactionKind,
    accounts_touched,
    move,
)
from licet_billing.domain.money import ChainPosition, Deposited, transaction_of
from licet_kit.db import transaction
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

USD = Currency(31337, "0x" + "11" * 20)
CUSTOMER = Account(AccountKind.CUSTOMER, USD, "0x" + "dd" * 32)
ACCRUED = Account(AccountKind.ACCRUED, USD, "0x" + "dd" * 32)
ESCROW = Account(AccountKind.CLEARING, USD, "0x" + "22" * 20)


def deposit(number: int, amount: int) -> Transaction:
    return transaction_of(place(number), Deposited(CUSTOMER.owner, "0x0e", USD.token, amount))


def place(number: int) -> ChainPosition:
    return ChainPosition(31337, number, f"0x{number:064x}", 0, 1, f"0x{number:064x}", ESCROW.owner)


def spend(id_: str, amount: int, owner: str = CUSTOMER.owner) -> Transaction:
    customer, accrued = Account(AccountKind.CUSTOMER, USD, owner), Account(AccountKind.ACCRUED, USD, owner)
    return move(id_, TransactionKind.CHARGE, id_, (customer, amount), (accrued, -amount))


async def post(engine: AsyncEngine, *made: Transaction) -> None:
    async with transaction(engine) as session:
        book = Book(await rows.lock_balances(session, accounts_touched(made)))
        for each in made:
            book.post(each)
        await rows.post(session, book.posted)


async def fund(engine: AsyncEngine, amount: int) -> None:
    async with transaction(engine) as session:
        made = deposit(1, amount)
        await rows.insert_pending(session, [Stored(made, place(1), {"amount": str(amount)})])
        await rows.lock_balances(session, accounts_touched([made]))
        await rows.post(session, [made], {made.id})


async def balance(engine: AsyncEngine, account: Account) -> int:
    async with transaction(engine) as session:
        return (await rows.lock_balances(session, [account]))[account]


async def raw_post(session: AsyncSession, made: Transaction) -> None:
    """Posts without asking the book: what a bug, or a person at the database, would do."""
    await rows.open_accounts(session, [entry.account for entry in made.entries])
    await rows.post(session, [made])


async def test_overdraft_is_refused_by_the_database(engine: AsyncEngine) -> None:
    await fund(engine, 10)
    with pytest.raises(IntegrityError, match="overdrawn to -1"):
        async with transaction(engine) as session:
            await raw_post(session, spend("too-much", 11))
    assert await balance(engine, CUSTOMER) == 10


async def test_unbalanced_transaction_is_refused_by_the_database(engine: AsyncEngine) -> None:
    await fund(engine, 10)
    made = spend("short", 5)
    object.__setattr__(made, "entries", (made.entries[0],))
    with pytest.raises(IntegrityError, match="unbalanced: 1 entries, off by 5"):
        async with transaction(engine) as session:
            await raw_post(session, made)


async def test_legs_of_two_currencies_are_refused_by_the_database(engine: AsyncEngine) -> None:
    other = Account(AccountKind.ACCRUED, Currency(1, USD.token), ACCRUED.owner)
    made = spend("mixed", 5)
    object.__setattr__(made, "entries", (made.entries[0], type(made.entries[0])(other, -5)))
    await fund(engine, 10)
    with pytest.raises(IntegrityError, match="1 in another currency"):
        async with transaction(engine) as session:
            await raw_post(session, made)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entries SET amount = amount + 1",
        "DELETE FROM ledger_entries",
        "TRUNCATE ledger_entries CASCADE",
        "UPDATE ledger_transactions SET cause = 'other'",
        "UPDATE ledger_transactions SET state = 'voided', posting_batch = NULL, posting_index = NULL",
        "DELETE FROM ledger_transactions",
        "UPDATE ledger_balances SET balance = balance + 1",
        "DELETE FROM ledger_balances",
        "UPDATE ledger_accounts SET owner = 'other'",
        "UPDATE ledger_posting_batches SET transactions = 9",
        "DELETE FROM ledger_posting_batches",
        "INSERT INTO ledger_entries SELECT transaction_id, 9, account_id, 1 FROM ledger_entries LIMIT 1",
    ],
)
async def test_what_is_written_cannot_be_changed(engine: AsyncEngine, statement: str) -> None:
    await fund(engine, 10)
    with pytest.raises(IntegrityError, match=r"append-only|is complete|by postings only"):
        async with transaction(engine) as session:
            await session.execute(text(statement))


async def test_same_transaction_id_is_posted_once(engine: AsyncEngine) -> None:
    await fund(engine, 10)
    await post(engine, spend("one", 4))
    with pytest.raises(IntegrityError):
        await post(engine, spend("one", 4))
    assert await balance(engine, CUSTOMER) == 6


async def test_pending_moves_nothing_until_it_is_posted_and_a_voided_one_never(engine: AsyncEngine) -> None:
    async with transaction(engine) as session:
        for number in (1, 2):
            await rows.insert_pending(session, [Stored(deposit(number, 10), place(number))])
        await rows.void(session, [place(2).id])
    assert await balance(engine, CUSTOMER) == 0
    async with transaction(engine) as session:
        await rows.lock_balances(session, [CUSTOMER])
        await rows.post(session, [deposit(1, 10)], {place(1).id})
    assert await balance(engine, CUSTOMER) == 10
    with pytest.raises(StateMoved):
        async with transaction(engine) as session:
            await rows.post(session, [deposit(2, 10)], {place(2).id})
    with pytest.raises(IntegrityError, match="append-only"):
        async with transaction(engine) as session:
            await session.execute(
                text("UPDATE ledger_transactions SET state = 'posted' WHERE id = :id"), {"id": place(2).id}
            )


async def test_concurrent_spending_never_exceeds_the_balance(engine: AsyncEngine) -> None:
    await fund(engine, 100)
    await asyncio.gather(*(post(engine, spend(f"s{i}", 7)) for i in range(20)))
    async with transaction(engine) as session:
        owed = Account(AccountKind.RECEIVABLE, USD, CUSTOMER.owner)
        found = await rows.lock_balances(session, [CUSTOMER, ACCRUED, owed])
    assert (found[CUSTOMER], found[ACCRUED], found[owed]) == (0, 140, 40)


async def test_posting_batches_form_one_hash_chain(engine: AsyncEngine) -> None:
    """Of customers who share no balance row, so that nothing but the chain's own head keeps them apart."""
    await asyncio.gather(
        *(post(engine, spend(f"a{i}", 1, f"0x{i}"), spend(f"b{i}", 2, f"0x{i}")) for i in range(6))
    )
    async with transaction(engine) as session:
        chain = (await session.execute(text("SELECT * FROM ledger_posting_batches ORDER BY number"))).all()
        previous = rows.GENESIS
        for link in chain:
            found = await session.execute(
                text(
                    "SELECT commitment FROM ledger_transactions WHERE posting_batch = :n ORDER BY posting_index"
                ),
                {"n": link.number},
            )
            commitments = list(found.scalars())
            assert link.previous == previous
            assert link.transactions == len(commitments)
            assert link.hash == rows.batch_hash(link.number, previous, commitments)
            previous = link.hash
        assert [link.number for link in chain] == [1, 2, 3, 4, 5, 6]
