"""Pages and details for the API."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing.domain.ledger import Account, Currency


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """An account with its posted sums, all positive; `balance` is in its normal direction."""

    id: str
    kind: str
    chain_id: int
    currency: str
    owner: str
    debits: int
    credits: int
    balance: int


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg of a transaction; a debit is positive."""

    account: str
    amount: int


@dataclass(frozen=True, slots=True)
class TransactionDetails:
    """A transaction as the API shows it."""

    seq: int
    id: str
    kind: str
    state: str
    cause: str
    chain_id: int
    currency: str
    tx_hash: str | None
    block_number: int | None
    created_at: datetime
    posted_at: datetime | None
    legs: tuple[Leg, ...]


_ACCOUNTS: Final = """
SELECT a.id, a.kind, a.chain_id, a.currency, a.owner, a.normal,
       coalesce(sum(e.amount) FILTER (WHERE e.amount > 0 AND t.state = 'posted'), 0) AS debits,
       coalesce(-sum(e.amount) FILTER (WHERE e.amount < 0 AND t.state = 'posted'), 0) AS credits
  FROM (SELECT * FROM ledger_accounts WHERE id > :after ORDER BY id LIMIT :limit) a
  LEFT JOIN ledger_entries e ON e.account_id = a.id
  LEFT JOIN ledger_transactions t ON t.id = e.transaction_id
 GROUP BY a.id, a.kind, a.chain_id, a.currency, a.owner, a.normal ORDER BY a.id
"""


async def accounts(session: AsyncSession, *, after: str, limit: int) -> list[AccountFigures]:
    """Accounts by id, after the cursor."""
    rows = await session.execute(text(_ACCOUNTS), {"after": after, "limit": limit})
    return [
        AccountFigures(
            row.id,
            row.kind,
            row.chain_id,
            row.currency,
            row.owner,
            int(row.debits),
            int(row.credits),
            int(row.debits - row.credits) * row.normal,
        )
        for row in rows
    ]


_TRANSACTIONS: Final = """
SELECT t.seq, t.id, t.kind, t.state, t.cause, t.chain_id, t.currency, t.tx_hash, t.block_number, t.created_at,
       t.posted_at, array_agg(e.account_id ORDER BY e.position) AS accounts,
       array_agg(e.amount::text ORDER BY e.position) AS amounts
  FROM (SELECT * FROM ledger_transactions WHERE seq < :before ORDER BY seq DESC LIMIT :limit) t
  JOIN ledger_entries e ON e.transaction_id = t.id
 GROUP BY t.seq, t.id, t.kind, t.state, t.cause, t.chain_id, t.currency, t.tx_hash, t.block_number, t.created_at,
          t.posted_at ORDER BY t.seq DESC
"""
_NEWEST: Final = 2**63 - 1


async def transactions(session: AsyncSession, *, before: int | None, limit: int) -> list[TransactionDetails]:
    """Transactions, newest first, below the cursor."""
    rows = await session.execute(
        text(_TRANSACTIONS), {"before": _NEWEST if before is None else before, "limit": limit}
    )
    return [_details(row) for row in rows]


def _details(row: Any) -> TransactionDetails:
    legs = tuple(Leg(account, int(amount)) for account, amount in zip(row.accounts, row.amounts, strict=True))
    return TransactionDetails(
        row.seq,
        row.id,
        row.kind,
        row.state,
        row.cause,
        row.chain_id,
        row.currency,
        row.tx_hash,
        row.block_number,
        row.created_at,
        row.posted_at,
        legs,
    )


@dataclass(frozen=True, slots=True)
class OwnDeposit:
    """A deposit as its grant names it; addresses are lowercase."""

    currency: Currency
    deposit_id: str
    payer: str


async def own_deposits(
    session: AsyncSession, wallets: Collection[str], operator: str, chain_ids: Collection[int]
) -> list[OwnDeposit]:
    """The deposits of these wallets that licensing has told of, which it does of each when it is observed."""
    rows = await session.execute(
        text(
            "SELECT chain_id, currency, token_id, wallet FROM grants WHERE source IN ('deposit', 'credits')"
            " AND wallet = ANY(:wallets) AND operator = :operator AND chain_id = ANY(:chain_ids)"
            " ORDER BY chain_id, currency, wallet"
        ),
        {
            "wallets": [wallet.lower() for wallet in wallets],
            "operator": operator,
            "chain_ids": list(chain_ids),
        },
    )
    return [OwnDeposit(Currency(row.chain_id, row.currency), row.token_id, row.wallet) for row in rows]


async def guarded_balances(session: AsyncSession, wanted: Collection[Account]) -> dict[str, int]:
    """Balance of each of these accounts that exists, by id."""
    rows = await session.execute(
        text("SELECT account_id, balance FROM ledger_balances WHERE account_id = ANY(:ids)"),
        {"ids": [account.id for account in wanted]},
    )
    return {row.account_id: int(row.balance) for row in rows}


async def pending_deposits(session: AsyncSession, ids: Sequence[str]) -> dict[str, int]:
    """Money of each customer account whose chain event is not final yet, by account id."""
    rows = await session.execute(
        text(
            "SELECT e.account_id, -sum(e.amount) AS amount FROM ledger_entries e JOIN ledger_transactions t"
            " ON t.id = e.transaction_id AND t.state = 'pending' WHERE e.account_id = ANY(:ids)"
            " GROUP BY e.account_id"
        ),
        {"ids": list(ids)},
    )
    return {row.account_id: int(row.amount) for row in rows}
