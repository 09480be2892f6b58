"""Prepaid units: bought without a license, locked, called with, settled, and redeemed as the owner's revenue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from licet_schemas import settlement

from e2e.demo import books, calls
from e2e.observe import eventually
from e2e.scenarios.conftest import FUNDS, Installation

UNIT_PRICE = 9_000
BOUGHT, LOCKED, ROWS = 70, 50, 10
DAY_S = 86_400


def _called(installation: Installation, name: str, replica: int) -> bool:
    world, notes = installation.world, installation.notes
    return not calls.refusal_code(world, notes, name, replica=replica, rows=ROWS)


def test_prepaid_units_are_locked_spent_and_become_revenue(
    installation: Installation, wallets: Iterator[int]
) -> None:
    world, notes = installation.world, installation.notes
    publisher, name = world.client("publisher"), f"buyer-{next(wallets)}"
    token = publisher.credits.open(
        notes["plan"], unit_price=UNIT_PRICE, supply=1_000, expires_at=int(time.time()) + 365 * DAY_S
    )
    operator = world.actor("operator").address
    world.operator().credits.accept(token)

    books.fund(world, world.actor(name).address, FUNDS)
    buyer = world.client(name)
    assert buyer.credits.buy(token, BOUGHT)[0] == BOUGHT * UNIT_PRICE
    deposit_id, _ = buyer.credits.lock(token, LOCKED)
    assert deposit_id == "0x" + settlement.deposit_id(world.actor(name).address, operator, token).hex()
    calls.make_key(world, notes, name)
    eventually(lambda: books.grant(world, "credits", deposit_id)["free"] == LOCKED, "the units are final")

    for number in range(LOCKED // ROWS):
        replica = number % len(world.config.gateway)
        eventually(partial(_called, installation, name, replica), f"call {number} is answered", 60)
    calls.wait_refused(world, notes, name, "quota_exhausted")
    eventually(lambda: books.grant(world, "credits", deposit_id)["spent"] == LOCKED, "all units are counted")

    def settled() -> int:
        world.operator().usage.settle()
        logs = world.logs("UsageEscrow", "GroupSettled")
        return sum(log["args"]["paid"] for log in logs if log["args"]["token"] == token)

    eventually(lambda: settled() == LOCKED, "every unit is settled", 60)
    eventually(lambda: books.reconciled(world), "receipts, ledger and chain agree", 60)
    assert publisher.credits.show(token).outstanding == BOUGHT, "what is held is not redeemed yet"

    def released() -> bool:
        publisher.holds.release([notes["asset_id"]])
        return publisher.credits.show(token).outstanding == BOUGHT - LOCKED

    eventually(released, "the dispute time is over, and the units are redeemed", 60)
    redeemed = [log["args"] for log in world.logs("Credits", "CreditsRedeemed", token=token)]
    assert sum(said["units"] for said in redeemed) == LOCKED
    received = [log["args"] for log in world.logs("RevenueRouter", "RevenueReceived")]
    for said in redeemed:
        assert said["amount"] == said["units"] * UNIT_PRICE
        assert any((r["source"], r["amount"]) == (1, said["amount"]) for r in received)
    assert token not in {said["token"] for said in received}, "revenue is money, not units"

    def mirrored() -> bool:
        (row,) = world.rows(
            "indexer", "select issued, redeemed from credit_series where token = $1", token.lower()
        )
        return (int(row["issued"]), int(row["redeemed"])) == (BOUGHT, LOCKED)

    eventually(mirrored, "the mirror says so")
    before = publisher.chain.call("TestUSD", "balanceOf", publisher.chain.wallet)
    claimed, _ = publisher.chain.claim([notes["asset_id"]])
    assert claimed >= LOCKED * UNIT_PRICE * 99 // 100
    assert publisher.chain.call("TestUSD", "balanceOf", publisher.chain.wallet) == before + claimed
    eventually(lambda: books.reconciled(world), "they agree after the redemption, too", 60)
