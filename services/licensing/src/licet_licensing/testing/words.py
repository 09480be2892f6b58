"""A chain that tests write by hand: its names and its events."""

from __future__ import annotations

import hashlib
from typing import Any

from licet_schemas.licet.chain.v1 import chain_pb2 as chain

from licet_licensing.events import Contracts

CHAIN_ID = 31337


def address(name: str) -> str:
    """An address made of a name."""
    return "0x" + hashlib.sha256(name.encode()).hexdigest()[:40]


OPERATOR, CURRENCY = address("operator"), address("currency")
LICENSE, PLANBOOK, ESCROW = address("License"), address("PlanBook"), address("UsageEscrow")
ALICE, BOB = address("alice"), address("bob")
NOBODY = "0x" + "00" * 20
ASSET_ID, DIGEST = "0x" + "a5" * 32, "0x" + "dd" * 32
SLUG = "owner/model"
DEPOSIT_ID = "0x" + "d0" * 32
CONTRACTS = Contracts({CHAIN_ID: (LICENSE, PLANBOOK, ESCROW)})
PLAN_KEY = f"{CHAIN_ID}:{PLANBOOK}:1"
DEPOSIT_GRANT = f"{CHAIN_ID}:{ESCROW}:{DEPOSIT_ID}:0"
PERIOD_S = 86_400


def grant_id(token_id: int = 1, window: int = 0) -> str:
    """The grant of a window of a license."""
    return f"{CHAIN_ID}:{LICENSE}:{token_id}:{window}"


def block_hash(number: int, fork: str = "a") -> str:
    """The hash of a block on a branch of the chain."""
    return "0x" + hashlib.sha256(f"{number}{fork}".encode()).hexdigest()


def block_said(number: int, fork: str = "a") -> chain.BlockFinality:
    """The news that a block is final."""
    name = block_hash(number, fork)
    return chain.BlockFinality(
        event_id=f"{CHAIN_ID}:{name}:final", chain_id=CHAIN_ID, block_number=number, block_hash=name
    )


def event(number: int, log: int = 0, *, fork: str = "a", **payload: Any) -> chain.ChainEvent:
    """An event as the indexer observes it for the first time."""
    said = chain.ChainEvent(
        chain_id=CHAIN_ID,
        block_number=number,
        block_hash=block_hash(number, fork),
        log_index=log,
        kind=chain.EVENT_KIND_OBSERVED,
        incarnation=1,
        **payload,
    )
    return _named(said)


def retracted(said: chain.ChainEvent) -> chain.ChainEvent:
    """The retraction of an event."""
    gone = chain.ChainEvent()
    gone.CopyFrom(said)
    gone.kind = chain.EVENT_KIND_RETRACTED
    return _named(gone)


def returned(said: chain.ChainEvent) -> chain.ChainEvent:
    """The event when its block is canonical once more."""
    back = chain.ChainEvent()
    back.CopyFrom(said)
    back.kind, back.incarnation = chain.EVENT_KIND_OBSERVED, said.incarnation + 1
    return _named(back)


def _named(said: chain.ChainEvent) -> chain.ChainEvent:
    kind = "observed" if said.kind == chain.EVENT_KIND_OBSERVED else "retracted"
    said.event_id = f"{said.chain_id}:{said.block_hash}:{said.log_index}:{kind}:{said.incarnation}"
    return said


def registered() -> chain.ChainEvent:
    payload = chain.AssetRegistered(asset_id=ASSET_ID, token_id="9", owner=OPERATOR, asset_kind=1, slug=SLUG)
    return event(1, 0, asset_registered=payload)


def activated(number: int = 1, log: int = 1, digest: str = DIGEST) -> chain.ChainEvent:
    return event(
        number, log, version_activated=chain.VersionActivated(asset_id=ASSET_ID, version_digest=digest)
    )


def planned(**changes: Any) -> chain.ChainEvent:
    terms: dict[str, Any] = {
        "asset_id": ASSET_ID,
        "currency": CURRENCY,
        "price": "1000",
        "period_s": PERIOD_S,
        "included_units": 100,
        "unit_price": "0",
        "metering_rule": "request",
        "requests_per_s": 10,
        "transferable": True,
        "optimistic_units": 5,
        "optimistic_amount": "0",
        "server": OPERATOR,
        "terms_digest": "0x" + "70" * 32,
    }
    payload = chain.PlanCreated(plan_id="1", creator=OPERATOR, terms=chain.PlanTerms(**(terms | changes)))
    return event(2, 0, plan_created=payload)


def renewed(
    number: int, ordinal: int, end_time: int, *, token_id: int = 1, payer: str = ALICE
) -> chain.ChainEvent:
    payload = chain.LicenseRenewed(
        token_id=str(token_id),
        plan_id="1",
        asset_id=ASSET_ID,
        payer=payer,
        price="1000",
        end_time=end_time,
        ordinal=ordinal,
    )
    return event(number, 0, license_renewed=payload)


def transferred(number: int, sender: str, recipient: str, *, token_id: int = 1) -> chain.ChainEvent:
    payload = chain.LicenseTransferred(
        token_id=str(token_id), plan_id="1", asset_id=ASSET_ID, to=recipient, **{"from": sender}
    )
    return event(number, 0, license_transferred=payload)


