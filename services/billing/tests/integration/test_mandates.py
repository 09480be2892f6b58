"""Use by mandates is settled by their authority, in their windows, and apart from use of the deposit itself."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

from licet_schemas.licet.licensing.v1 import licensing_pb2
from licet_schemas.mandates import Mandate, mandate_digest, mandate_domain

from .settling import assert_exact, batches, drawn, finish
from .town import FUNDS, House, use

HOUR_S = 3_600


def mandate(house: House, window_amount: int) -> str:
    """The payer opens a mandate over the deposit; returns its id."""
    town = house.town
    now = int(town.w3.eth.get_block("latest")["timestamp"])
    terms = Mandate(
        payer=town.checksum(town.payer),
        operator=town.checksum(town.operator),
        token=town.checksum(town.token),
        window_amount=window_amount,
        total_amount=10 * window_amount,
        in_flight_cap=1,
        window_length=HOUR_S,
        window_records=10,
        grace=HOUR_S,
        valid_from=now,
        valid_until=now + 10 * HOUR_S,
        assets=(),
        nonce=1,
    )
    town.send(3, "UsageEscrow", "openMandate", astuple(terms), b"")
    domain = mandate_domain(town.chain.chain_id, town.chain.contract("UsageEscrow"))
    return "0x" + mandate_digest(domain, terms).hex()


async def use_by(house: House, mandate_id: str, *units: int, window: int = 0) -> None:
    """Calls of one lease by a window of a mandate, recorded."""
    gateway, town = house.town.gateway(), house.town
    escrow = town.chain.contract("UsageEscrow")
    grant_id = f"{town.chain.chain_id}:{escrow}:{mandate_id}:{window}"
    said = licensing_pb2.GrantChanged(
        event_id=f"{grant_id}:1",
        grant_id=grant_id,
        version=1,
        source=licensing_pb2.GRANT_SOURCE_MANDATE,
        state="live",
        account_id=gateway.account_id,
        wallet=town.payer,
        chain_id=town.chain.chain_id,
        contract=escrow,
        token_id=mandate_id,
        window=window,
        granted=str(FUNDS),
        currency=town.token,
        operator=town.operator,
    )
    await house.inbox.send(said)
    await house.inbox.send(*gateway.calls(*units, grant_id=grant_id, lease=f"{0xA6E47 + window:032x}"))


async def lines(house: House) -> list[tuple[Any, ...]]:
    rows = await house.inbox.rows(
        'SELECT authority, "window", amount, paid, records FROM settlement_items ORDER BY number, position'
    )
    return [(r.authority, r.window, int(r.amount), int(r.paid), r.records) for r in rows]


async def test_use_by_a_mandate_is_a_line_of_its_own(house: House) -> None:
    mandate_id = mandate(house, window_amount=500)
    await house.tell()
    await use(house, 1)
    await use_by(house, mandate_id, 2, 3)
    await finish(house, await house.settler.open_epoch())
    assert await lines(house) == [("0x" + "00" * 32, 0, 7, 7, 1), (mandate_id, 0, 35, 35, 2)]
    assert await batches(house) == [(1, "final", 42, 42)]
    assert await drawn(house) == (958, 42)
    state = house.town.call("UsageEscrow", "mandateOf", bytes.fromhex(mandate_id[2:]))
    assert state[2] == 5_000 - 35
    await assert_exact(house)


async def test_what_a_mandate_does_not_cover_is_operator_loss(house: House) -> None:
    mandate_id = mandate(house, window_amount=20)
    await house.tell()
    await use_by(house, mandate_id, 2, 3)
    # A window that has not begun.
    await use_by(house, mandate_id, 1, window=5)
    await finish(house, await house.settler.open_epoch())
    assert sorted(await lines(house)) == sorted([(mandate_id, 0, 35, 20, 2), (mandate_id, 5, 7, 0, 1)])
    assert await drawn(house) == (980, 20)
    loss = await house.inbox.rows("SELECT amount FROM ledger_entries WHERE account_id LIKE 'operator_loss:%'")
    assert sum(int(row.amount) for row in loss) == 22
    await assert_exact(house)
