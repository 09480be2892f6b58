"""The figures of the ledger and of the charges that a reconciliation compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from licet_kit.ids import new_id
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing.db.ledger import GENESIS, batch_hash, commitment, content_bytes
from licet_billing.db.tables import ReconciliationRow
from licet_billing.domain.ledger import AccountKind
from licet_billing.domain.reconciliation import (
    LISTED,
    Check,
    DepositFigures,
    Difference,
    Reconciliation,
    Span,
)
from licet_billing.domain.settlement import BatchKey


async def balances(
    session: AsyncSession, chain_id: int, kind: AccountKind, *, is_open: bool = False
) -> dict[tuple[str, str], int]:
    """Posted balance of each account of a kind, from its entries: (owner, currency) to amount.

    With `is_open`, of those alone that are not empty.
    """
    rows = await session.execute(
        text(
            "SELECT a.owner, a.currency, sum(e.amount * a.normal) AS balance"
            " FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id"
            " JOIN ledger_transactions t ON t.id = e.transaction_id AND t.state = 'posted'"
            " WHERE a.chain_id = :chain_id AND a.kind = :kind GROUP BY a.owner, a.currency"
            " HAVING NOT :is_open OR sum(e.amount) <> 0"
        ),
        {"chain_id": chain_id, "kind": str(kind), "is_open": is_open},
    )
    return {(row.owner, row.currency): int(row.balance) for row in rows}


_DEPOSITS = """
SELECT a.owner,
       sum(e.amount * a.normal) FILTER (WHERE a.kind = 'customer') AS customer,
       sum(e.amount * a.normal) FILTER (WHERE a.kind = 'receivable') AS receivable,
       sum(e.amount * a.normal) FILTER (WHERE a.kind = 'accrued') AS accrued,
       sum(e.amount * a.normal) FILTER (WHERE a.kind = 'exits') AS exits,
       max(i.drawn) AS drawn
  FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id
  JOIN ledger_transactions t ON t.id = e.transaction_id AND t.state = 'posted'
  LEFT JOIN (SELECT deposit_id, sum(paid) AS drawn FROM settlement_items WHERE chain_id = :chain_id
              GROUP BY deposit_id) i ON i.deposit_id = a.owner
 WHERE a.chain_id = :chain_id AND a.kind IN ('customer', 'receivable', 'accrued', 'exits')
 GROUP BY a.owner
"""


async def deposits(session: AsyncSession, chain_id: int) -> dict[str, DepositFigures]:
    """Each deposit in the chain's terms: what is accrued is still spendable there.

    Settled lines are read once for all deposits: anybody makes a deposit, so their number is not ours to bound.
    """
    rows = await session.execute(text(_DEPOSITS), {"chain_id": chain_id})
    return {
        row.owner: DepositFigures(
            spendable=int((row.customer or 0) - (row.receivable or 0) + (row.accrued or 0)),
            drawn=int(row.drawn or 0),
            exits=int(row.exits or 0),
        )
        for row in rows
    }


async def accrued_by_charges(session: AsyncSession, chain_id: int) -> dict[str, int]:
    """Charges of each deposit that no posted settlement has drawn."""
    rows = await session.execute(
        text(
            "SELECT c.deposit_id, sum(c.amount) AS amount FROM charges c LEFT JOIN settlement_items i"
            " ON (i.chain_id, i.operator, i.number, i.position) = (c.chain_id, c.operator, c.batch, c.item)"
            " WHERE c.chain_id = :chain_id AND c.amount > 0 AND i.paid IS NULL GROUP BY c.deposit_id"
        ),
        {"chain_id": chain_id},
    )
    return {row.deposit_id: int(row.amount) for row in rows}


_CHARGES = """
WITH stated AS (
    SELECT 'charge:' || request_id AS id, amount FROM charges WHERE chain_id = :chain_id AND amount > 0
    UNION ALL
    SELECT 'loss:' || request_id, value FROM charges
     WHERE chain_id = :chain_id AND disposition <> 'billed' AND value > 0
), booked AS (
    SELECT t.id, max(e.amount) AS amount
      FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
     WHERE t.chain_id = :chain_id AND t.kind IN ('charge', 'loss') AND t.state = 'posted'
       AND NOT EXISTS (SELECT 1 FROM ledger_transactions r WHERE r.id = t.id || '/reversed')
     GROUP BY t.id
)
SELECT coalesce(stated.id, booked.id) AS id, coalesce(stated.amount, 0) AS stated, coalesce(booked.amount, 0) AS booked
  FROM stated FULL JOIN booked ON booked.id = stated.id
 WHERE stated.amount IS DISTINCT FROM booked.amount
 ORDER BY 1 LIMIT :limit
