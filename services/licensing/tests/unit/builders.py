"""Rights for unit tests, with the figures that a test does not care about filled in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from licet_licensing.domain.balance import Balance
from licet_licensing.domain.facts import Asset, Place, Plan, Purchased, Renewed, Transferred, Window
from licet_licensing.domain.grants import Grant, GrantState, LicenseWindow, Source

ASSET_ID = "0x" + "a5" * 32
OPERATOR = "0x" + "0e" * 20
CURRENCY = "0x" + "cc" * 20
ALICE = "0x" + "a1" * 20
BOB = "0x" + "b0" * 20
END = 2_000
NOW = 1_000.0

PLAN = Plan(
    plan_key="1:0xb00c:7",
    chain_id=1,
    plan_id="7",
    asset_id=ASSET_ID,
    currency=CURRENCY,
    period_s=1000,
    included_units=100,
    unit_price=0,
    metering_rule="request",
    requests_per_s=10,
    transferable=True,
    optimistic_units=5,
    optimistic_amount=0,
    server=OPERATOR,
)
ASSET = Asset(ASSET_ID, 1, "owner/model", "0x" + "dd" * 32, 50)


def window(
    ordinal: int = 0, *, block: int = 10, end: int = END, payer: str = ALICE, trial: bool = False
) -> Window:
    return Window(ordinal, f"0xb{block}:0", payer, end, block, trial)


def said(
    *,
    holder: str = ALICE,
    moved: bool = False,
    final_block: int = 100,
    plan: Plan = PLAN,
    user: str = "",
    until: int = 0,
    revoked: bool = False,
    **w: Any,
) -> LicenseWindow:
    return LicenseWindow(window(**w), holder, moved, plan, final_block, user, until, revoked)


def license_grant(*, free: int = 100, **changes: Any) -> Grant:
    grant = Grant(
        grant_id="1:0x11ce:1:0",
        source=Source.LICENSE,
        chain_id=1,
        contract="0x11ce",
        token_id="1",
        window=0,
        wallet=ALICE,
        payer=ALICE,
        operator=OPERATOR,
        currency=CURRENCY,
        plan_key=PLAN.plan_key,
        asset_id=ASSET_ID,
        origin="0xb10:0",
        state=GrantState.LIVE,
        balance=Balance(target=free),
        end_time=END,
    )
    return replace(grant, **changes)


def deposit_grant(*, total: int = 1_000, floor: int | None = None, **changes: Any) -> Grant:
    grant = Grant(
        grant_id="1:0xe5c0:0xd0:0",
        source=Source.DEPOSIT,
        chain_id=1,
        contract="0xe5c0",
        token_id="0xd0",
        window=0,
        wallet=ALICE,
        payer=ALICE,
        operator=OPERATOR,
        currency=CURRENCY,
        plan_key="",
        asset_id="",
        origin="",
        state=GrantState.LIVE,
        balance=Balance(target=total),
        end_time=0,
        floor=total if floor is None else floor,
    )
    return replace(grant, **changes)


def purchased(
    block: int = 10, log: int = 0, *, to: str = ALICE, payer: str = ALICE, end: int = END
) -> Purchased:
    return Purchased(Place(block, log), f"0xb{block}:{log}", "7", ASSET_ID, payer, to, end)


def renewed(ordinal: int, block: int, *, end: int, payer: str = ALICE) -> Renewed:
    return Renewed(Place(block, 0), f"0xb{block}:0", payer, end, ordinal)


def transferred(block: int, sender: str, recipient: str) -> Transferred:
    return Transferred(Place(block, 0), sender, recipient)
