"""Reconciliation finds what somebody changed behind the books' back, and says where."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from licet_billing.clients.node import Node
from licet_billing.domain.reconciliation import Check
from licet_billing.testing.builders import fence
from licet_billing.usecases import evidence
from licet_billing.workers.reconciler import Reconciler
from licet_kit.clock import SystemClock
from licet_kit.db import transaction
from sqlalchemy import text

from .settling import assert_exact, finish
from .town import House, use

# Runs of a round.
ROUND = 2

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
    (
        "UPDATE ledger_entries SET amount = amount + {} WHERE account_id LIKE 'holds:%' AND amount < 0",
        {Check.TRIAL_BALANCE, Check.BALANCE_ROWS, Check.HASH_CHAIN, Check.HOLDS},
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
    # Charges against their signed receipts, plans and grants.
    ("UPDATE charges SET units = units + {} WHERE batch IS NULL", {Check.RECEIPTS, Check.GRANTS}),
    ("UPDATE charges SET unit_price = unit_price + {} WHERE batch IS NULL", {Check.RECEIPTS}),
    ("UPDATE charges SET asset_id = '0x' || repeat('c{}', 32) WHERE batch IS NULL", {Check.RECEIPTS}),
    ("UPDATE charges SET payer = '0x' || repeat('c{}', 20) WHERE amount > 0", {Check.RECEIPTS}),
    ("UPDATE charges SET operator = '0x' || repeat('c{}', 20) WHERE batch IS NULL", {Check.RECEIPTS}),
    ("UPDATE charges SET account_id = 'account-{}' || account_id", {Check.RECEIPTS}),
    ("UPDATE charges SET receipt_hash = sha256('{}') WHERE batch IS NULL", {Check.RECEIPTS}),
    ("UPDATE charges SET record = '' WHERE batch IS NULL AND 1 = {}", {Check.RECEIPTS}),
    ("UPDATE charges SET record = 'no message {}' WHERE batch IS NOT NULL", {Check.RECEIPTS}),
    ("UPDATE charges SET lease_id = 'lease-{}', sequence = 9 WHERE batch IS NOT NULL", {Check.RECEIPTS}),
    ("UPDATE plans SET unit_price = unit_price - {}", {Check.RECEIPTS}),
    ("DELETE FROM plans WHERE 1 = {}", {Check.RECEIPTS}),
    ("DELETE FROM operator_keys WHERE 1 = {}", {Check.RECEIPTS}),
    ("UPDATE grants SET charged = charged + {}", {Check.GRANTS}),
    ("UPDATE grants SET charged = 0 WHERE 1 = {}", {Check.GRANTS}),
    ("DELETE FROM charges WHERE source = 'license' AND 1 = {}", {Check.GRANTS}),
    ("DELETE FROM charges WHERE source = 'license' AND sequence = {}", {Check.SEQUENCES, Check.GRANTS}),
    # Batches against their charges, documents and transactions.
    ("UPDATE batch_contents SET body = 'x{}'", {Check.BATCH_DOCUMENT}),
    ("DELETE FROM batch_contents WHERE 1 = {}", {Check.BATCH_DOCUMENT}),
    ("UPDATE settlement_items SET asset_id = '0x' || repeat('c{}', 32)", {Check.BATCH_LEAVES}),
    ("UPDATE settlement_items SET deposit_id = '0x' || repeat('c{}', 32)", {Check.BATCH_LEAVES}),
    ("UPDATE settlement_items SET authority = '0x' || repeat('c{}', 32)", {Check.BATCH_LEAVES}),
    ('UPDATE settlement_items SET "window" = {}', {Check.BATCH_LEAVES}),
    ("UPDATE settlement_items SET payer = '0x' || repeat('c{}', 20)", {Check.BATCH_LEAVES}),
    ("UPDATE settlement_items SET currency = '0x' || repeat('c{}', 20)", {Check.BATCH_LEAVES}),
    ("UPDATE settlement_batches SET charges = charges + {}", {Check.BATCH_PAID}),
    ("UPDATE settlement_batches SET state = 'conflict' WHERE 1 = {}", {Check.BATCH_STATE}),
    ("UPDATE settlement_batches SET tx_hash = '0x{}'", {Check.BATCH_STATE}),
    (
        "UPDATE ledger_transactions SET tx_hash = '0x{}' WHERE kind = 'line_settled'",
        {Check.BATCH_STATE, Check.HASH_CHAIN},
    ),
]


@pytest.fixture
async def settled(house: House) -> House:
    """Used, settled, part of it left, revenue distributed."""
    await use(house, 1, 2)
    gateway = house.town.gateway()
    await house.inbox.send(gateway.license_changed(100))
    await house.inbox.send(*gateway.calls(1, 2, grant_id=gateway.license_grant, lease=f"{0x11CE:032x}"))
    await finish(house, await house.settler.open_epoch())
    town = house.town
    town.release(1)
    town.send(0, "RevenueRouter", "distribute", town.asset_id, town.checksum(town.token))
    town.send(3, "UsageEscrow", "requestExit", town.deposit_id, 100)
    await use(house, 3)
    await house.finalise()
    await grow_old(house)
    return house


async def grow_old(house: House) -> None:
    """All that is recorded was so long ago that no call of its leases runs any more."""
    await house.inbox.rows("UPDATE charges SET recorded_at = recorded_at - interval '1 day' RETURNING 1")


@pytest.mark.parametrize("half", [0, 1])
async def test_every_falsification_is_found_and_named(settled: House, half: int) -> None:
    missed = []
    for statement, expected in FALSIFICATIONS[half::2]:
        async with falsified(settled, statement):
            _, result = await settled.reconciler.reconcile()
        missed += [(statement, check) for check in expected - {d.check for d in result.differences}]
    assert missed == []
    await assert_exact(settled)


@pytest.mark.parametrize("half", [0, 1])
async def test_what_agreed_before_is_found_within_a_round(settled: House, half: int) -> None:
    """A run that finds something stays where it is, so the first check that fails is what it names."""
    settled.reconciler = Reconciler(
        engine=settled.engine,
        node=Node(settled.town.chain, settled.w3s[0]),
        chain=settled.books,
        operator=settled.town.operator,
        clock=SystemClock(),
        interval_s=3600,
        round_runs=ROUND,
    )
    for _ in range(1 + ROUND):
        await assert_exact(settled)
    missed = []
    for statement, expected in FALSIFICATIONS[half::2]:
        async with falsified(settled, statement):
            if not await _found_in_a_round(settled) & expected:
                missed.append(statement)
    assert missed == []
    await assert_exact(settled)


async def _found_in_a_round(house: House) -> set[str]:
    for _ in range(ROUND):
        _, result = await house.reconciler.reconcile()
        if result.differences:
            return {difference.check for difference in result.differences}
    return set()


@asynccontextmanager
async def falsified(house: House, statement: str) -> AsyncIterator[None]:
    """The statement stands; everything is as before afterwards."""
    table = statement.split()[2 if statement.startswith("DELETE") else 1]
    async with transaction(house.engine) as session:
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        await session.execute(text(f"CREATE TABLE kept AS TABLE {table}"))
        changed = await session.execute(text(statement.format(1) + " RETURNING 1"))
        assert changed.first() is not None, statement
    yield
    columns = await _columns(house, table)
    async with transaction(house.engine) as session:
        await session.execute(text("SET LOCAL session_replication_role = replica"))
        await session.execute(text(f"DELETE FROM {table}"))
        await session.execute(
            text(f"INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM kept")
        )
        await session.execute(text("DROP TABLE kept"))


async def _columns(house: House, table: str) -> str:
    rows = await house.inbox.rows(
        f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"
        " AND is_generated = 'NEVER' ORDER BY ordinal_position"
    )
    return ", ".join(f'"{row.column_name}"' for row in rows)


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


async def test_a_call_that_never_arrived_is_named_once_its_lease_has_ended(settled: House) -> None:
    gateway = settled.town.gateway()
    lease = f"{0x6A9:032x}"
    first, _, third = gateway.calls(1, 1, 1, lease=lease)
    await settled.inbox.send(first, third)
    await assert_exact(settled)  # the second may be running
    await grow_old(settled)
    _, result = await settled.reconciler.reconcile()
    (difference,) = result.differences
    assert (difference.check, difference.subject) == (Check.SEQUENCES, f"{lease}-2")
    await settled.inbox.send(gateway.marker(lease, 6))
    _, result = await settled.reconciler.reconcile()
    assert [d.subject for d in result.differences] == [f"{lease}-2", f"{lease}-5"]


async def test_a_call_that_may_be_running_is_not_missing_however_old_its_lease_is(settled: House) -> None:
    """A lease is renewed for as long as it is used."""
    gateway = settled.town.gateway()
    first, _, third = gateway.calls(1, 1, 1, lease=f"{0x01D:032x}")
    await settled.inbox.send(first)
    await grow_old(settled)
    await settled.inbox.send(third)
    await assert_exact(settled)


async def test_what_a_fenced_lease_lacks_is_operator_loss_and_no_difference(settled: House) -> None:
    gateway = settled.town.gateway()
    lease = f"{0xFE7CE:032x}"
    first, _, third = gateway.calls(1, 1, 1, lease=lease)
    await settled.inbox.send(first, third)
    await settled.inbox.send(fence(lease, gateway.deposit_grant))
    await grow_old(settled)
    await assert_exact(settled)


async def test_receipts_are_rebuilt_page_by_page(settled: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "PAGE", 2)
    await assert_exact(settled)
    (row,) = await settled.inbox.rows("SELECT counts FROM reconciliations")
    (charges,) = await settled.inbox.rows("SELECT count(*) AS n FROM charges")
    assert row.counts["charges"] == charges.n == 5
