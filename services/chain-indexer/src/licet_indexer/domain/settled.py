"""Settlement: what an escrow drew in a batch, holds for its assets, gives back and lets go.

A group of a batch is one event with a line for each item. What it paid is held for the asset until its dispute time is
over: a refund takes a line's draw out of it, a release brings the rest to the router. A deposit's `drawn` counts what
was drawn, also where it came back: it goes to the payer's wallet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never

from licet_indexer.domain import rows as r
from licet_indexer.domain.chain import Chain, Site, wire_time


@dataclass(frozen=True, slots=True)
class SettledLine:
    """One item of a group. `authority` is zero for the deposit itself; `paid < due` is the operator's shortfall."""

    deposit_id: str
    authority: str
    due: int
    paid: int
    window: int
    records: int


@dataclass(frozen=True, slots=True)
class GroupSettled:
    """Items that were paid in one token to one asset. `first` is the place of the first line in the batch."""

    operator: str
    batch: int
    asset_id: str
    token: str
    first: int
    due: int
    paid: int
    release_at: int
    lines: tuple[SettledLine, ...]


@dataclass(frozen=True, slots=True)
class BatchSettled:
    """A batch was settled; it comes after its groups."""

    operator: str
    batch: int
    root: str
    data_uri: str
    items: int
    due: int
    paid: int


@dataclass(frozen=True, slots=True)
class HoldReleased:
    """What was held for an asset went to the RevenueRouter."""

    operator: str
    batch: int
    asset_id: str
    token: str
    amount: int


@dataclass(frozen=True, slots=True)
class ChargeChallenged:
    """A payer asks for the charge at `position` of a line that drew `amount`, until `deadline`."""

    line_id: str
    payer: str
    operator: str
    batch: int
    index: int
    position: int
    amount: int
    deadline: int


@dataclass(frozen=True, slots=True)
class DrawRefunded:
    """What a line drew went from the hold to the payer's wallet."""

    line_id: str
    payer: str
    operator: str
    batch: int
    index: int
    asset_id: str
    token: str
    amount: int


@dataclass(frozen=True, slots=True)
class DirectDrawsSet:
    """From `until` on a deposit is drawn from by a mandate or a voucher alone; 0: it needs neither."""

    deposit_id: str
    payer: str
    operator: str
    token: str
    until: int


Settled = GroupSettled | BatchSettled | HoldReleased | ChargeChallenged | DrawRefunded | DirectDrawsSet


def touched_by_settlement(payload: Settled, chain_id: int) -> list[r.RowKey]:
    """Keys of the rows that folding this event reads or writes."""
    match payload:
        case GroupSettled():
            batch = (chain_id, payload.operator, payload.batch)
            places = range(payload.first, payload.first + len(payload.lines))
            items: list[r.RowKey] = [(r.SettlementItem, (*batch, place)) for place in places]
            deposits = sorted({line.deposit_id for line in payload.lines})
            hold = (r.Hold, (*batch, payload.asset_id, payload.token))
            return [*items, *((r.Deposit, (chain_id, deposit)) for deposit in deposits), hold]
        case BatchSettled():
            return [(r.Batch, (chain_id, payload.operator, payload.batch))]
        case HoldReleased():
            hold_key = (chain_id, payload.operator, payload.batch, payload.asset_id, payload.token)
            return [(r.Hold, hold_key)]
        case DrawRefunded():
            batch = (chain_id, payload.operator, payload.batch)
            item = (r.SettlementItem, (*batch, payload.index))
            return [item, (r.Hold, (*batch, payload.asset_id, payload.token))]
        case DirectDrawsSet():
            return [(r.Deposit, (chain_id, payload.deposit_id))]
        case ChargeChallenged():
            return []
        case _:
            assert_never(payload)


def fold_settlement(payload: Settled, at: Site, rows: r.Rows) -> None:
    """Applies one event of a settlement or of what becomes of it."""
    match payload:
        case GroupSettled():
            _fold_group(payload, at, rows)
        case BatchSettled():
            rows.put(
                r.Batch(
                    chain_id=at.chain_id,
                    changed_block=at.block_number,
                    operator=payload.operator,
                    batch=payload.batch,
                    root=payload.root,
                    data_uri=payload.data_uri,
                    items=payload.items,
                    due=payload.due,
                    paid=payload.paid,
                    tx_hash=at.tx_hash,
                )
            )
        case HoldReleased() | DrawRefunded():
            _fold_hold(payload, at, rows)
        case DirectDrawsSet():
            _fold_direct(payload, at, rows)
        case ChargeChallenged():
            pass
        case _:
            assert_never(payload)