"""


async def charge_differences(session: AsyncSession, chain_id: int) -> list[Difference]:
    """Charges without their ledger transaction of the same amount, and transactions without their charge."""
    rows = await session.execute(text(_CHARGES), {"chain_id": chain_id, "limit": LISTED})
    return [Difference(Check.CHARGES, row.id, str(int(row.stated)), str(int(row.booked))) for row in rows]


async def book_differences(session: AsyncSession, chain_id: int) -> list[Difference]:
    """Currencies whose debits are not their credits, and balance rows that are not the sum of their entries."""
    trial = await session.execute(
        text(
            "SELECT t.currency, sum(e.amount) AS total FROM ledger_entries e JOIN ledger_transactions t"
            " ON t.id = e.transaction_id AND t.state = 'posted' WHERE t.chain_id = :chain_id"
            " GROUP BY t.currency HAVING sum(e.amount) <> 0"
        ),
        {"chain_id": chain_id},
    )
    rows = await session.execute(
        text(
            "SELECT b.account_id, b.balance, coalesce(s.total, 0) AS total FROM ledger_balances b"
            " JOIN ledger_accounts a ON a.id = b.account_id AND a.chain_id = :chain_id"
            " LEFT JOIN (SELECT e.account_id, sum(e.amount) AS total FROM ledger_entries e"
            " JOIN ledger_transactions t ON t.id = e.transaction_id AND t.state = 'posted' GROUP BY e.account_id) s"
            " ON s.account_id = b.account_id"
            " WHERE b.balance <> coalesce(s.total, 0) * a.normal LIMIT :limit"
        ),
        {"chain_id": chain_id, "limit": LISTED},
    )
    return [
        *(Difference(Check.TRIAL_BALANCE, row.currency, "0", str(int(row.total))) for row in trial),
        *(
            Difference(Check.BALANCE_ROWS, row.account_id, str(abs(int(row.total))), str(int(row.balance)))
            for row in rows
        ),
    ]


_CHAIN: Final = """
SELECT b.number, b.previous, b.hash, t.id, t.kind, t.cause, t.tx_hash, t.details, t.salt, t.commitment,
       e.accounts, e.amounts
  FROM (SELECT * FROM ledger_posting_batches WHERE number BETWEEN :after AND :through) b
  LEFT JOIN ledger_transactions t ON t.posting_batch = b.number
  LEFT JOIN LATERAL (
      SELECT array_agg(account_id ORDER BY position) AS accounts, array_agg(amount::text ORDER BY position) AS amounts
        FROM ledger_entries WHERE transaction_id = t.id) e ON true
 ORDER BY b.number, t.posting_index
"""


async def newest_posting(session: AsyncSession) -> int:
    """Number of the newest posting batch; 0 before the first."""
    return int(await session.scalar(text("SELECT max(number) FROM ledger_posting_batches")) or 0)


_POSTINGS_PAGE: Final = """
SELECT max(number) FROM (
    SELECT number, transactions, sum(transactions) OVER (ORDER BY number) AS together
      FROM ledger_posting_batches WHERE number > :after AND number <= :through ORDER BY number LIMIT :limit) b
 WHERE together <= :limit OR together = transactions
