"""Use of prepaid units is settled in units of their series, whose money becomes revenue when it is released."""

from __future__ import annotations

from typing import Any

from licet_kit.kafka import replay
from licet_schemas import settlement
from licet_schemas.abi import load_abi
from licet_schemas.licet.licensing.v1 import licensing_pb2

from .settling import assert_exact, batches, finish
from .town import CAP, House, use

UNIT_PRICE, UNITS = 9, 40


def series(house: House) -> str:
    """Forty prepaid units of plan 1 at 9 each, in the escrow of the operator, who draws them; returns their token."""
    town = house.town
    contracts, payer = town.contracts, town.checksum(town.payer)
    address = town.checksum(town.chain.contract("Credits"))
    contracts["Credits"] = town.w3.eth.contract(address=address, abi=load_abi("Credits"))
    end = int(town.w3.eth.get_block("latest")["timestamp"]) + 10**6
    town.send(2, "Credits", "openSeries", 1, UNIT_PRICE, 1_000, end, True)
    (opened,) = contracts["Credits"].events.SeriesOpened().get_logs(from_block=0)
    token = opened["args"]["token"]
    contracts["CreditToken"] = town.w3.eth.contract(address=token, abi=load_abi("CreditToken"))
    town.send(3, "TestUSD", "approve", address, UNITS * UNIT_PRICE)
    town.send(3, "Credits", "issue", token, payer, UNITS, UNITS * UNIT_PRICE)
    town.send(3, "CreditToken", "approve", town.checksum(town.chain.contract("UsageEscrow")), UNITS)
    town.send(3, "UsageEscrow", "deposit", town.checksum(town.operator), token, UNITS)
    town.send(1, "UsageEscrow", "setSettlerCap", token, CAP)
    return str(token).lower()


def granted(house: House, token: str, **changes: Any) -> licensing_pb2.GrantChanged:
    """What licensing tells of them."""
    town, gateway = house.town, house.town.gateway()
    deposit = "0x" + settlement.deposit_id(town.payer, town.operator, token).hex()
    escrow = town.chain.contract("UsageEscrow")
    grant_id = f"{town.chain.chain_id}:{escrow}:{deposit}:0"
    values: dict[str, Any] = {
        "event_id": f"{grant_id}:1",
        "grant_id": grant_id,
        "version": 1,
        "source": licensing_pb2.GRANT_SOURCE_CREDITS,
        "state": "live",
        "account_id": gateway.account_id,
        "wallet": town.payer,
        "chain_id": town.chain.chain_id,
        "contract": escrow,
        "token_id": deposit,
        "plan_id": "1",
        "asset_id": town.asset_id,
        "granted": str(UNITS),
        "currency": token,
        "operator": town.operator,
    }
    return licensing_pb2.GrantChanged(**(values | changes))


async def test_prepaid_units_are_charged_settled_and_redeemed(house: House) -> None:
    token = series(house)
    await house.tell()
    said = granted(house, token)
    await house.inbox.send(said)
    await use(house, 1)
    calls = house.town.gateway().calls(2, 3, grant_id=said.grant_id, lease=f"{0xC4ED:032x}")
    await house.inbox.send(*calls)
    await finish(house, await house.settler.open_epoch())
    rows = await house.inbox.rows(
        "SELECT currency, amount, paid, records FROM settlement_items ORDER BY amount"
    )
    assert [(r.currency, int(r.amount), int(r.paid), r.records) for r in rows] == [
        (token, 5, 5, 2),
        (house.town.token, 7, 7, 1),
    ]
    assert await batches(house) == [(1, "final", 12, 12)]
    town = house.town
    name = (town.checksum(town.operator), 1, town.asset_id, town.checksum(token))
    town.release(1)
    town.send(4, "UsageEscrow", "release", name)
    pending = town.call("RevenueRouter", "pendingOf", town.asset_id, town.checksum(town.token))
    assert pending[0] == 7 + 5 * UNIT_PRICE
    assert town.call("CreditToken", "totalSupply") == UNITS - 5
    await house.tell()
    await assert_exact(house)


async def test_units_beyond_what_was_prepaid_are_the_operators_loss(house: House) -> None:
    token = series(house)
    await house.tell()
    said = granted(house, token, granted="4")
    await house.inbox.send(said)
    calls = house.town.gateway().calls(3, 2, grant_id=said.grant_id, lease=f"{0xC4ED:032x}")
    await house.inbox.send(*calls)
    rows = await house.inbox.rows("SELECT disposition, value, amount FROM charges ORDER BY sequence")
    assert [(r.disposition, int(r.value), int(r.amount)) for r in rows] == [
        ("billed", 3, 3),
        ("uncovered", 2, 0),
    ]


async def test_use_waits_until_its_deposit_is_told_as_credits(house: House) -> None:
    token = series(house)
    await house.tell()
    plain: dict[str, Any] = {"source": licensing_pb2.GRANT_SOURCE_DEPOSIT, "plan_id": "", "asset_id": ""}
    told, lease = granted(house, token, **plain), f"{0xC4ED:032x}"
    await house.inbox.send(told)
    await house.inbox.send(*house.town.gateway().calls(3, grant_id=told.grant_id, lease=lease))
    assert await house.inbox.rows("SELECT 1 FROM charges") == []
    await house.inbox.send(granted(house, token, version=2, event_id="2"))
    await replay(house.inbox.subscription("usage.recorded"), lease)
    rows = await house.inbox.rows("SELECT source, amount, disposition FROM charges")
    assert [(r.source, int(r.amount), r.disposition) for r in rows] == [("credits", 3, "billed")]


async def test_units_pay_for_no_other_plan_than_theirs(house: House) -> None:
    token = series(house)
    await house.tell()
    said = granted(house, token, plan_id="2")
    await house.inbox.send(said)
    await house.inbox.send(*house.town.gateway().calls(1, grant_id=said.grant_id, lease=f"{0xC4ED:032x}"))
    assert await house.inbox.rows("SELECT 1 FROM charges") == []
