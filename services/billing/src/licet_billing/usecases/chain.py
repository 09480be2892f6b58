"""Chain events: plans and keys as they stand now, money as pending until its block is final."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing.db import ledger as ledger_rows
from licet_billing.db import rights
from licet_billing.db import settlement as settlement_rows
from licet_billing.db.ledger import Pending, Stored
from licet_billing.domain.errors import MissingParent, Overdraft
from licet_billing.domain.ledger import (
    Book,
    Transaction,
    TransactionKind,
    accounts_touched,
    fee_transaction_id,
    reversal,
)
from licet_billing.domain.money import (
    ChainPosition,
    Claimed,
    Distributed,
    MoneyEvent,
    RevenueReceived,
    moves_money,
    transaction_of,
)
from licet_billing.domain.receipts import OperatorKey
from licet_billing.domain.settlement import BatchKey
from licet_billing.domain.usage import Plan

# Pending transactions that one look posts at most; the next look takes the rest.
POSTING_LIMIT: Final = 500


@dataclass(frozen=True, slots=True)
class Books:
    """Whose books these are on one chain: the operator, and the account that the router pays protocol fees to."""

    chain_id: int
    operator: str
    treasury: str


async def observe_plan(session: AsyncSession, plan: Plan, position: ChainPosition) -> None:
    """Stores a plan, as gone if this truth has left the chain already."""
    gone = await rights.is_retracted(session, position.id)
    await rights.save_plan(session, replace(plan, gone=gone), position)


async def observe_operator_key(session: AsyncSession, key: OperatorKey) -> bool:
    """Stores a receipt key's validity; False if this truth has left the chain already."""
    if await rights.is_retracted(session, key.position_id):
        return False
    await rights.save_operator_key(session, key)
    return True


async def retract_state(session: AsyncSession, position: ChainPosition) -> None:
    """Takes back the plan or key that came from this log."""
    await rights.remember_retracted(session, position.id)
    await rights.retract(session, position.id)


def is_ours(event: MoneyEvent, operator: str) -> bool:
    """Whether these books hold it: all of the router's, and the escrow's for this operator."""
    return isinstance(event, RevenueReceived | Distributed | Claimed) or event.operator == operator


async def observe_money(session: AsyncSession, said: Sequence[tuple[ChainPosition, MoneyEvent]]) -> None:
    """Books the money events of a log as pending: they move no balance before their block is final."""
    stored = [_stored(position, event) for position, event in said if moves_money(event)]
    await ledger_rows.insert_pending(session, stored)


async def retract_money(session: AsyncSession, position: ChainPosition, event: MoneyEvent) -> None:
    """Drops what was pending. What was posted, because the chain lost even a final block, is reversed.

    Raises MissingParent while the money has moved on and the retraction of that has not arrived.
    """
    if not moves_money(event):
        return
    stored = _stored(position, event)
    await ledger_rows.lock_posting(session, position.chain_id)
    state = (await ledger_rows.known(session, [position.id])).get(position.id)
    if state is None:
        await ledger_rows.insert_pending(session, [stored], state="voided")
    elif state == "pending":
        await ledger_rows.void(session, [position.id])
    elif state == "posted":
        await _reverse(session, stored)


async def _reverse(session: AsyncSession, stored: Stored) -> None:
    undone = [
        stored.transaction,
        await ledger_rows.transaction(session, fee_transaction_id(stored.transaction.id)),
    ]
    undo = [reversal(transaction) for transaction in undone if transaction is not None]
    if await ledger_rows.known(session, [undo[0].id]):
        return
    book = Book(await ledger_rows.lock_balances(session, accounts_touched(undo)))
    try:
        for transaction in undo:
            book.post(transaction)
    except Overdraft as error:
        raise MissingParent(f"retraction:{error.account_id}") from error
    await ledger_rows.post(session, book.posted)
    if stored.transaction.kind is TransactionKind.LINE_SETTLED:
        await _save_paid(session, stored.transaction, stored.details, paid=None)


def _stored(position: ChainPosition, event: MoneyEvent) -> Stored:
    figures = {name: str(value) for name, value in asdict(event).items()}
    return Stored(transaction_of(position, event), position, figures)


async def note_finality(session: AsyncSession, chain_id: int, number: int, hash_: str, time: int) -> bool:
    """Raises the chain's final block; says whether it rose."""
    return await rights.save_finality(session, chain_id, number, hash_, time)


async def awaiting_post(session: AsyncSession, chain_id: int) -> list[Pending]:
    """Pending transactions whose block number is final; their block's hash is still to be checked."""
    final, _ = await rights.finality(session, chain_id)
    return await ledger_rows.pending(session, chain_id, final, POSTING_LIMIT)


async def post_final(session: AsyncSession, books: Books, canonical: Mapping[int, str]) -> int:
    """Posts what is final, in chain order; returns how many chain events were posted.

    `canonical` maps block numbers to their hashes as the chain has them. An observation may arrive late, after the
    finality of a block that replaced its own and before its retraction: its hash tells. What lacks its
    counterpart (a claim whose distribution is still on its way) stays pending for the next look.
    """
    await ledger_rows.lock_posting(session, books.chain_id)
    waiting = [
        pending
        for pending in await awaiting_post(session, books.chain_id)
        if canonical.get(pending.block_number) == pending.block_hash and await _fits(session, pending)
    ]
    touched = accounts_touched(pending.transaction for pending in waiting)
    book = Book(await ledger_rows.lock_balances(session, touched), {books.chain_id: books.treasury})
    posted = [pending for pending in waiting if _try_post(book, pending.transaction)]
    await ledger_rows.post(session, book.posted, {pending.transaction.id for pending in posted})
    for pending in posted:
        if pending.transaction.kind is TransactionKind.LINE_SETTLED:
            await _save_paid(session, pending.transaction, pending.details, paid=int(pending.details["paid"]))
    return len(posted)


def _try_post(book: Book, transaction: Transaction) -> bool:
    try:
        book.post(transaction)
    except Overdraft:
        return False
    return True


async def _fits(session: AsyncSession, pending: Pending) -> bool:
    """A settled line is posted only where it is the line that was sent."""
    if pending.transaction.kind is not TransactionKind.LINE_SETTLED:
        return True
    details = pending.details
    item = await settlement_rows.item(
        session, _batch_key(pending.transaction, details), int(details["index"])
    )
    if item is None:
        return False
    sent = (item.deposit_id, item.authority, item.window, item.asset_id, item.amount, item.records)
    names = ("deposit_id", "authority", "window", "asset_id", "due", "records")
    return tuple(str(value) for value in sent) == tuple(str(details[name]) for name in names)


def _batch_key(transaction: Transaction, details: Mapping[str, str | int]) -> BatchKey:
    return BatchKey(transaction.currency.chain_id, str(details["operator"]), int(details["batch"]))


async def _save_paid(
    session: AsyncSession, transaction: Transaction, details: Mapping[str, str | int], *, paid: int | None
) -> None:
    await settlement_rows.save_paid(
        session,
        _batch_key(transaction, details),
        int(details["index"]),
        paid=paid,
        by=None if paid is None else transaction.id,
    )


def blocks_of(waiting: Collection[Pending]) -> set[int]:
    """Block numbers whose hashes `post_final` needs."""
    return {pending.block_number for pending in waiting}