"""


async def postings_page(session: AsyncSession, span: Span, limit: int) -> Span:
    """The beginning of a span of posting batches that holds at most `limit` transactions, or one batch."""
    place = {"after": span.after, "through": span.through, "limit": limit}
    found = await session.scalar(text(_POSTINGS_PAGE), place)
    return Span(span.after, min(span.through, span.after + limit) if found is None else int(found))


async def chain_differences(session: AsyncSession, span: Span) -> list[Difference]:
    """Transactions that are not what they committed to, and posting batches that do not follow from the one before.

    The batch before the span is read for its hash and is compared with its own span.
    """
    found: list[Difference] = []
    batches: dict[int, tuple[bytes, bytes, list[bytes]]] = {}
    for row in await session.execute(text(_CHAIN), {"after": span.after, "through": span.through}):
        batch = batches.setdefault(row.number, (row.previous, row.hash, []))
        if row.id is None:
            continue
        batch[2].append(row.commitment)
        computed = commitment(row.salt, _content(row))
        if computed != row.commitment:
            found.append(Difference(Check.HASH_CHAIN, row.id, row.commitment.hex(), computed.hex()))
    for number in range(span.after + 1, span.through + 1):
        found += _link(number, batches)
    return found[:LISTED]


def _link(number: int, batches: Mapping[int, tuple[bytes, bytes, list[bytes]]]) -> list[Difference]:
    before = batches[number - 1][1] if number - 1 in batches else b"" if number > 1 else GENESIS
    if number not in batches:
        return [Difference(Check.HASH_CHAIN, str(number), f"follows {before.hex()}", "missing")]
    previous, hash_, commitments = batches[number]
    computed = batch_hash(number, before, commitments)
    if (previous, hash_) == (before, computed):
        return []
    return [
        Difference(
            Check.HASH_CHAIN,
            str(number),
            f"{before.hex()} {computed.hex()}",
            f"{previous.hex()} {hash_.hex()}",
        )
    ]


def _content(row: Any) -> bytes:
    entries = list(zip(row.accounts or (), row.amounts or (), strict=True))
    return content_bytes(row.id, row.kind, row.cause, entries, row.tx_hash, row.details)


async def posted_logs(session: AsyncSession, chain_id: int, blocks: Span) -> dict[str, str]:
    """Posted transactions of chain events in these blocks: `block hash:log index` to their entries as text."""
    rows = await session.execute(
        text(
            "SELECT t.block_hash || ':' || t.log_index || coalesce(substring(t.id FROM '/[0-9]+$'), '') AS place,"
            " string_agg(e.account_id || '=' || e.amount, ' ' ORDER BY e.position) AS entries"
            " FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id"
            " WHERE t.chain_id = :chain_id AND t.state = 'posted'"
            " AND t.block_number > :after AND t.block_number <= :through"
            " AND NOT EXISTS (SELECT 1 FROM ledger_transactions r WHERE r.id = t.id || '/reversed')"
            " GROUP BY t.id, t.block_hash, t.log_index"
        ),
        {"chain_id": chain_id, "after": blocks.after, "through": blocks.through},
    )
    return {row.place: row.entries for row in rows}


async def pending_differences(session: AsyncSession, chain_id: int, block: int) -> list[Difference]:
    """Money events up to a final block that are not posted."""
    rows = await session.execute(
        text(
            "SELECT id, kind FROM ledger_transactions WHERE state = 'pending' AND chain_id = :chain_id"
            " AND block_number <= :block ORDER BY block_number, log_index LIMIT :limit"
        ),
        {"chain_id": chain_id, "block": block, "limit": LISTED},
    )
    return [Difference(Check.PENDING, row.id, "posted", f"pending {row.kind}") for row in rows]


async def held_back(session: AsyncSession) -> list[Difference]:
    """Keys of billing's consumers that are in quarantine, with the number of messages behind them."""
    rows = await session.execute(
        text(
            "SELECT q.consumer, q.key, q.reason, count(p.id) AS messages FROM quarantine q"
            " LEFT JOIN parked p ON (p.consumer, p.topic, p.key) = (q.consumer, q.topic, q.key)"
            " GROUP BY q.consumer, q.topic, q.key, q.reason ORDER BY 1, 2 LIMIT :limit"
        ),
        {"limit": LISTED},
    )
    return [
        Difference(Check.HELD_BACK, f"{row.consumer}:{row.key}", "0", f"{row.messages} ({row.reason})")
        for row in rows
    ]


