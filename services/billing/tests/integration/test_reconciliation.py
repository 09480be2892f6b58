"""Reconciliation finds what somebody changed behind the books' back, and says where."""

from __future__ import annotations

import pytest
from licet_billing.domain.reconciliation import Check
from licet_kit.db import transaction
from sqlalchemy import text

from .settling import assert_exact, finish
from .town import House, use

# What a person with the database's highest rights does, what must be found, and how it is undone.
FALSIFICATIONS = [
    (
        "UPDATE ledger_entries SET amount = amount + {} WHERE amount > 0 AND transaction_id LIKE 'charge:%'",
        {Check.TRIAL_BALANCE, Check.BALANCE_ROWS, Check.HASH_CHAIN, Check.CHARGES},
    ),
    (
        "UPDATE ledger_balances SET balance = balance + {} WHERE account_id LIKE 'customer:%'",
        {Check.BALANCE_ROWS},
    ),
    (
        "UPDATE ledger_posting_batches SET hash = decode(md5(number::text || '{}'), 'hex')",
        {Check.HASH_CHAIN},
    ),
    (
        "UPDATE charges SET amount = amount + {0}, value = value + {0} WHERE amount > 0",
        {Check.CHARGES, Check.BATCH_LEAVES},
    ),
    ("UPDATE charges SET salt = decode(repeat(lpad('{}', 2, '0'), 32), 'hex')", {Check.BATCH_LEAVES}),
    ("UPDATE settlement_items SET amount = amount + {}", {Check.BATCH_LEAVES, Check.BATCH_PAID}),
    ("UPDATE settlement_items SET paid = paid + {}", {Check.BATCH_PAID, Check.DEPOSIT_DRAWN}),
    ("UPDATE settlement_batches SET root = root || '{}'", {Check.BATCH_ROOT}),
    (
        "UPDATE ledger_transactions SET log_index = log_index + {} WHERE kind = 'deposited'",
        {Check.CHAIN_LOGS},
    ),
    (
        "UPDATE ledger_transactions SET state = 'pending', posting_batch = NULL, posting_index = NULL"
        " WHERE kind = 'deposited' AND 1 = {}",
        {Check.PENDING, Check.CHAIN_LOGS, Check.DEPOSIT_SPENDABLE, Check.HASH_CHAIN},
    ),
]


@pytest.fixture
async def settled(house: House) -> House:
    """Used, settled, part of it left, revenue distributed."""
    await use(house, 1, 2)
    await finish(house, await house.settler.open_epoch())
    town = house.town
    town.send(0, "RevenueRouter", "distribute", town.asset_id, town.checksum(town.token))
    town.send(3, "UsageEscrow", "requestExit", town.deposit_id, 100)
    await use(house, 3)
    await house.finalise()
    return house


async def test_every_falsification_is_found_and_named(settled: House) -> None:
    for statement, expected in FALSIFICATIONS:
        found = await _falsified(settled, statement)
        assert expected <= found, (statement, expected - found)
    await assert_exact(settled)


async def _falsified(house: House, statement: str) -> set[str]:
    """Checks that fail while the statement stands; everything is as before afterwards."""
    tables = [
        *("ledger_entries", "ledger_balances", "ledger_posting_batches", "ledger_transactions"),
        *("charges", "settlement_items", "settlement_batches"),
    ]
    async with transaction(house.engine) as session:
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        for table in tables:
            await session.execute(text(f"CREATE TABLE kept_{table} AS TABLE {table}"))
        changed = await session.execute(text(statement.format(1) + " RETURNING 1"))
        assert changed.first() is not None, statement
    _, result = await house.reconciler.reconcile()
    async with transaction(house.engine) as session:
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        for table in tables:
            await session.execute(text(f"DELETE FROM {table}"))
            columns = await _columns(house, table)
            await session.execute(
                text(
                    f"INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM kept_{table}"
                )
            )
            await session.execute(text(f"DROP TABLE kept_{table}"))
    return {difference.check for difference in result.differences}


async def _columns(house: House, table: str) -> str:
    rows = await house.inbox.rows(
        f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"
        " AND is_generated = 'NEVER' ORDER BY ordinal_position"
    )
    return ", ".join(row.column_name for row in rows)


async def test_money_that_left_without_us_is_found(settled: House) -> None:
    """The chain moved on, and the events never came: the escrow's figures are not the ledger's."""
    settled.town.deposit(5)
    await settled.town.deployed.anvil.mine(2)
    told, settled.feed._news = settled.feed._news, list  # type: ignore[method-assign]
    await settled.tell()
    _, result = await settled.reconciler.reconcile()
    assert {d.check for d in result.differences} == {Check.DEPOSIT_SPENDABLE, Check.CHAIN_LOGS}
    settled.feed._news = told  # type: ignore[method-assign]
    await settled.tell()
    await assert_exact(settled)


async def test_records_that_are_held_back_are_named(settled: House) -> None:
    gateway = settled.town.gateway()
    forged, behind = gateway.calls(1, 1, lease=f"{0xFACE:032x}")
    forged.units = 9
    await settled.inbox.send(forged, behind)
    _, result = await settled.reconciler.reconcile()
    (difference,) = result.differences
    assert (difference.check, difference.subject) == (Check.HELD_BACK, f"billing.usage:{0xFACE:032x}")
    assert difference.found == "2 (receipt_invalid)"


async def test_later_reconciliation_begins_where_all_agreed(settled: House) -> None:
    await assert_exact(settled)
    await use(settled, 1)
    await finish(settled, await settled.settler.open_epoch())
    await assert_exact(settled)
    rows = await settled.inbox.rows("SELECT counts, block_number FROM reconciliations ORDER BY seq")
    assert rows[1].counts["since_block"] == rows[0].block_number
    assert rows[1].counts["batches"] == 1