def delegated(number: int, user: str, until: int, *, token_id: int = 1, log: int = 0) -> chain.ChainEvent:
    """The holder lets a wallet use a license; `NOBODY` and 0: nobody any more."""
    payload = chain.UpdateUser(
        token_id=str(token_id), plan_id="1", asset_id=ASSET_ID, user=user, expires=until
    )
    return event(number, log, update_user=payload)


def breached(number: int, end_time: int, *, token_id: int = 1) -> chain.ChainEvent:
    """A license is revoked for a breach."""
    payload = chain.LicenseRevoked(token_id=str(token_id), plan_id="1", asset_id=ASSET_ID, end_time=end_time)
    return event(number, 0, license_revoked=payload)


def deposited(number: int, total: int, *, payer: str = ALICE, log: int = 0) -> chain.ChainEvent:
    payload = chain.Deposited(
        deposit_id=DEPOSIT_ID, payer=payer, operator=OPERATOR, token=CURRENCY, amount="1", total=str(total)
    )
    return event(number, log, deposited=payload)


def exit_requested(number: int, total: int) -> chain.ChainEvent:
    payload = chain.ExitRequested(
        exit_id="1",
        deposit_id=DEPOSIT_ID,
        payer=ALICE,
        operator=OPERATOR,
        token=CURRENCY,
        amount="1",
        total=str(total),
    )
    return event(number, 0, exit_requested=payload)


def settled(
    number: int, due: int, paid: int, *, operator: str = OPERATOR, index: int = 0
) -> chain.ChainEvent:
    # Two lines of the deposit, as where it is drawn from by two authorities.
    parts = ((due - due // 2, paid - paid // 2), (due // 2, paid // 2))
    lines = [
        chain.SettledLine(deposit_id=DEPOSIT_ID, due=str(of), paid=str(got), records=1) for of, got in parts
    ]
    payload = chain.GroupSettled(operator=operator, batch=1, asset_id=ASSET_ID, token=CURRENCY, lines=lines)
    return event(number, index, group_settled=payload)


SERIES = "0x" + "ce" * 20
SERIES_DEPOSIT_ID = "0x" + "5d" * 32
SERIES_GRANT = f"{CHAIN_ID}:{ESCROW}:{SERIES_DEPOSIT_ID}:0"


def series_opened(number: int, *, end: int, plan_id: str = "1") -> chain.ChainEvent:
    """Prepaid units of the plan are on sale until `end`."""
    payload = chain.SeriesOpened(
        token=SERIES,
        plan_id=plan_id,
        asset_id=ASSET_ID,
        currency=CURRENCY,
        unit_price="7",
        supply=1_000,
        expires_at=end,
    )
    return event(number, 0, series_opened=payload)


def credits_deposited(number: int, total: int, *, payer: str = ALICE) -> chain.ChainEvent:
    """Units of the series are in the escrow."""
    payload = chain.Deposited(
        deposit_id=SERIES_DEPOSIT_ID,
        payer=payer,
        operator=OPERATOR,
        token=SERIES,
        amount="1",
        total=str(total),
    )
    return event(number, 1, deposited=payload)


def credits_exit(number: int, total: int) -> chain.ChainEvent:
    """Units leave the spendable balance."""
    payload = chain.ExitRequested(
        exit_id="9",
        deposit_id=SERIES_DEPOSIT_ID,
        payer=ALICE,
        operator=OPERATOR,
        token=SERIES,
        amount="1",
        total=str(total),
    )
    return event(number, 2, exit_requested=payload)


MANDATE_ID = "0x" + "4d" * 32


def mandated(number: int, *, begin: int, payer: str = ALICE, **terms: Any) -> chain.ChainEvent:
    """A payer opens a mandate over the deposit: 300 of 500 in windows of 100 s, unless `terms` say otherwise."""
    values: dict[str, Any] = {
        "mandate_id": MANDATE_ID,
        "deposit_id": DEPOSIT_ID,
        "operator": OPERATOR,
        "token": CURRENCY,
        "window_amount": "300",
        "total_amount": "500",
        "in_flight_cap": "300",
        "window_s": 100,
        "window_records": 1_000,
        "grace_s": 60,
        "valid_until": 2**40,
    }
    payload = chain.MandateOpened(payer=payer, valid_from=begin, **(values | terms))
    return event(number, 0, mandate_opened=payload)


def mandate_revoked(number: int, *, fork: str = "a") -> chain.ChainEvent:
    """The payer revokes it."""
    payload = chain.MandateRevoked(mandate_id=MANDATE_ID, payer=ALICE, operator=OPERATOR, token=CURRENCY)
    return event(number, 0, fork=fork, mandate_revoked=payload)


def direct_draws(number: int, until: int) -> chain.ChainEvent:
    """The payer lets the deposit be drawn from directly until then; 0: again."""
    payload = chain.DirectDrawsSet(
        deposit_id=DEPOSIT_ID, payer=ALICE, operator=OPERATOR, token=CURRENCY, until=until
    )
    return event(number, 0, direct_draws_set=payload)


def exit_drawn(number: int, total: int) -> chain.ChainEvent:
    payload = chain.ExitDrawn(
        exit_id="1",
        deposit_id=DEPOSIT_ID,
        payer=ALICE,
        operator=OPERATOR,
        token=CURRENCY,
        amount="1",
        total=str(total),
    )
    return event(number, 0, exit_drawn=payload)
