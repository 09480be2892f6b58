"""Prepaid units: what the contract Credits says of its series, and the row that it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from licet_indexer.domain import rows as r
from licet_indexer.domain.chain import Chain, Site, wire_time


@dataclass(frozen=True, slots=True)
class SeriesOpened:
    """Units of a plan are on sale; `token` is the ERC-20 over them. `unit_price` in the currency's smallest unit."""

    token: str
    plan_id: int
    asset_id: str
    currency: str
    unit_price: int
    supply: int
    expires_at: int
    transferable: bool


@dataclass(frozen=True, slots=True)
class CreditsIssued:
    """Units were paid for."""

    token: str
    asset_id: str
    recipient: str
    payer: str
    units: int
    price: int


@dataclass(frozen=True, slots=True)
class CreditsRedeemed:
    """Units that were used ended, and `amount` of their currency became revenue."""

    token: str
    asset_id: str
    units: int
    amount: int


@dataclass(frozen=True, slots=True)
class CreditsExpired:
    """Units that nobody used ended, and `amount` of their currency became revenue."""

    token: str
    asset_id: str
    holder: str
    units: int
    amount: int


CreditsEvent = SeriesOpened | CreditsIssued | CreditsRedeemed | CreditsExpired


def series_opened(a: Mapping[str, Any], _chain: Chain) -> SeriesOpened:
    """Reads the event."""
    s = a["series"]
    return SeriesOpened(
        token=a["token"],
        plan_id=a["planId"],
        asset_id=a["assetId"],
        currency=s["currency"],
        unit_price=s["unitPrice"],
        supply=s["supply"],
        expires_at=wire_time(s["expiresAt"]),
        transferable=s["transferable"],
    )


def credits_issued(a: Mapping[str, Any], _chain: Chain) -> CreditsIssued:
    """Reads the event."""
    return CreditsIssued(a["token"], a["assetId"], a["recipient"], a["payer"], a["units"], a["price"])


def credits_redeemed(a: Mapping[str, Any], _chain: Chain) -> CreditsRedeemed:
    """Reads the event."""
    return CreditsRedeemed(a["token"], a["assetId"], a["units"], a["amount"])


def credits_expired(a: Mapping[str, Any], _chain: Chain) -> CreditsExpired:
    """Reads the event."""
    return CreditsExpired(a["token"], a["assetId"], a["holder"], a["units"], a["amount"])


def touched_by_credits(payload: CreditsEvent, chain_id: int) -> list[r.RowKey]:
    """Keys of the rows that folding this event reads or writes."""
    return [(r.Series, (chain_id, payload.token))]


def fold_credits(payload: CreditsEvent, at: Site, rows: r.Rows) -> None:
    """Opens a series, or counts what became of its units."""
    if isinstance(payload, SeriesOpened):
        rows.put(
            r.Series(
                chain_id=at.chain_id,
                changed_block=at.block_number,
                token=payload.token,
                contract=at.contract,
                plan_id=payload.plan_id,
                asset_id=payload.asset_id,
                currency=payload.currency,
                unit_price=payload.unit_price,
                supply=payload.supply,
                expires_at=payload.expires_at,
                transferable=payload.transferable,
                issued=0,
                redeemed=0,
                expired=0,
            )
        )
        return
    series = rows.get(r.Series, at.chain_id, payload.token)
    if series is None:
        return
    match payload:
        case CreditsIssued():
            series = replace(series, issued=series.issued + payload.units)
        case CreditsRedeemed():
            series = replace(series, redeemed=series.redeemed + payload.units)
        case CreditsExpired():
            series = replace(series, expired=series.expired + payload.units)
    rows.put(replace(series, changed_block=at.block_number))