def _fold_group(payload: GroupSettled, at: Site, rows: r.Rows) -> None:
    rows.put(
        r.Hold(
            chain_id=at.chain_id,
            changed_block=at.block_number,
            operator=payload.operator,
            batch=payload.batch,
            asset_id=payload.asset_id,
            token=payload.token,
            paid=payload.paid,
            refunded=0,
            released=0,
            release_at=payload.release_at,
        )
    )
    for place, line in enumerate(payload.lines, payload.first):
        rows.put(
            r.SettlementItem(
                chain_id=at.chain_id,
                changed_block=at.block_number,
                operator=payload.operator,
                batch=payload.batch,
                index=place,
                deposit_id=line.deposit_id,
                authority=line.authority,
                asset_id=payload.asset_id,
                token=payload.token,
                due=line.due,
                paid=line.paid,
                refunded=0,
                window=line.window,
                records=line.records,
            )
        )
        deposit = rows.get(r.Deposit, at.chain_id, line.deposit_id)
        if deposit is not None and line.paid:
            rows.put(replace(deposit, drawn=deposit.drawn + line.paid, changed_block=at.block_number))


def _fold_hold(payload: HoldReleased | DrawRefunded, at: Site, rows: r.Rows) -> None:
    batch = (at.chain_id, payload.operator, payload.batch)
    hold = rows.get(r.Hold, *batch, payload.asset_id, payload.token)
    if isinstance(payload, HoldReleased):
        hold = hold and replace(hold, released=hold.released + payload.amount)
    else:
        hold = hold and replace(hold, refunded=hold.refunded + payload.amount)
        item = rows.get(r.SettlementItem, *batch, payload.index)
        if item is not None:
            rows.put(replace(item, refunded=payload.amount, changed_block=at.block_number))
    if hold is not None:
        rows.put(replace(hold, changed_block=at.block_number))


def _fold_direct(payload: DirectDrawsSet, at: Site, rows: r.Rows) -> None:
    known = rows.get(r.Deposit, at.chain_id, payload.deposit_id)
    # It may be said before anything is deposited.
    deposit = known or r.Deposit(
        chain_id=at.chain_id,
        changed_block=at.block_number,
        deposit_id=payload.deposit_id,
        payer=payload.payer,
        operator=payload.operator,
        token=payload.token,
        total=0,
        drawn=0,
    )
    rows.put(replace(deposit, direct_until=payload.until, changed_block=at.block_number))


Args = Mapping[str, Any]


def group_settled(a: Args, _chain: Chain) -> GroupSettled:
    """The GroupSettled of a decoded log."""
    lines = tuple(
        SettledLine(x["depositId"], x["authority"], x["due"], x["paid"], x["window"], x["records"])
        for x in a["lines"]
    )
    return GroupSettled(
        operator=a["operator"],
        batch=a["batch"],
        asset_id=a["assetId"],
        token=a["token"],
        first=a["first"],
        due=a["due"],
        paid=a["paid"],
        release_at=wire_time(a["releaseAt"]),
        lines=lines,
    )


def batch_settled(a: Args, _chain: Chain) -> BatchSettled:
    """The BatchSettled of a decoded log."""
    return BatchSettled(a["operator"], a["batch"], a["root"], a["dataUri"], a["items"], a["due"], a["paid"])


def hold_released(a: Args, _chain: Chain) -> HoldReleased:
    """The HoldReleased of a decoded log."""
    return HoldReleased(a["operator"], a["batch"], a["assetId"], a["token"], a["amount"])


def charge_challenged(a: Args, _chain: Chain) -> ChargeChallenged:
    """The ChargeChallenged of a decoded log."""
    return ChargeChallenged(
        line_id=a["lineId"],
        payer=a["payer"],
        operator=a["operator"],
        batch=a["batch"],
        index=a["index"],
        position=a["position"],
        amount=a["amount"],
        deadline=wire_time(a["deadline"]),
    )


def draw_refunded(a: Args, _chain: Chain) -> DrawRefunded:
    """The DrawRefunded of a decoded log."""
    return DrawRefunded(
        line_id=a["lineId"],
        payer=a["payer"],
        operator=a["operator"],
        batch=a["batch"],
        index=a["index"],
        asset_id=a["assetId"],
        token=a["token"],
        amount=a["amount"],
    )


def direct_draws_set(a: Args, _chain: Chain) -> DirectDrawsSet:
    """The DirectDrawsSet of a decoded log."""
    return DirectDrawsSet(a["depositId"], a["payer"], a["operator"], a["token"], wire_time(a["until"]))
