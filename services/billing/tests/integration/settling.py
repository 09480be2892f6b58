"""Looking at settlements, and driving them to their end."""

from __future__ import annotations

from licet_billing.db.settlement import Sender
from licet_schemas.licet.billing.v1.billing_pb2 import SettlementChanged

from .town import House


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
