"""Folds events into the mirror's rows.

An event whose parent the mirror lacks changes what is there and no more: the contracts cannot emit it, unless the
parent's own event was refused as malformed, and then the parent stays out of the books with everything it owns.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from licet_kit.errors import PermanentError

from licet_indexer.domain import payloads as p
from licet_indexer.domain import rows as r
from licet_indexer.domain.abroad import MirrorBound, OwnerReported, fold_abroad
from licet_indexer.domain.chain import Chain, Site
from licet_indexer.domain.credits import (
    CreditsExpired,
    CreditsIssued,
    CreditsRedeemed,
    SeriesOpened,
    fold_credits,
    touched_by_credits,
)
from licet_indexer.domain.settled import (
    BatchSettled,
    ChargeChallenged,
    DirectDrawsSet,
    DrawRefunded,
    GroupSettled,
    HoldReleased,
    fold_settlement,
    touched_by_settlement,
)


class UnknownLicense(PermanentError):
    """A licence moved, or was lent, that the mirror has never seen."""

    code = "unknown_license"


def touched(payload: p.Payload, chain_id: int) -> list[r.RowKey]:  # noqa: C901, PLR0912 - one flat case an event
    """Keys of the rows that folding this event reads or writes."""
    match payload:
        case p.AssetRegistered() | p.AssetTransferred():
            return [(r.Asset, (chain_id, payload.asset_id))]
        case p.VersionPublished() | p.VersionActivated():
            version = (chain_id, payload.asset_id, payload.version_digest)
            return [(r.Asset, (chain_id, payload.asset_id)), (r.Version, version)]
        case p.PlanCreated() | p.PlanClosed():
            return [(r.Plan, (chain_id, payload.plan_id))]
        case p.LicensePurchased() | p.LicenseRenewed() | p.LicenseTransferred():
            return [(r.License, (chain_id, payload.token_id))]
        case p.LicenseRevoked() | p.LicenseMigrated() | p.UpdateUser():
            return [(r.License, (chain_id, payload.token_id))]
        case p.Deposited():
            return [(r.Deposit, (chain_id, payload.deposit_id))]
        case p.ExitRequested() | p.ExitDrawn() | p.Withdrawn():
            return [(r.Deposit, (chain_id, payload.deposit_id)), (r.Exit, (chain_id, payload.exit_id))]
        case p.MandateOpened() | p.MandateRevoked():
            return []
        case p.RevenueReceived():
            earners = (
                {payload.asset_id, payload.reference} if payload.source == "royalty" else {payload.asset_id}
            )
            return [(r.Revenue, (chain_id, asset, payload.token)) for asset in sorted(earners)]
        case p.Distributed():
            revenue = (chain_id, payload.asset_id, payload.token)
            return [(r.Revenue, revenue), (r.Earning, (chain_id, payload.payee, payload.token))]
        case p.Claimed():
            return [(r.Earning, (chain_id, payload.account, payload.token))]
        case p.OperatorKeySet():
            return [(r.OperatorKey, (chain_id, payload.operator, payload.receipt_key))]
        case MirrorBound() | OwnerReported():
            return [(r.AssetMirror, (chain_id, payload.asset_id))]
        case SeriesOpened() | CreditsIssued() | CreditsRedeemed() | CreditsExpired():
            return touched_by_credits(payload, chain_id)
        case (
            GroupSettled()
            | BatchSettled()
            | HoldReleased()
            | ChargeChallenged()
            | DrawRefunded()
            | DirectDrawsSet()
        ):
            return touched_by_settlement(payload, chain_id)
        case _:
            assert_never(payload)


def fold(payload: p.Payload, at: Site, chain: Chain, rows: r.Rows) -> p.Payload:  # noqa: C901, PLR0912 - one flat case a table
    """Applies one event and returns it, completed where the log alone does not say everything.

    Raises UnknownLicense, with nothing applied, for the move or the loan of a licence that the mirror does not hold.
    """
    match payload:
        case p.AssetRegistered() | p.AssetTransferred() | p.VersionPublished() | p.VersionActivated():
            _fold_asset(payload, at, rows)
        case p.PlanCreated() | p.PlanClosed():
            _fold_plan(payload, at, rows)
        case p.LicenseTransferred():
            return _fold_transfer(payload, at, rows)
        case p.UpdateUser():
            held = _held(payload, at, rows)
            return replace(payload, plan_id=held.plan_id, asset_id=held.asset_id)
        case p.LicenseRevoked():
            held = _held(payload, at, rows)
            rows.put(replace(held, end_time=payload.end_time, changed_block=at.block_number))
            return replace(payload, asset_id=held.asset_id)
        case p.LicenseMigrated():
            held = _held(payload, at, rows)
            moved = replace(held, contract=at.contract, holder=payload.holder, changed_block=at.block_number)
            rows.put(moved)
            return replace(payload, asset_id=held.asset_id)
        case p.LicensePurchased() | p.LicenseRenewed():
            _fold_license(payload, at, chain, rows)
        case p.Deposited() | p.ExitRequested() | p.ExitDrawn() | p.Withdrawn():
            _fold_deposit(payload, at, rows)
        case p.MandateOpened() | p.MandateRevoked():
            pass
        case p.RevenueReceived() | p.Distributed() | p.Claimed():
            _fold_money(payload, at, rows)
        case p.OperatorKeySet():
            rows.put(
                r.OperatorKey(
                    chain_id=at.chain_id,
                    changed_block=at.block_number,
                    operator=payload.operator,
                    receipt_key=payload.receipt_key,
                    valid_from=payload.valid_from,
                    valid_until=payload.valid_until,
                )
            )
        case MirrorBound() | OwnerReported():
            fold_abroad(payload, at, rows)
        case SeriesOpened() | CreditsIssued() | CreditsRedeemed() | CreditsExpired():
            fold_credits(payload, at, rows)
        case (
            GroupSettled()
            | BatchSettled()
            | HoldReleased()
            | ChargeChallenged()
            | DrawRefunded()
            | DirectDrawsSet()
        ):
            fold_settlement(payload, at, rows)
        case _:
            assert_never(payload)
    return payload


def _fold_asset(
    payload: p.AssetRegistered | p.AssetTransferred | p.VersionPublished | p.VersionActivated,
    at: Site,
    rows: r.Rows,
) -> None:
    asset = rows.get(r.Asset, at.chain_id, payload.asset_id)
    match payload:
        case p.AssetRegistered():
            asset = r.Asset(
                chain_id=at.chain_id,
                changed_block=at.block_number,
                asset_id=payload.asset_id,
                contract=at.contract,
                token_id=payload.token_id,
                owner=payload.owner,
                kind=payload.asset_kind,
                slug=payload.slug,
                active_version=None,
                version_count=0,
                registered_block=at.block_number,
            )
        case p.AssetTransferred():
            asset = asset and replace(asset, owner=payload.to)
        case p.VersionPublished():
            asset = asset and replace(asset, version_count=payload.ordinal)
            rows.put(
                r.Version(
                    chain_id=at.chain_id,
                    changed_block=at.block_number,
                    asset_id=payload.asset_id,
                    version_digest=payload.version_digest,
                    uri=payload.uri,
                    ordinal=payload.ordinal,
                    published_at=at.block_time,
                )
            )
        case p.VersionActivated():
            asset = asset and replace(asset, active_version=payload.version_digest)
    if asset is not None:
        rows.put(replace(asset, changed_block=at.block_number))


def _fold_plan(payload: p.PlanCreated | p.PlanClosed, at: Site, rows: r.Rows) -> None:
    if isinstance(payload, p.PlanClosed):
        plan = rows.get(r.Plan, at.chain_id, payload.plan_id)
        if plan is not None:
            rows.put(replace(plan, open=False, changed_block=at.block_number))
        return
    terms = payload.terms
    rows.put(
        r.Plan(
            chain_id=at.chain_id,
            changed_block=at.block_number,
            plan_id=payload.plan_id,
            contract=at.contract,
            creator=payload.creator,
            open=True,
            asset_id=terms.asset_id,
            currency=terms.currency,
            price=terms.price,
            period_s=terms.period_s,
            included_units=terms.included_units,
            unit_price=terms.unit_price,
            metering_rule=terms.metering_rule,
            requests_per_s=terms.requests_per_s,
            transferable=terms.transferable,
            commercial=terms.commercial,
            optimistic_units=terms.optimistic_units,
            optimistic_amount=terms.optimistic_amount,
            server=terms.server,
            terms_digest=terms.terms_digest,
            supply=terms.supply,
            per_recipient=terms.per_recipient,
            trial_period_s=terms.trial_period_s,
            trial_units=terms.trial_units,
            seats=terms.seats,
        )
    )


def _held(
    payload: p.LicenseTransferred | p.LicenseRevoked | p.LicenseMigrated | p.UpdateUser,
    at: Site,
    rows: r.Rows,
) -> r.License:
    held = rows.get(r.License, at.chain_id, payload.token_id)
    if held is None:
        raise UnknownLicense(f"licence {payload.token_id} changed, but its purchase is not in the mirror")
    return held


def _fold_transfer(payload: p.LicenseTransferred, at: Site, rows: r.Rows) -> p.LicenseTransferred:
    held = _held(payload, at, rows)
    rows.put(replace(held, holder=payload.to, changed_block=at.block_number))
    return replace(payload, plan_id=held.plan_id, asset_id=held.asset_id)


def _fold_license(
    payload: p.LicensePurchased | p.LicenseRenewed, at: Site, chain: Chain, rows: r.Rows
) -> None:
    if isinstance(payload, p.LicenseRenewed):
        held = rows.get(r.License, at.chain_id, payload.token_id)
        if held is not None:
            renewed = replace(held, end_time=payload.end_time, ordinal=payload.ordinal)
            rows.put(replace(renewed, changed_block=at.block_number))
        return
    rows.put(
        r.License(
            chain_id=at.chain_id,
            changed_block=at.block_number,
            token_id=payload.token_id,
            # The sale emits the event; the right itself is a token of License.
            contract=chain.license_of(payload.token_id),
            plan_id=payload.plan_id,
            asset_id=payload.asset_id,
            holder=payload.recipient,
            payer=payload.payer,
            price=payload.price,
            start_time=payload.start_time,
            end_time=payload.end_time,
            ordinal=0,
        )
    )


def _fold_deposit(
    payload: p.Deposited | p.ExitRequested | p.ExitDrawn | p.Withdrawn, at: Site, rows: r.Rows
) -> None:
    deposit = rows.get(r.Deposit, at.chain_id, payload.deposit_id)
    match payload:
        case p.Deposited() | p.ExitRequested():
            deposit = r.Deposit(
                chain_id=at.chain_id,
                changed_block=at.block_number,
                deposit_id=payload.deposit_id,
                payer=payload.payer,
                operator=payload.operator,
                token=payload.token,
                total=payload.total,
                drawn=payload.total - payload.balance,
                direct_until=deposit.direct_until if deposit else 0,
            )
        case p.ExitDrawn():
            # The matching rise of `drawn` comes with GroupSettled in the same transaction.
            deposit = deposit and replace(deposit, total=payload.total)
        case p.Withdrawn():
            pass
    if deposit is not None:
        rows.put(replace(deposit, changed_block=at.block_number))
    if not isinstance(payload, p.Deposited):
        _fold_exit(payload, at, rows)


def _fold_exit(payload: p.ExitRequested | p.ExitDrawn | p.Withdrawn, at: Site, rows: r.Rows) -> None:
    waiting = rows.get(r.Exit, at.chain_id, payload.exit_id)
    match payload:
        case p.ExitRequested():
            waiting = r.Exit(
                chain_id=at.chain_id,
                changed_block=at.block_number,
                exit_id=payload.exit_id,
                deposit_id=payload.deposit_id,
                amount=payload.amount,
                drawn=0,
                unlock_time=payload.unlock_time,
                withdrawn=None,
            )
        case p.ExitDrawn():
            waiting = waiting and replace(waiting, drawn=waiting.drawn + payload.amount)
        case p.Withdrawn():
            waiting = waiting and replace(waiting, withdrawn=payload.amount)
    if waiting is not None:
        rows.put(replace(waiting, changed_block=at.block_number))


def _fold_money(payload: p.RevenueReceived | p.Distributed | p.Claimed, at: Site, rows: r.Rows) -> None:
    match payload:
        case p.RevenueReceived():
            revenue = _revenue(payload.asset_id, payload.token, at, rows)
            if payload.source in ("sale", "expiry"):
                rows.put(replace(revenue, sale=revenue.sale + payload.amount))
            else:
                rows.put(replace(revenue, usage=revenue.usage + payload.amount))
            if payload.source == "royalty":
                child = _revenue(payload.reference, payload.token, at, rows)
                rows.put(replace(child, distributed=child.distributed + payload.amount))
        case p.Distributed():
            revenue = _revenue(payload.asset_id, payload.token, at, rows)
            distributed = revenue.distributed + payload.amount
            rows.put(replace(revenue, distributed=distributed, fee=revenue.fee + payload.fee))
            earning = _earning(payload.payee, payload.token, at, rows)
            rows.put(replace(earning, earned=earning.earned + payload.payee_amount))
        case p.Claimed():
            earning = _earning(payload.account, payload.token, at, rows)
            rows.put(replace(earning, claimed=earning.claimed + payload.amount))


def _revenue(asset_id: str, token: str, at: Site, rows: r.Rows) -> r.Revenue:
    row = rows.get(r.Revenue, at.chain_id, asset_id, token)
    if row is not None:
        return replace(row, changed_block=at.block_number)
    return r.Revenue(
        chain_id=at.chain_id,
        changed_block=at.block_number,
        asset_id=asset_id,
        token=token,
        sale=0,
        usage=0,
        distributed=0,
        fee=0,
    )


def _earning(account: str, token: str, at: Site, rows: r.Rows) -> r.Earning:
    row = rows.get(r.Earning, at.chain_id, account, token)
    if row is not None:
        return replace(row, changed_block=at.block_number)
    return r.Earning(
        chain_id=at.chain_id,
        changed_block=at.block_number,
        account=account,
        token=token,
        earned=0,
        claimed=0,
    )
