"""The ledger's rows: locking balances, writing transactions, and the hash chain over posting batches."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing.db.bulk import AMOUNT, insert_rows
from licet_billing.domain.errors import StateMoved
from licet_billing.domain.ledger import Account, AccountKind, Currency, Entry, Transaction, TransactionKind
from licet_billing.domain.money import ChainPosition

# Advisory lock of the head of the hash chain: the last lock that a posting takes, held to its commit.
_HEAD_LOCK: Final = 0x6C69636574_01
# First half of the advisory lock under which a chain's events are posted; the other half is the chain.
_POSTING_LOCK: Final = 0x6C6963
GENESIS: Final = bytes(32)
_SALT_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Stored:
    """A transaction with what the database keeps beside it: its place on chain, and the event's figures."""

    transaction: Transaction
    position: ChainPosition | None = None
    details: Mapping[str, str | int] = field(default_factory=dict)


def canonical(stored: Stored) -> bytes:
    """The bytes that a transaction's commitment covers."""
    made, position = stored.transaction, stored.position
    entries = [(entry.account.id, str(entry.amount)) for entry in made.entries]
    return content_bytes(
        made.id, made.kind, made.cause, entries, position.tx_hash if position else None, stored.details
    )


def content_bytes(
    id_: str,
    kind: str,
    cause: str,
    entries: Sequence[tuple[str, str]],
    tx_hash: str | None,
    details: Mapping[str, str | int],
) -> bytes:
    """The canonical form of a transaction, also of one that is read back: entries are (account, amount)."""
    content = {
        "id": id_,
        "kind": kind,
        "cause": cause,
        "entries": [list(entry) for entry in entries],
        "tx_hash": tx_hash,
        "details": dict(details),
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def commitment(salt: bytes, content: bytes) -> bytes:
    """sha256 over salt and content: hides what it commits to once the salt is erased."""
    return hashlib.sha256(salt + content).digest()


def batch_hash(number: int, previous: bytes, commitments: Iterable[bytes]) -> bytes:
    """Hash of a posting batch over the one before it and the commitments of its transactions, in order."""
    return hashlib.sha256(previous + number.to_bytes(8, "big") + b"".join(commitments)).digest()


async def open_accounts(session: AsyncSession, accounts: Collection[Account]) -> None:
    """Makes sure that these accounts exist. Sorted, so that two sessions that open the same ones do not deadlock."""
    rows = [
        (account.id, str(account.kind), account.currency.chain_id, account.currency.token, account.owner)
        for account in sorted(set(accounts))
    ]
    columns = {"id": "text", "kind": "text", "chain_id": "bigint", "currency": "text", "owner": "text"}
    await insert_rows(session, "ledger_accounts", columns, rows, conflict="ON CONFLICT DO NOTHING")


async def lock_balances(session: AsyncSession, accounts: Collection[Account]) -> dict[Account, int]:
    """Opens and locks these guarded accounts, in the order of their ids, and reads their balances."""
    await open_accounts(session, accounts)
    rows = await session.execute(
        text(
            "SELECT account_id, balance FROM ledger_balances WHERE account_id = ANY(:ids)"
            " ORDER BY account_id FOR UPDATE"
        ),
        {"ids": [account.id for account in accounts]},
    )
    balances = {row.account_id: int(row.balance) for row in rows}
    return {account: balances[account.id] for account in accounts}


async def known(session: AsyncSession, ids: Collection[str]) -> dict[str, str]:
    """State of each of these transactions that exists."""
    rows = await session.execute(
        text("SELECT id, state FROM ledger_transactions WHERE id = ANY(:ids)"), {"ids": list(ids)}
    )
    return {row.id: row.state for row in rows}


_TRANSACTION_COLUMNS = {
    "id": "text",
    "kind": "text",
    "state": "text",
    "cause": "text",
    "chain_id": "bigint",
    "currency": "text",
    "block_number": "bigint",
    "block_hash": "text",
    "log_index": "integer",
    "incarnation": "integer",
    "tx_hash": "text",
    "details": "jsonb",
    "salt": "bytea",
    "commitment": "bytea",
    "posting_batch": "bigint",
    "posting_index": "integer",
    "posted_at": "timestamptz",
}
_ENTRY_COLUMNS = {"transaction_id": "text", "position": "smallint", "account_id": "text", "amount": AMOUNT}


async def insert_pending(session: AsyncSession, made: Sequence[Stored], state: str = "pending") -> None:
    """Writes the transactions of a provisional chain event; balances do not move yet. A repeat changes nothing."""
    there = await known(session, [stored.transaction.id for stored in made])
    new = [stored for stored in made if stored.transaction.id not in there]
    await open_accounts(session, [entry.account for stored in new for entry in stored.transaction.entries])
    rows = []
    for stored in new:
        salt = secrets.token_bytes(_SALT_BYTES)
        rows.append(_row(stored, state, salt, commitment(salt, canonical(stored)), None))
    await _insert(session, [stored.transaction for stored in new], rows)


async def void(session: AsyncSession, ids: Collection[str]) -> None:
    """Drops pending transactions whose chain event has left the chain. Raises StateMoved where one is not pending."""
    changed = await session.execute(
        text(
            "UPDATE ledger_transactions SET state = 'voided' WHERE id = ANY(:ids) AND state = 'pending' RETURNING id"
        ),
        {"ids": list(ids)},
    )
    _require_all(len(ids), len(changed.all()))


def _require_all(expected: int, found: int) -> None:
    if found != expected:
        raise StateMoved(expected, found)


async def post(
    session: AsyncSession, transactions: Sequence[Transaction], pending: Collection[str] = ()
) -> None:
    """Posts transactions in this order as one posting batch; those whose ids are in `pending` exist already.

    The caller holds the locks of all guarded accounts that they touch. The hash chain's head is locked last, so
    that sessions which wait for it hold nothing that its holder still needs.
    """
    if not transactions:
        return
    new = [transaction for transaction in transactions if transaction.id not in pending]
    await open_accounts(session, [entry.account for made in new for entry in made.entries])
    commitments = await _commitments(session, pending)
    salts: dict[str, bytes] = {}
    for transaction in new:
        salts[transaction.id] = secrets.token_bytes(_SALT_BYTES)
        commitments[transaction.id] = commitment(salts[transaction.id], canonical(Stored(transaction)))
    number = await _seal(session, [commitments[transaction.id] for transaction in transactions])
    places = {transaction.id: (number, index) for index, transaction in enumerate(transactions)}
    rows = [
        _row(Stored(made), "posted", salts[made.id], commitments[made.id], places[made.id]) for made in new
    ]
    await _insert(session, new, rows)
    await _mark_posted(session, number, {id_: places[id_][1] for id_ in pending})


async def _commitments(session: AsyncSession, ids: Collection[str]) -> dict[str, bytes]:
    rows = await session.execute(
        text("SELECT id, commitment FROM ledger_transactions WHERE id = ANY(:ids)"), {"ids": list(ids)}
    )
    return {row.id: row.commitment for row in rows}


async def _seal(session: AsyncSession, commitments: Sequence[bytes]) -> int:
    """Appends a posting batch to the hash chain and returns its number."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _HEAD_LOCK})
    last = (
        await session.execute(
            text("SELECT number, hash FROM ledger_posting_batches ORDER BY number DESC LIMIT 1")
        )
    ).first()
    number, previous = (last.number + 1, last.hash) if last else (1, GENESIS)
    await session.execute(
        text(
            "INSERT INTO ledger_posting_batches (number, previous, hash, transactions)"
            " VALUES (:number, :previous, :hash, :transactions)"
        ),
        {
            "number": number,
            "previous": previous,
            "hash": batch_hash(number, previous, commitments),
            "transactions": len(commitments),
        },
    )
    return int(number)


def _row(
    stored: Stored, state: str, salt: bytes, committed: bytes, place: tuple[int, int] | None
) -> tuple[object, ...]:
    transaction, position = stored.transaction, stored.position
    return (
        transaction.id,
        str(transaction.kind),
        state,
        transaction.cause,
        transaction.currency.chain_id,
        transaction.currency.token,
        position.block_number if position else None,
        position.block_hash if position else None,
        position.log_index if position else None,
        position.incarnation if position else None,
        position.tx_hash if position else None,
        json.dumps(dict(stored.details)),
        salt,
        committed,
        place[0] if place else None,
        place[1] if place else None,
        datetime.now(UTC) if place else None,
    )


async def _insert(
    session: AsyncSession, transactions: Sequence[Transaction], rows: Sequence[Sequence[object]]
) -> None:
    await insert_rows(session, "ledger_transactions", _TRANSACTION_COLUMNS, rows)
    legs = [
        (transaction.id, position, entry.account.id, entry.amount)
        for transaction in transactions
        for position, entry in enumerate(transaction.entries)
    ]
    await insert_rows(session, "ledger_entries", _ENTRY_COLUMNS, legs)


async def _mark_posted(session: AsyncSession, number: int, indexes: Mapping[str, int]) -> None:
    if not indexes:
        return
    changed = await session.execute(
        text(
            "UPDATE ledger_transactions t SET state = 'posted', posted_at = now(), posting_batch = :number,"
            " posting_index = p.position FROM unnest(CAST(:ids AS text[]), CAST(:positions AS integer[]))"
            " AS p(id, position) WHERE t.id = p.id AND t.state = 'pending' RETURNING t.id"
        ),
        {"number": number, "ids": list(indexes), "positions": list(indexes.values())},
    )
    _require_all(len(indexes), len(changed.all()))


@dataclass(frozen=True, slots=True)
class Pending:
    """A pending transaction of a chain event, as it waits for finality."""

    transaction: Transaction
    block_number: int
    block_hash: str
    details: Mapping[str, str | int]


_PENDING = """
SELECT t.id, t.kind, t.cause, t.chain_id, t.currency, t.block_number, t.block_hash, t.details,
       array_agg(a.kind ORDER BY e.position) AS kinds, array_agg(a.owner ORDER BY e.position) AS owners,
       array_agg(e.amount::text ORDER BY e.position) AS amounts
  FROM ledger_transactions t
  JOIN ledger_entries e ON e.transaction_id = t.id JOIN ledger_accounts a ON a.id = e.account_id
"""


async def pending(session: AsyncSession, chain_id: int, through_block: int, limit: int) -> list[Pending]:
    """The oldest pending transactions up to a block, in chain order."""
    rows = await session.execute(
        text(
            _PENDING + " WHERE t.state = 'pending' AND t.chain_id = :chain_id AND t.block_number <= :block"
            " GROUP BY t.id ORDER BY t.block_number, t.log_index, t.seq LIMIT :limit"
        ),
        {"chain_id": chain_id, "block": through_block, "limit": limit},
    )
    return [Pending(_transaction(row), row.block_number, row.block_hash, row.details) for row in rows]


async def transaction(session: AsyncSession, id_: str) -> Transaction | None:
    """A transaction with its entries."""
    rows = await session.execute(text(_PENDING + " WHERE t.id = :id GROUP BY t.id"), {"id": id_})
    row = rows.first()
    return _transaction(row) if row else None


def _transaction(row: Any) -> Transaction:  # a row of _PENDING
    currency = Currency(row.chain_id, row.currency)
    entries = tuple(
        Entry(Account(AccountKind(kind), currency, owner), int(amount))
        for kind, owner, amount in zip(row.kinds, row.owners, row.amounts, strict=True)
    )
    return Transaction(row.id, TransactionKind(row.kind), entries, row.cause)


async def lock_posting(session: AsyncSession, chain_id: int) -> None:
    """One session at a time posts the events of a chain, in chain order, or takes back what may be posted."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(:space, :chain)"),
        {"space": _POSTING_LOCK, "chain": chain_id % 2**31},
    )
