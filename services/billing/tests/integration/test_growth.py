"""What strangers add makes nobody else's queries read more than once over it."""

from __future__ import annotations

import pytest
from licet_billing.db import reconciliation as rows
from licet_billing.domain.reconciliation import DepositFigures, Span
from licet_billing.testing.builders import CHAIN, DEPOSIT, ESCROW, OPERATOR, PAYER, ChainLog, Gateway
from licet_billing.testing.inbox import make_inbox
from licet_billing.usecases import evidence
from licet_billing.usecases import reading as use_reading
from licet_kit.db import reading, transaction
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

DEPOSITS, ITEMS, STRANGERS = 200, 5, 2000


async def rows_read(session: AsyncSession, *tables: str) -> int:
    """Rows of these tables that this connection has read since it last told the statistics."""
    found = await session.scalar(
        text(
            "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
            " WHERE relname = ANY(:tables)"
        ),
        {"tables": list(tables)},
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
        " payer, amount, payer_root, records, paid, settled_by, authority, \"window\") SELECT 1, 'o', g, i,"
        f" 'd' || g, 'a', 't', 'p', 1, 'r', 1, 1, 'x' || g, '', 0 {of_each}, generate_series(1, {ITEMS}) i",
    ]
    async with transaction(engine) as session:
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            await session.execute(text(statement))
    return engine


async def test_deposits_read_each_settled_line_once(crowded: AsyncEngine) -> None:
    async with reading(crowded) as session:
        before = await rows_read(session, "settlement_items")
        found = await rows.deposits(session, 1)
        assert await rows_read(session, "settlement_items") - before <= DEPOSITS * ITEMS
    assert found["d7"] == DepositFigures(spendable=9, drawn=ITEMS, exits=0)
    assert len(found) == DEPOSITS


async def test_balance_reads_the_callers_own_deposits_alone(engine: AsyncEngine) -> None:
    inbox = make_inbox(engine, CHAIN, ESCROW, OPERATOR)
    await inbox.send(ChainLog().deposited(100))
    await inbox.send(Gateway().deposit_changed(100))
    await _others_deposit(engine)
    tables = ("grants", "ledger_accounts", "ledger_balances")
    async with reading(engine) as session:
        before = await rows_read(session, *tables)
        (mine,) = await use_reading.deposits_of(session, [PAYER], OPERATOR, [CHAIN])
        read = await rows_read(session, *tables) - before
    assert (mine.deposit_id, mine.payer, mine.provisional) == (DEPOSIT, PAYER, 100)
    assert read <= 10


async def _others_deposit(engine: AsyncEngine) -> None:
    """Each stranger in a token of their own."""
    other, token = f"FROM generate_series(1, {STRANGERS}) g", "'0x' || lpad(g::text, 40, '0')"
    statements = [
        "INSERT INTO ledger_accounts (id, kind, chain_id, currency, owner)"
        f" SELECT 'customer:' || g, 'customer', {CHAIN}, {token}, 'd' || g {other}",
        "INSERT INTO grants (grant_id, version, source, state, account_id, wallet, chain_id, contract, token_id,"
        " plan_id, asset_id, currency, operator, granted, \"window\") SELECT 'g' || g, 1, 'deposit', 'live', '',"
        f" 'w' || g, {CHAIN}, '{ESCROW}', 'd' || g, '', '', {token}, '{OPERATOR}', 1, 0 {other}",
    ]
    async with transaction(engine) as session:
        for statement in statements:
            await session.execute(text(statement))
    async with transaction(engine) as session:
        await session.execute(text("ANALYZE"))


async def test_postings_are_read_by_their_transactions(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of 1, 2, ... 7 transactions; the fourth is lost, as are those behind the seventh."""
    monkeypatch.setattr(evidence, "PAGE", 6)
    statements = [
        "INSERT INTO ledger_posting_batches (number, previous, hash, transactions)"
        " SELECT n, '', decode(md5(n::text), 'hex'), n FROM generate_series(1, 7) n WHERE n <> 4",
        "INSERT INTO ledger_transactions (id, kind, state, cause, chain_id, currency, salt, commitment,"
        " posting_batch, posting_index) SELECT 'x' || n || '/' || i, 'charge', 'posted', 'c', 1, 't', '', '', n, i"
        " FROM generate_series(1, 7) n, generate_series(1, n) i",
    ]
    async with transaction(engine) as session:
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            await session.execute(text(statement))
    pages, rest = list[Span](), Span(0, 15)
    while rest.after < rest.through:
        async with reading(engine) as session:
            page = await evidence.check_postings(session, rest)
        pages.append(Span(rest.after, page.through or rest.through))
        lost = {d.subject for d in page.differences if d.found == "missing"}
        assert lost == {str(n) for n in (4, *range(8, 16)) if rest.after < n <= pages[-1].through}
        rest = Span(pages[-1].through, rest.through)
    assert [page.through for page in pages] == [3, 5, 6, 7, 13, 15]