async def uncovered(session: AsyncSession, chain_id: int) -> int:
    """Number of charges beyond what their grants cover."""
    query = "SELECT count(*) FROM charges WHERE chain_id = :chain_id AND disposition = 'uncovered'"
    return int(await session.scalar(text(query), {"chain_id": chain_id}) or 0)


async def batches_posted(
    session: AsyncSession, chain_id: int, operator: str, since: int, again: Span
) -> list[Any]:
    """Batches whose lines were posted from blocks after `since`, or whose number is in `again`.

    Each with its row, the sums of its lines and their transactions.
    """
    rows = await session.execute(
        text(
            "SELECT b.number, b.state, b.root, b.digest, b.due, b.charges, b.tx_hash, sum(i.amount) AS lines,"
            " sum(i.paid) AS paid, sum(i.records) AS records, string_agg(DISTINCT t.tx_hash, ' ') AS booked_tx"
            " FROM settlement_batches b JOIN settlement_items i USING (chain_id, operator, number)"
            " LEFT JOIN ledger_transactions t ON t.id = i.settled_by"
            " WHERE b.chain_id = :chain_id AND b.operator = :operator"
            " GROUP BY b.chain_id, b.operator, b.number"
            " HAVING bool_and(i.paid IS NOT NULL) AND (max(t.block_number) > :since"
            " OR b.number > :after AND b.number <= :through) ORDER BY b.number"
        ),
        {
            "chain_id": chain_id,
            "operator": operator,
            "since": since,
            "after": again.after,
            "through": again.through,
        },
    )
    return list(rows.all())


async def newest_batch_posted(session: AsyncSession, chain_id: int, operator: str) -> int:
    """Highest number of the batches of which a line is posted; 0 where there is none."""
    query = (
        "SELECT max(number) FROM settlement_items WHERE chain_id = :chain_id AND operator = :operator"
        " AND paid IS NOT NULL"
    )
    return int(await session.scalar(text(query), {"chain_id": chain_id, "operator": operator}) or 0)


async def settled_in_ledger(session: AsyncSession, key: BatchKey) -> tuple[int, int]:
    """What the ledger booked for a batch's lines: drawn from deposits, and lost to the operator."""
    row = (
        await session.execute(
            text(
                "SELECT coalesce(-sum(e.amount) FILTER (WHERE a.kind = 'holds'), 0) AS paid,"
                " coalesce(sum(e.amount) FILTER (WHERE a.kind = 'operator_loss'), 0) AS lost"
                " FROM settlement_items i JOIN ledger_entries e ON e.transaction_id = i.settled_by"
                " JOIN ledger_accounts a ON a.id = e.account_id"
                " WHERE i.chain_id = :chain_id AND i.operator = :operator AND i.number = :number"
            ),
            {"chain_id": key.chain_id, "operator": key.operator, "number": key.number},
        )
    ).one()
    return int(row.paid), int(row.lost)


async def latest(session: AsyncSession, chain_id: int, *, exact: bool = False) -> ReconciliationRow | None:
    """The newest result of a chain; with `exact`, the newest without differences."""
    columns: Any = ReconciliationRow
    query = select(ReconciliationRow).where(columns.chain_id == chain_id)
    if exact:
        query = query.where(columns.exact)
    row: ReconciliationRow | None = await session.scalar(query.order_by(columns.seq.desc()).limit(1))
    return row


async def save(session: AsyncSession, result: Reconciliation) -> str:
    """Stores a result and returns its id."""
    values: dict[str, Any] = {"id": new_id(), "chain_id": result.chain_id}
    row = ReconciliationRow(
        **values,
        block_number=result.block_number,
        block_hash=result.block_hash,
        exact=result.exact,
        counts=dict(result.counts),
        differences=[asdict(difference) for difference in result.differences],
    )
    session.add(row)
    await session.flush()
    return row.id
