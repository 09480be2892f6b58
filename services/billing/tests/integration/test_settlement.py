"""Settlement on a real chain with the real contracts: what is charged, paid, proven, distributed and claimed."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from licet_billing.domain.errors import BatchesLost
from licet_billing.usecases.reading import charge_with_proof
from licet_kit.db import reading
from licet_schemas import sumtree
from licet_schemas.settlement import DIRECT, Group, Item, batch_tree, lines_of

from .settling import assert_exact, attempts, batches, drawn, finish, look, states, told
from .town import House, use


async def test_charges_are_settled_posted_and_reconciled_to_the_unit(house: House) -> None:
    requests = await use(house, 1, 2, 0, 3)
    sender = await house.settler.open_epoch()
    await look(house, sender, 3)
    await finish(house, sender)
    assert await batches(house) == [(1, "final", 42, 42)]
    assert await drawn(house) == (958, 42)
    assert await told(house) == ["prepared", "submitted", "included", "final"]
    settled = await house.inbox.rows("SELECT request_id FROM charges WHERE batch = 1 ORDER BY leaf")
    assert [row.request_id for row in settled] == [requests[0], requests[1], requests[3]]
    await assert_exact(house)


async def test_every_settled_charge_is_proven_against_the_root_on_chain(house: House) -> None:
    requests = await use(house, 1, 2, 3, 4, 5)
    await finish(house, await house.settler.open_epoch())
    town = house.town
    for request_id in requests:
        async with reading(house.engine) as session:
            charge, settled = await charge_with_proof(session, request_id, "account-1")
        assert settled is not None
        leaf = (
            charge.receipt_hash,
            charge.amount,
            town.checksum(charge.currency),
            town.checksum(charge.payer),
        )
        item = settled.item
        place = (item.position, item.asset_id, town.checksum(item.currency), town.checksum(item.payer))
        line = (*place, item.authority, item.window, item.amount, item.payer_root, item.records)
        steps = [(step.hash, step.sum, step.left) for step in settled.steps]
        proof = (town.checksum(town.operator), 1, (*leaf, charge.salt), steps, line, list(settled.line_proof))
        assert town.call("UsageEscrow", "verifyCharge", *proof)
        other = (charge.receipt_hash, charge.amount + 1, leaf[2], leaf[3], charge.salt)
        assert not town.call("UsageEscrow", "verifyCharge", proof[0], 1, other, *proof[3:])
        assert sumtree.verify(
            sumtree.Charge(charge.receipt_hash, charge.amount, charge.currency, charge.payer, charge.salt),
            settled.steps,
            bytes.fromhex(item.payer_root[2:]),
            item.amount,
        )


async def test_shortfall_is_operator_loss_and_the_books_stay_exact(house: House) -> None:
    await use(house, 200)  # 1400 of a deposit of 1000
    await finish(house, await house.settler.open_epoch())
    assert await batches(house) == [(1, "final", 1400, 1000)]
    loss = await house.inbox.rows("SELECT amount FROM ledger_entries WHERE account_id LIKE 'operator_loss:%'")
    assert [int(row.amount) for row in loss] == [400]
    await assert_exact(house)


async def test_use_before_an_exit_is_drawn_from_the_exit(house: House) -> None:
    await use(house, 100)  # 700
    house.town.send(3, "UsageEscrow", "requestExit", house.town.deposit_id, 900)
    await house.finalise()
    await finish(house, await house.settler.open_epoch())
    assert await batches(house) == [(1, "final", 700, 700)]
    assert await drawn(house) == (0, 700)
    await assert_exact(house)


async def test_revenue_is_distributed_and_claimed_in_the_books_too(house: House) -> None:
    await use(house, 100)
    await finish(house, await house.settler.open_epoch())
    town = house.town
    assert await held(house) == 700
    await assert_exact(house)
    town.release(1)
    await house.finalise()
    assert await held(house) == 0
    await assert_exact(house)
    town.send(0, "RevenueRouter", "distribute", town.asset_id, town.checksum(town.token))
    await house.finalise()
    await assert_exact(house)
    town.send(2, "RevenueRouter", "claim", town.checksum(town.token))
    await house.finalise()
    assert town.call("TestUSD", "balanceOf", town.checksum(town.owner)) == 700 - 700 * _fee(house) // 10_000
    await assert_exact(house)
    kinds = await house.inbox.rows(
        "SELECT kind, count(*) AS n, count(tx_hash) AS hashed FROM ledger_transactions GROUP BY kind ORDER BY kind"
    )
    found = {row.kind: (row.n, row.hashed) for row in kinds}
    assert found["distributed"] == found["claimed"] == found["line_settled"] == found["deposited"] == (1, 1)
    assert found["hold_released"] == found["revenue_received"] == (1, 1)


async def held(house: House) -> int:
    """What the ledger holds for the asset."""
    rows = await house.inbox.rows("SELECT balance FROM ledger_balances WHERE account_id LIKE 'holds:%'")
    return sum(int(row.balance) for row in rows)


def _fee(house: House) -> int:
    return int(house.town.call("RevenueRouter", "feeBp"))


async def test_other_content_under_our_number_stops_the_settler(house: House) -> None:
    await use(house, 1)
    sender = await house.settler.open_epoch()
    await look(house, sender)
    _settle_by_hand(house, 1)
    await look(house, sender)
    assert await states(house) == ["conflict"]
    error = await house.inbox.rows("SELECT last_error FROM settlement_batches")
    assert "holds root" in error[0].last_error
    await use(house, 1)
    await look(house, sender, 2)
    assert await states(house) == ["conflict"]


async def test_batches_of_a_lost_database_stop_the_settler(house: House) -> None:
    _settle_by_hand(house, 1)
    await use(house, 1)
    with pytest.raises(BatchesLost):
        await look(house, await house.settler.open_epoch())
    assert await states(house) == []
    await house.finalise()
    _, result = await house.reconciler.reconcile()
    assert {difference.check for difference in result.differences} >= {
        "pending",
        "deposit_drawn",
        "chain_logs",
    }


def _settle_by_hand(house: House, number: int) -> None:
    town = house.town
    item = Item(town.checksum(town.payer), DIRECT, 0, 5, bytes(32), 1)
    group = Group(bytes.fromhex(town.asset_id[2:]), town.checksum(town.token), (item,))
    root = batch_tree(lines_of([group])).root
    town.send(1, "UsageEscrow", "settle", number, root, "by hand", [astuple(group)])


async def test_refusal_of_the_contract_is_shown_and_tried_again(house: House) -> None:
    town = house.town
    await use(house, 1)
    sender = await house.settler.open_epoch()
    await look(house, sender)
    town.send(1, "UsageEscrow", "setSettlerCap", town.checksum(town.token), 1)
    await look(house, sender)
    rows = await house.inbox.rows("SELECT state, last_error FROM settlement_batches")
    assert [(r.state, r.last_error) for r in rows] == [("prepared", "UsageEscrow_CapExceeded")]
    assert await attempts(house) == []


async def test_charges_beyond_the_cap_wait(house: House) -> None:
    town = house.town
    town.send(1, "UsageEscrow", "setSettlerCap", town.checksum(town.token), 20)
    await use(house, 2, 2)
    await finish(house, await house.settler.open_epoch())
    assert await batches(house) == [(1, "final", 14, 14)]
    await assert_exact(house)
