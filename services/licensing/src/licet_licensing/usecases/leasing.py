"""Lending: a batch of requests of gateway workers, decided and written in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from licet_kit.ids import new_id
from sqlalchemy.ext.asyncio import AsyncSession

from licet_licensing import events, telemetry
from licet_licensing.db import accounts, leases, rights
from licet_licensing.db.accounts import LoggedDecision
from licet_licensing.db.leases import LentLease
from licet_licensing.db.tables import OUTBOX
from licet_licensing.domain.codes import Code
from licet_licensing.domain.decisions import Approval, Decision, Refusal, decide, share
from licet_licensing.domain.errors import RequestReused
from licet_licensing.domain.grants import Grant
from licet_licensing.domain.leases import Lease
from licet_licensing.domain.renewals import Renewal, Standing, renew
from licet_licensing.domain.scene import Ask, Policy
from licet_licensing.usecases.board import Board, Need, count_workers, read_board, read_mandates, read_rights
from licet_licensing.usecases.telling import tell_states


@dataclass(frozen=True, slots=True)
class LeaseAsk:
    """A worker asks for a lease. `fingerprint` tells a repetition from another request of the same id."""

    request_id: str
    fingerprint: bytes
    worker_id: str
    need: Need
    ask: Ask


@dataclass(frozen=True, slots=True)
class RenewAsk:
    """A worker asks to keep a lease, with `wanted` more units."""

    request_id: str
    fingerprint: bytes
    worker_id: str
    lease_id: str
    wanted: int


AnyAsk = LeaseAsk | RenewAsk


@dataclass(frozen=True, slots=True)
class Granted:
    """A lease as the worker is told of it. `units` counts all that the lease was lent in its life."""

    lease_id: str
    grant_id: str
    generation: int
    account_id: str
    account_lease: int
    source: str
    plan_key: str
    asset_id: str
    slug: str
    version_digest: str
    units: int
    max_amount: int
    expires_at: float
    metering_rule: str
    requests_per_s: int
    decision_id: str
    chain_id: int
    block_number: int
    block_hash: str
    requires_grant_id: str
    requires_generation: int
    units_remaining: int
    # Replies that were kept before plans had seats lack it, and before mandates the other.
    concurrency: int = 0
    max_calls: int = 0


@dataclass(frozen=True, slots=True)
class Denied:
    """A refusal as the worker is told of it."""

    code: str
    message: str
    remedy: str
    retry_after_ms: int
    decision_id: str


Reply = Granted | Denied
Answer = Reply | RequestReused


@dataclass(slots=True)
class _Batch:
    """What a batch writes at its end."""

    policy: Policy
    board: Board
    ordinals: dict[str, int]
    opened: list[LentLease] = field(default_factory=list)
    renewed: list[Lease] = field(default_factory=list)
    changed: dict[str, Grant] = field(default_factory=dict)
    decisions: list[LoggedDecision] = field(default_factory=list)


async def answer(
    session: AsyncSession, asks: Sequence[AnyAsk], policy: Policy, now: datetime
) -> dict[str, Answer]:
    """Answer requests, each once: a repeated one gets the stored reply, and lends nothing.

    Locks: requests, accounts, grants, leases, each sorted; so batches of other replicas and consumers wait for each
    other, but never in a circle.
    """
    by_id = {ask.request_id: ask for ask in asks}
    prints = {request_id: ask.fingerprint for request_id, ask in by_id.items()}
    new = await leases.claim_requests(session, prints, now)
    fresh = [ask for request_id, ask in by_id.items() if request_id in new]
    answers: dict[str, Answer] = {}
    if fresh:
        replies = await _decide_all(session, fresh, policy, now)
        kept = {name: to_json(reply) for name, reply in replies.items() if not _is_of_nobody(reply)}
        await leases.store_replies(session, kept)
        # A repetition may be refused anew: nothing was lent. Kept, made-up keys would fill the table.
        await leases.forget_requests(session, replies.keys() - kept.keys())
        answers.update(replies)
    answers.update(await _stored(session, {r: prints[r] for r in by_id if r not in new}))
    return answers


def _is_of_nobody(reply: Reply) -> bool:
    return isinstance(reply, Denied) and not reply.decision_id


async def _stored(session: AsyncSession, prints: Mapping[str, bytes]) -> dict[str, Answer]:
    if not prints:
        return {}
    stored = await leases.stored_replies(session, prints.keys())
    return {
        request_id: from_json(reply) if fingerprint == prints[request_id] else RequestReused(request_id)
        for request_id, (fingerprint, reply) in stored.items()
    }


def to_json(reply: Reply) -> dict[str, Any]:
    """A reply as it is stored; numbers beyond 2^53 stay exact as text."""
    values = {name: str(v) if isinstance(v, int) else v for name, v in asdict(reply).items()}
    return {"granted": isinstance(reply, Granted), **values}


_NUMBERS = frozenset(
    name for kind in (Granted, Denied) for name, hint in kind.__annotations__.items() if hint in (int, "int")
)


def from_json(stored: Mapping[str, Any]) -> Reply:
    """The reply that `to_json` stored."""
    values: dict[str, Any] = {
        name: int(value) if name in _NUMBERS else value for name, value in stored.items() if name != "granted"
    }
    return Granted(**values) if stored["granted"] else Denied(**values)


async def _decide_all(
    session: AsyncSession, asks: Sequence[AnyAsk], policy: Policy, now: datetime
) -> dict[str, Reply]:
    renewals = [ask for ask in asks if isinstance(ask, RenewAsk)]
    lent = await leases.read_leases(session, {ask.lease_id for ask in renewals}) if renewals else {}
    needs = {ask.request_id: _need_of(ask, lent) for ask in asks}
    board = await read_board(session, list(needs.values()), now)
    board.workers = await count_workers(session, {ask.worker_id for ask in asks}, now)
    ordinals = await accounts.lock_accounts(session, set(board.wallets))
    hashes = {need.credential_hash for need in needs.values() if need.credential_hash is not None}
    await read_mandates(session, board, hashes, lock=True)
    carried = {each.lease.grant_id for each in lent.values()}
    carried |= {each.requires_grant_id for each in lent.values() if each.requires_grant_id}
    await read_rights(session, board, policy, lock=True, also=carried)
    if lent:
        lent = await leases.lock_leases(session, lent.keys())
    batch = _Batch(policy, board, ordinals)
    replies: dict[str, Reply] = {}
    for ask in asks:
        need = needs[ask.request_id]
        if isinstance(ask, LeaseAsk):
            replies[ask.request_id] = _lend(batch, ask, need)
        else:
            replies[ask.request_id] = _renew(batch, ask, need, lent)
    await _write(session, batch, now)
    return replies


def _need_of(ask: AnyAsk, lent: Mapping[str, LentLease]) -> Need:
    if isinstance(ask, LeaseAsk):
        return ask.need
    held = lent.get(ask.lease_id)
    if held is None:
        return Need(None, "", "")
    return Need(held.credential_hash, held.lease.asset_id, "")


def _lend(batch: _Batch, ask: LeaseAsk, need: Need) -> Reply:
    decision = decide(ask.ask, batch.board.scene(need), batch.policy)
    if isinstance(decision, Refusal):
        return _refused(batch, ask, need, decision)
    lent = _open(batch, ask, need, decision)
    _lend_of(batch, decision.grant, decision.cost)
    _count_calls(batch, lent.lease.grant_id, decision.calls)
    batch.opened.append(lent)
    logged = _log(batch, ask, need, decision, lent.lease)
    return _granted(batch, lent, decision.requests_per_s, logged.decision_id)


def _open(batch: _Batch, ask: LeaseAsk, need: Need, approval: Approval) -> LentLease:
    account_id = batch.board.account_of(need) or ""
    batch.ordinals[account_id] += 1
    lease = Lease(
        lease_id=new_id(),
        grant_id=approval.grant.grant_id,
        generation=approval.grant.generation,
        account_id=account_id,
        account_lease=batch.ordinals[account_id],
        worker_id=ask.worker_id,
        asset_id=approval.plan.asset_id,
        plan_key=approval.plan.plan_key,
        units=approval.units,
        unit_price=approval.unit_price,
        reserved=approval.cost,
        remaining=approval.cost,
        expires_at=batch.board.now.timestamp() + approval.ttl_ms / 1000,
        calls=approval.calls,
    )
    return LentLease(
        lease=lease,
        payer=approval.grant.payer,
        wallet=approval.grant.wallet,
        credential_hash=need.credential_hash or b"",
        requires_grant_id=approval.requires.grant_id if approval.requires else None,
        requires_generation=approval.requires.generation if approval.requires else None,
    )


def _renew(batch: _Batch, ask: RenewAsk, need: Need, lent: dict[str, LentLease]) -> Reply:
    scene = batch.board.scene(need)
    decision = decide(Ask(max(1, ask.wanted), 1), scene, batch.policy)
    held = lent.get(ask.lease_id)
    standing = _standing(batch, held) if held else None
    renewal = renew(standing, decision, ask.worker_id, ask.wanted, batch.policy, scene.now)
    if isinstance(renewal, Refusal) or held is None:
        refusal = renewal if isinstance(renewal, Refusal) else Refusal(Code.QUOTA_EXHAUSTED, ())
        return _refused(batch, ask, need, refusal)
    cost = renewal.extra * held.lease.unit_price if held.lease.unit_price else renewal.extra
    lease = replace(
        held.lease,
        units=held.lease.units + renewal.extra,
        reserved=held.lease.reserved + cost,
        remaining=held.lease.remaining + cost,
        expires_at=renewal.expires_at,
    )
    # It gets no more calls: a window's are counted once, when they are lent.
    _lend_of(batch, batch.board.grants[lease.grant_id], cost)
    batch.renewed.append(lease)
    lent[ask.lease_id] = replace(held, lease=lease)
    logged = _log(batch, ask, need, renewal, lease)
    return _granted(batch, lent[ask.lease_id], _rate(batch, lease), logged.decision_id)


def _standing(batch: _Batch, held: LentLease) -> Standing:
    grants = batch.board.grants
    required = grants.get(held.requires_grant_id) if held.requires_grant_id else None
    return Standing(held.lease, grants.get(held.lease.grant_id), required, held.requires_generation)


def _rate(batch: _Batch, lease: Lease) -> int:
    plan = batch.board.plans.get(lease.plan_key)
    return max(1, (plan.requests_per_s if plan else 1) // max(1, batch.board.workers))


def _lend_of(batch: _Batch, grant: Grant, cost: int) -> None:
    """Lends of a grant, and of the deposit that it draws on."""
    _change(batch, grant.with_balance(grant.balance.lend(cost)))
    if grant.draws_on:
        deposit = batch.board.grants[grant.draws_on]
        _change(batch, deposit.with_balance(deposit.balance.lend(cost)))


def _count_calls(batch: _Batch, grant_id: str, calls: int) -> None:
    if calls:
        lent = batch.board.calls_lent
        lent[grant_id] = lent.get(grant_id, 0) + calls


def _change(batch: _Batch, grant: Grant) -> None:
    batch.board.grants[grant.grant_id] = grant
    batch.changed[grant.grant_id] = grant


def _granted(batch: _Batch, lent: LentLease, requests_per_s: int, decision_id: str) -> Granted:
    lease, board = lent.lease, batch.board
    grant, plan, asset = (
        board.grants[lease.grant_id],
        board.plans[lease.plan_key],
        board.assets_by_id[lease.asset_id],
    )
    chain_id, number, block_hash = board.position(asset)
    return Granted(
        lease_id=lease.lease_id,
        grant_id=lease.grant_id,
        generation=lease.generation,
        account_id=lease.account_id,
        account_lease=lease.account_lease,
        source=grant.source.value,
        plan_key=lease.plan_key,
        asset_id=lease.asset_id,
        slug=asset.slug,
        version_digest=asset.version_digest or "",
        units=lease.units,
        max_amount=lease.units * lease.unit_price,
        expires_at=lease.expires_at,
        metering_rule=plan.metering_rule,
        requests_per_s=requests_per_s,
        decision_id=decision_id,
        chain_id=chain_id,
        block_number=number,
        block_hash=block_hash,
        requires_grant_id=lent.requires_grant_id or "",
        requires_generation=lent.requires_generation or 0,
        units_remaining=grant.balance.free // (lease.unit_price or 1),
        concurrency=share(plan.seats, board.workers),
        max_calls=lease.calls,
    )


def _refused(batch: _Batch, ask: AnyAsk, need: Need, refusal: Refusal) -> Denied:
    # A credential of nobody leaves no decision: no account could read it, and anyone can make up such keys.
    known = batch.board.account_of(need) is not None
    if not known:
        telemetry.STRANGERS.add(1)
    return Denied(
        code=refusal.code.value,
        message=refusal.message,
        remedy=refusal.remedy,
        retry_after_ms=refusal.retry_after_ms,
        decision_id=_log(batch, ask, need, refusal, None).decision_id if known else "",
    )


def _log(
    batch: _Batch, ask: AnyAsk, need: Need, made: Decision | Renewal, lease: Lease | None
) -> LoggedDecision:
    asset = batch.board.asset_of(need)
    chain_id, number, block_hash = batch.board.position(asset)
    decision = LoggedDecision(
        decision_id=new_id(),
        account_id=batch.board.account_of(need),
        worker_id=ask.worker_id,
        asset_id=asset.asset_id if asset else "",
        code=made.code if isinstance(made, Refusal) else Code.OK,
        grant_id=lease.grant_id if lease else "",
        lease_id=lease.lease_id if lease else "",
        units=lease.units if lease else 0,
        chain_id=chain_id,
        block_number=max(0, number),
        block_hash=block_hash,
        steps=made.steps,
        decided_at=batch.board.now,
    )
    batch.decisions.append(decision)
    return decision


async def _write(session: AsyncSession, batch: _Batch, now: datetime) -> None:
    opened = [batch.changed[name] for name in sorted(batch.board.opened & batch.changed.keys())]
    for grant in opened:
        subject = f"mandate:{grant.grant_id.rpartition(':')[0]}"
        await rights.insert_grants(session, subject, [grant], now)
    await tell_states(session, opened)
    known = [grant for name, grant in batch.changed.items() if name not in batch.board.opened]
    await rights.save_grants(session, known)
    await leases.insert_leases(session, batch.opened, now)
    await leases.save_leases(session, batch.renewed)
    accounts_changed = {lent.lease.account_id for lent in batch.opened}
    await accounts.save_ordinals(session, {name: batch.ordinals[name] for name in accounts_changed})
    await accounts.log_decisions(session, batch.decisions)
    await OUTBOX.enqueue_many(session, [events.decision_logged(decision) for decision in batch.decisions])


async def give_back(session: AsyncSession, lease_id: str, worker_id: str, now: datetime) -> None:
    """A worker says that it will not use a lease any more. A hint: only its records give units back."""
    await leases.end_lease(session, lease_id, worker_id, now)
