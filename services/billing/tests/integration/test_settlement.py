"""Settlement on a real chain with the real contracts, through everything that a node can do to a sender."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from licet_billing.clients.node import NodeUnavailable
from licet_billing.db.settlement import Sender
from licet_billing.domain.errors import BatchesLost, SenderFenced
from licet_billing.usecases.reading import charge_with_proof
from licet_kit.clock import ManualClock
from licet_kit.db import reading
from licet_kit.testing.plugin import StartChain
from licet_kit.testing.waiting import eventually
from licet_schemas import sumtree
from licet_schemas.licet.billing.v1.billing_pb2 import SettlementChanged
from licet_schemas.settlement import Item, batch_tree
from sqlalchemy.ext.asyncio import AsyncEngine

from .rpc_proxy import Fault, RpcProxy, rpc_proxy
from .town import House, open_house, settle_in, use

SEND = "eth_sendRawTransaction"


@pytest.fixture
async def node(chain: StartChain) -> AsyncIterator[RpcProxy]:
    """The chain as the settler sees it."""
    deployed = await chain()
    async with rpc_proxy(deployed.anvil.rpc_url) as proxy:
        proxy.deployed = deployed  # type: ignore[attr-defined]
        yield proxy


@pytest.fixture
async def house(engine: AsyncEngine, node: RpcProxy, manual_clock: ManualClock) -> AsyncIterator[House]:
    """Billing with a deposit of 1000 in the escrow."""
    town = settle_in(node.deployed)  # type: ignore[attr-defined]
    opened = open_house(engine, town, rpc_url=node.url, clock=manual_clock)
    town.deposit(1000)
    await opened.finalise()
    yield opened
    await opened.close()


async def batches(house: House) -> list[tuple[int, str, int, int | None]]:
    rows = await house.inbox.rows(
        "SELECT b.number, b.state, b.due, sum(i.paid) AS paid FROM settlement_batches b"
        " JOIN settlement_items i USING (chain_id, operator, number)"
        " GROUP BY b.chain_id, b.operator, b.number ORDER BY b.number"
    )
    return [(r.number, r.state, int(r.due), None if r.paid is None else int(r.paid)) for r in rows]


async def states(house: House) -> list[str]:
    return [state for _, state, _, _ in await batches(house)]


async def told(house: House) -> list[str]:
    """States that others were told, in order."""
    rows = await house.inbox.rows("SELECT payload FROM outbox WHERE topic = 'billing.settlement' ORDER BY id")
    return [SettlementChanged.FromString(row.payload).state for row in rows]


async def attempts(house: House) -> list[tuple[int, str]]:
    rows = await house.inbox.rows("SELECT nonce, state FROM settlement_attempts ORDER BY signed_at, nonce")
    return [(row.nonce, row.state) for row in rows]


async def look(house: House, sender: Sender, times: int = 1) -> None:
    for _ in range(times):
        await house.settler.tick(sender)


async def finish(house: House, sender: Sender) -> None:
    """Looks until what is on its way is final and posted."""
    for _ in range(4):
        await house.settler.tick(sender)
        await house.finalise()


async def assert_exact(house: House) -> None:
    _, result = await house.reconciler.reconcile()
    assert result.differences == ()


async def drawn(house: House) -> tuple[int, int]:
    """Spendable and drawn money of the deposit, as the chain says."""
    deposit = house.town.call("UsageEscrow", "depositOf", house.town.deposit_id)
    return int(deposit[3]), int(deposit[4])


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
        line = (item.deposit_id, item.asset_id, 0, item.amount, item.payer_root, item.records)
        steps = [(step.hash, step.sum, step.left) for step in settled.steps]
        proof = (town.checksum(town.operator), 1, (*leaf, charge.salt), steps, line, list(settled.item_proof))
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
    assert found["distributed"] == found["claimed"] == found["item_settled"] == found["deposited"] == (1, 1)


def _fee(house: House) -> int:
    return int(house.town.call("RevenueRouter", "feeBp"))


async def test_broadcast_without_answer_that_was_mined_is_found_and_not_repeated(
    house: House, node: RpcProxy
) -> None:
    await use(house, 1)
    sender = await house.settler.open_epoch()
    node.faults[SEND] = Fault.LOSE_ANSWER
    await look(house, sender, 2)
    assert await states(house) == ["unknown"]
    assert await attempts(house) == [(_first_nonce(house) - 1, "unknown")]
    await finish(house, sender)
    assert await batches(house) == [(1, "final", 7, 7)]
    assert node.calls[SEND] == 1
    assert await told(house) == ["prepared", "unknown", "included", "final"]
    await assert_exact(house)


def _first_nonce(house: House) -> int:
    return house.town.nonce(house.town.operator)


async def test_broadcast_that_never_arrived_is_sent_again_with_the_same_bytes(
    house: House, node: RpcProxy
) -> None:
    await use(house, 1)
    sender = await house.settler.open_epoch()
    node.faults[SEND] = Fault.LOSE_CALL
    await look(house, sender, 3)
    assert await states(house) == ["unknown"]
    node.faults.clear()
    await finish(house, sender)
    assert await batches(house) == [(1, "final", 7, 7)]
    assert len(await attempts(house)) == 1
    await assert_exact(house)


async def test_node_that_is_away_changes_nothing(house: House, node: RpcProxy) -> None:
    await use(house, 1)
    sender = await house.settler.open_epoch()
    await look(house, sender)
    node.faults["eth_blockNumber"] = Fault.LOSE_CALL
    with pytest.raises(NodeUnavailable):
        await look(house, sender)
    assert await states(house) == ["prepared"]
    node.faults.clear()
    await finish(house, sender)
    assert await states(house) == ["final"]


async def test_batch_whose_block_left_the_chain_is_settled_again(house: House, node: RpcProxy) -> None:
    await use(house, 1)
    sender = await house.settler.open_epoch()
    await look(house, sender, 3)
    await house.tell()
    assert await states(house) == ["included"]
    await house.town.deployed.anvil.reorg(2)
    assert house.town.last_batch() == 0
    await look(house, sender)
    await house.tell()
    assert await states(house) == ["reorged"]
    await look(house, sender, 2)
    await finish(house, sender)
    assert await batches(house) == [(1, "final", 7, 7)]
    assert len(await attempts(house)) == 1
    assert await told(house) == [
        "prepared",
        "submitted",
        "included",
        "reorged",
        "submitted",
        "included",
        "final",
    ]
    assert await drawn(house) == (993, 7)
    await assert_exact(house)


async def test_chain_that_lost_a_final_batch_gets_it_again_and_the_ledger_follows(house: House) -> None:
    await use(house, 1)
    anvil = house.town.deployed.anvil
    before = await anvil.snapshot()
    sender = await house.settler.open_epoch()
    await finish(house, sender)
    assert await batches(house) == [(1, "final", 7, 7)]
    await anvil.revert(before)
    await anvil.mine(1)
    await house.feed.sync(house.inbox)
    reversed_ = await house.inbox.rows("SELECT kind FROM ledger_transactions WHERE kind = 'reversal'")
    assert len(reversed_) == 2  # the settled line, and the revenue of it
    assert (await batches(house))[0][3] is None
    await finish(house, sender)
    await finish(house, sender)
    assert await batches(house) == [(1, "final", 7, 7)]
    assert await drawn(house) == (993, 7)
    await assert_exact(house)


async def test_killed_chain_comes_back_at_its_saved_block_and_is_settled_again(
    engine: AsyncEngine, chain: StartChain, tmp_path: Path, manual_clock: ManualClock
) -> None:
    saved = tmp_path / "saved.json"
    deployed = await chain()
    town = settle_in(deployed)
    house = open_house(engine, town, clock=manual_clock)
    town.deposit(1000)
    await house.finalise()
    await use(house, 1)
    await use(house, 2)
    state = await deployed.anvil.rpc("anvil_dumpState")
    sender = await house.settler.open_epoch()
    await look(house, sender, 3)
    await house.tell()
    assert await states(house) == ["included"]
    await deployed.anvil.stop(signal.SIGKILL)
    saved.write_text("")
    await deployed.anvil.start()
    await deployed.anvil.rpc("anvil_loadState", state)
    assert town.last_batch() == 0
    await finish(house, sender)
    await finish(house, sender)
    assert await batches(house) == [(1, "final", 21, 21)]
    assert await drawn(house) == (979, 21)
    await assert_exact(house)
    await house.close()


class Killed(BaseException):
    """The process ends here."""


async def test_crash_between_storing_and_sending_is_resumed_from_what_is_stored(
    house: House, node: RpcProxy, manual_clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await use(house, 1)
    sender = await house.settler.open_epoch()
    await look(house, sender)

    async def die(raw: bytes) -> str:
        raise Killed

    monkeypatch.setattr(house.settler._escrow, "send", die)
    with pytest.raises(Killed):
        await look(house, sender)
    nonce = _first_nonce(house)
    assert await attempts(house) == [(nonce, "signed")]
    assert node.calls.get(SEND, 0) == 0
    monkeypatch.undo()
    successor = open_house(house.engine, house.town, rpc_url=node.url, feed=house.feed, clock=manual_clock)
    await finish(successor, await successor.settler.open_epoch())
    assert await attempts(successor) == [(nonce, "included")]
    assert await batches(successor) == [(1, "final", 7, 7)]
    await assert_exact(successor)
    await successor.close()


async def test_crash_after_sending_and_before_storing_that_is_not_settled_twice(
    house: House, node: RpcProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await use(house, 1)
    sender = await house.settler.open_epoch()
    await look(house, sender)
    send = house.settler._escrow.send

    async def send_and_die(raw: bytes) -> str:
        await send(raw)
        raise Killed

    monkeypatch.setattr(house.settler._escrow, "send", send_and_die)
    with pytest.raises(Killed):
        await look(house, sender)
    monkeypatch.undo()
    await finish(house, await house.settler.open_epoch())
    assert await batches(house) == [(1, "final", 7, 7)]
    assert node.calls[SEND] == 1
    assert await drawn(house) == (993, 7)
    await assert_exact(house)


async def test_stuck_transaction_is_replaced_at_the_same_nonce_with_higher_fees(
    house: House, manual_clock: ManualClock
) -> None:
    anvil = house.town.deployed.anvil
    await anvil.rpc("evm_setAutomine", False)
    await use(house, 1)
    sender = await house.settler.open_epoch()
    await look(house, sender, 2)
    assert await states(house) == ["submitted"]
    manual_clock.advance(31)
    await look(house, sender)
    nonce = _first_nonce(house)
    assert await attempts(house) == [(nonce, "sent"), (nonce, "sent")]
    fees = await house.inbox.rows(
        "SELECT max_fee_wei, priority_fee_wei FROM settlement_attempts ORDER BY signed_at"
    )
    assert fees[1].max_fee_wei > fees[0].max_fee_wei * 11 / 10
    assert fees[1].priority_fee_wei > fees[0].priority_fee_wei * 11 / 10
    await anvil.rpc("evm_setAutomine", True)
    await finish(house, sender)
    assert await attempts(house) == [(nonce, "replaced"), (nonce, "included")]
    assert await batches(house) == [(1, "final", 7, 7)]
    await assert_exact(house)


async def test_nonce_taken_by_a_stranger_gets_another_transaction_for_the_same_batch(
    house: House, node: RpcProxy
) -> None:
    await use(house, 1)
    sender = await house.settler.open_epoch()
    node.faults[SEND] = Fault.LOSE_CALL
    await look(house, sender, 2)
    taken = _first_nonce(house)
    house.town.send(1, "TestUSD", "mint", house.town.checksum(house.town.operator), 1)
    node.faults.clear()
    await finish(house, sender)
    assert await attempts(house) == [(taken, "unknown"), (taken + 1, "included")]
    assert await batches(house) == [(1, "final", 7, 7)]
    await assert_exact(house)


async def test_sender_of_an_old_epoch_can_store_nothing(house: House) -> None:
    await use(house, 1)
    old = await house.settler.open_epoch()
    await look(house, old)
    new = await house.settler.open_epoch()
    with pytest.raises(SenderFenced):
        await look(house, old)
    assert await attempts(house) == []
    await finish(house, new)
    assert await states(house) == ["final"]


async def test_two_replicas_that_prepare_at_once_take_no_charge_twice(house: House) -> None:
    other = open_house(house.engine, house.town, feed=house.feed)
    for _ in range(5):
        await use(house, 1, 1)
        await asyncio.gather(house.settler.prepare(), other.settler.prepare())
        await finish(house, await house.settler.open_epoch())
    assert await batches(house) == [(n, "final", 14, 14) for n in range(1, 6)]
    assert await drawn(house) == (930, 70)
    await assert_exact(house)
    await other.close()


async def test_one_replica_leads_and_the_other_takes_over(house: House, node: RpcProxy) -> None:
    other = open_house(house.engine, house.town, rpc_url=node.url, feed=house.feed)
    stops = (asyncio.Event(), asyncio.Event())
    tasks = [asyncio.create_task(h.settler.run(s)) for h, s in zip((house, other), stops, strict=True)]
    try:
        await use(house, 1)
        await _until(house, ["included"])
        stops[0].set()
        await tasks[0]
        await use(house, 2)
        await _until(house, ["included", "included"])
        epochs = await house.inbox.rows("SELECT epoch FROM senders")
        assert epochs[0].epoch == 2
    finally:
        for stop in stops:
            stop.set()
        await asyncio.gather(*tasks)
    await finish(house, await house.settler.open_epoch())
    assert await batches(house) == [(1, "final", 7, 7), (2, "final", 14, 14)]
    await assert_exact(house)
    await other.close()


async def _until(house: House, wanted: list[str]) -> None:
    async def reached() -> bool:
        return await states(house) == wanted

    await eventually(reached, what=f"batches {wanted}")


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
    source, asset = bytes.fromhex(town.deposit_id[2:]), bytes.fromhex(town.asset_id[2:])
    root = batch_tree([Item(source, asset, 0, 5, bytes(32), 1)]).root
    town.send(1, "UsageEscrow", "settle", number, root, "by hand", [(source, asset, 0, 5, bytes(32), 1)])


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
