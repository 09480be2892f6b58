"""Everything that a node, a chain and a crash can do to a sender: no charge is settled twice, none is lost."""

from __future__ import annotations

import asyncio
import signal

import pytest
from licet_billing.clients.escrow import Settlement
from licet_billing.clients.node import NodeUnavailable
from licet_billing.clients.signer import SignedTransaction
from licet_billing.db import settlement as settlement_rows
from licet_billing.domain.errors import SenderFenced
from licet_billing.domain.settlement import Fees, Inclusion, Reply
from licet_billing.workers.settler import UNEXPLAINED_LOOKS
from licet_kit.clock import ManualClock
from licet_kit.testing.plugin import StartChain
from licet_kit.testing.waiting import eventually
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from .rpc_proxy import Fault, RpcProxy
from .settling import assert_exact, attempts, batches, drawn, finish, look, states, told
from .town import House, open_house, settle_in, use

SEND = "eth_sendRawTransaction"


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
    assert len(reversed_) == 1
    assert (await batches(house))[0][3] is None
    await finish(house, sender)
    await finish(house, sender)
    assert await batches(house) == [(1, "final", 7, 7)]
    assert await drawn(house) == (993, 7)
    await assert_exact(house)


async def test_killed_chain_comes_back_at_its_saved_block_and_is_settled_again(
    engine: AsyncEngine, chain: StartChain, manual_clock: ManualClock
) -> None:
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

    async def die(raw: bytes) -> Reply:
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

    async def send_and_die(raw: bytes) -> Reply:
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


async def test_transaction_that_is_not_looked_for_any_more_is_found_by_its_log(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await use(house, 1)
    sender = await house.settler.open_epoch()
    monkeypatch.setattr(settlement_rows, "MAX_ATTEMPTS", 0)
    await look(house, sender, 2)
    await finish(house, sender)
    assert await attempts(house) == [(_first_nonce(house) - 1, "included")]
    assert await batches(house) == [(1, "final", 7, 7)]
    await use(house, 2)
    await finish(house, sender)
    assert await batches(house) == [(1, "final", 7, 7), (2, "final", 14, 14)]
    await assert_exact(house)


async def test_batch_on_chain_that_nothing_explains_is_told_of(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await use(house, 1)
    sender = await house.settler.open_epoch()
    monkeypatch.setattr(settlement_rows, "MAX_ATTEMPTS", 0)
    await look(house, sender, 2)

    async def nothing(number: int, first: int, last: int) -> dict[str, Inclusion]:
        return {}

    monkeypatch.setattr(house.settler._escrow, "find_settled", nothing)
    with capture_logs() as logged:
        await look(house, sender, UNEXPLAINED_LOOKS)
    assert [entry["batch"] for entry in logged if entry["event"] == "settler.unexplained"] == [1]
    (row,) = await house.inbox.rows("SELECT state, last_error FROM settlement_batches")
    assert row.state == "submitted"
    assert "neither receipt nor log" in row.last_error
    monkeypatch.undo()
    await finish(house, sender)
    assert await batches(house) == [(1, "final", 7, 7)]
    await assert_exact(house)


async def test_batch_that_a_lowered_cap_shuts_out_is_composed_anew(house: House) -> None:
    await use(house, 60, 40)
    sender = await house.settler.open_epoch()
    await look(house, sender)
    (first,) = await house.inbox.rows("SELECT root, digest FROM settlement_batches")
    town = house.town
    town.send(1, "UsageEscrow", "setSettlerCap", town.checksum(town.token), 500)
    await use(house, 1)
    await finish(house, sender)
    assert await batches(house) == [(1, "final", 420, 420)]
    (row,) = await house.inbox.rows("SELECT root, digest FROM settlement_batches")
    assert row.root != first.root
    assert [r.digest for r in await house.inbox.rows("SELECT digest FROM batch_contents")] == [row.digest]
    assert await told(house) == ["prepared", "prepared", "submitted", "final"]
    await assert_exact(house)


async def test_content_that_was_composed_anew_meanwhile_is_not_sent(
    house: House, node: RpcProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await use(house, 60, 40)
    sender = await house.settler.open_epoch()
    await look(house, sender)
    town, sign = house.town, house.settler._escrow.sign

    async def sign_while_the_cap_falls(settlement: Settlement, nonce: int, fees: Fees) -> SignedTransaction:
        signed = await sign(settlement, nonce, fees)
        town.send(1, "UsageEscrow", "setSettlerCap", town.checksum(town.token), 500)
        assert await house.settler.prepare() is not None
        return signed

    monkeypatch.setattr(house.settler._escrow, "sign", sign_while_the_cap_falls)
    await look(house, sender)
    assert await attempts(house) == []
    assert node.calls.get(SEND, 0) == 0
    monkeypatch.undo()
    await finish(house, sender)
    assert await batches(house) == [(1, "final", 420, 420)]
    await assert_exact(house)


async def test_batch_of_which_something_is_signed_keeps_its_content(house: House, node: RpcProxy) -> None:
    await use(house, 60, 40)
    sender = await house.settler.open_epoch()
    node.faults[SEND] = Fault.LOSE_CALL
    await look(house, sender, 2)
    town = house.town
    town.send(1, "UsageEscrow", "setSettlerCap", town.checksum(town.token), 500)
    assert await house.settler.prepare() is None
    assert await batches(house) == [(1, "unknown", 700, None)]


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
    tasks = [asyncio.create_task(house.settler.run(stops[0]))]
    try:
        await use(house, 1)
        await _until(house, ["included"])
        tasks.append(asyncio.create_task(other.settler.run(stops[1])))
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
