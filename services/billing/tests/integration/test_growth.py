"""What strangers add makes nobody else's queries read more than once over it."""

from __future__ import annotations

import pytest
from licet_billing.db import reconciliation as rows
from licet_billing.domain.reconciliation import DepositFigures
from licet_kit.db import reading, transaction
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

DEPOSITS, ITEMS = 200, 5


async def rows_read(session: AsyncSession, table: str) -> int:
    """Rows of a table that this transaction has read so far, by scans and by indexes."""
    found = await session.scalar(
        text(
            "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
            " WHERE relname = :table"
        ),
        {"table": table},
    )
    return int(found or 0)


@pytest.fixture
async def crowded(engine: AsyncEngine) -> AsyncEngine:
    """Many deposits of 9, of each of which five lines of 1 were drawn, written behind the books' back."""
    of_each = f"FROM generate_series(1, {DEPOSITS}) g"
    statements = [
        "INSERT INTO ledger_accounts (id, kind, chain_id, currency, owner)"
        f" SELECT 'customer:1:t:d' || g, 'customer', 1, 't', 'd' || g {of_each}",
        "INSERT INTO ledger_transactions (id, kind, state, cause, chain_id, currency, tx_hash, salt, commitment,"
        " posting_batch, posting_index) SELECT 'x' || g, 'deposited', 'posted', 'c', 1, 't', '0x', '', '', 1, g"
        f" {of_each}",
        "INSERT INTO ledger_entries (transaction_id, position, account_id, amount)"
        f" SELECT 'x' || g, 0, 'customer:1:t:d' || g, -9 {of_each}",
        "INSERT INTO settlement_items (chain_id, operator, number, position, deposit_id, asset_id, currency,"
        " payer, amount, payer_root, records, paid, settled_by) SELECT 1, 'o', g, i, 'd' || g, 'a', 't', 'p', 1,"
        f" 'r', 1, 1, 'x' || g {of_each}, generate_series(1, {ITEMS}) i",
    ]
    async with transaction(engine) as session:
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            await session.execute(text(statement))
    return engine


async def test_deposits_read_each_settled_line_once(crowded: AsyncEngine) -> None:
    async with reading(crowded) as session:
        found = await rows.deposits(session, 1)
        assert await rows_read(session, "settlement_items") <= DEPOSITS * ITEMS
    assert found["d7"] == DepositFigures(spendable=9, drawn=ITEMS, exits=0)
    assert len(found) == DEPOSITS
