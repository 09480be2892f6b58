"""Leases, the requests that asked for them, the workers that hold them, and losses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from licet_licensing.db import rights, tables
from licet_licensing.db.tables import table
from licet_licensing.domain.leases import Lease, LeaseState, LossReason

LEASES = table(tables.LeaseRow)
REQUESTS = table(tables.LeaseRequestRow)
WORKERS = table(tables.WorkerRow)
LOSSES = table(tables.LossRow)

OPEN = (LeaseState.ACTIVE.value, LeaseState.SUSPENDED.value, LeaseState.FENCING.value)


@dataclass(frozen=True, slots=True)
class LentLease:
    """A lease with what only the database needs to know of it."""

    lease: Lease
    payer: str
    wallet: str
    credential_hash: bytes
    requires_grant_id: str | None
    requires_generation: int | None


@dataclass(frozen=True, slots=True)
class Loss:
    """Use that nobody pays."""

    loss_id: str
    lease_id: str
    grant_id: str
    account_id: str
    units: int
    reason: LossReason


def _lease(row: Row[Any]) -> Lease:
    return Lease(
        lease_id=row.lease_id,
        grant_id=row.grant_id,
        generation=row.generation,
        account_id=row.account_id,
        account_lease=row.account_lease,
        worker_id=row.worker_id,
        asset_id=row.asset_id,
        plan_key=row.plan_key,
        units=row.units,
        unit_price=row.unit_price,
        reserved=row.reserved,
        remaining=row.remaining,
        calls=row.calls,
        expires_at=row.expires_at.timestamp(),
        state=LeaseState(row.state),
        orphaned=row.orphaned,
        records=row.records,
        last_sequence=row.last_sequence,
    )


def _lent(row: Row[Any]) -> LentLease:
    return LentLease(
        _lease(row),
        row.payer,
        row.wallet,
        row.credential_hash,
        row.requires_grant_id,
        row.requires_generation,
    )


async def claim_requests(session: AsyncSession, prints: dict[str, bytes], now: datetime) -> set[str]:
    """Take these requests; returns those that nobody took before. Waits for one who is just answering the same."""
    rows = [
        {"request_id": request_id, "fingerprint": prints[request_id], "reply": None, "created_at": now}
        for request_id in sorted(prints)
    ]
    statement = insert(REQUESTS).values(rows).on_conflict_do_nothing().returning(REQUESTS.c.request_id)
    return set((await session.scalars(statement)).all())


async def stored_replies(
    session: AsyncSession, request_ids: Collection[str]
) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Fingerprint and reply of requests that were answered before."""
    rows = await session.execute(select(REQUESTS).where(REQUESTS.c.request_id.in_(request_ids)))
    return {row.request_id: (row.fingerprint, row.reply or {}) for row in rows}


async def store_replies(session: AsyncSession, replies: dict[str, dict[str, Any]]) -> None:
    """Keep the replies of requests taken in this transaction."""
    if replies:
        rows = [{"key": request_id, "reply": reply} for request_id, reply in sorted(replies.items())]
        statement = (
            update(REQUESTS)
            .where(REQUESTS.c.request_id == bindparam("key"))
            .values(reply=bindparam("reply", type_=REQUESTS.c.reply.type))
        )
        await (await session.connection()).execute(statement, rows)


async def forget_requests(session: AsyncSession, request_ids: Collection[str]) -> None:
    """Give up requests taken in this transaction."""
    if request_ids:
        await session.execute(REQUESTS.delete().where(REQUESTS.c.request_id.in_(request_ids)))


async def insert_leases(session: AsyncSession, lent: Sequence[LentLease], now: datetime) -> None:
    """Write new leases."""
    if lent:
        await session.execute(insert(LEASES), [_row(each, now) for each in lent])


def _row(lent: LentLease, now: datetime) -> dict[str, Any]:
    lease = lent.lease
    return {
        "lease_id": lease.lease_id,
        "grant_id": lease.grant_id,
        "generation": lease.generation,
        "account_id": lease.account_id,
        "account_lease": lease.account_lease,
        "worker_id": lease.worker_id,
        "asset_id": lease.asset_id,
        "plan_key": lease.plan_key,
        "payer": lent.payer,
        "wallet": lent.wallet,
        "credential_hash": lent.credential_hash,
        "requires_grant_id": lent.requires_grant_id,
        "requires_generation": lent.requires_generation,
        "unit_price": lease.unit_price,
        "opened_at": now,
        "suspended_at": None,
        **_state(lease),
    }


def _state(lease: Lease) -> dict[str, Any]:
    return {
        "units": lease.units,
        "reserved": lease.reserved,
        "remaining": lease.remaining,
        "calls": lease.calls,
        "state": lease.state.value,
        "orphaned": lease.orphaned,
        "records": lease.records,
        "last_sequence": lease.last_sequence,
        "expires_at": datetime.fromtimestamp(lease.expires_at, UTC),
    }


async def read_leases(session: AsyncSession, lease_ids: Collection[str]) -> dict[str, LentLease]:
    """These leases, as they are now; their grants must be locked before they are."""
    rows = await session.execute(select(LEASES).where(LEASES.c.lease_id.in_(lease_ids)))
    return {row.lease_id: _lent(row) for row in rows}


async def lock_leases(session: AsyncSession, lease_ids: Collection[str]) -> dict[str, LentLease]:
    """These leases, locked."""
    query = (
        select(LEASES).where(LEASES.c.lease_id.in_(lease_ids)).order_by(LEASES.c.lease_id).with_for_update()
    )
    return {row.lease_id: _lent(row) for row in await session.execute(query)}


async def lock_open_leases(session: AsyncSession, grant_ids: Collection[str]) -> list[Lease]:
    """Every lease of these grants that may still be charged, locked."""
    query = (
        select(LEASES)
        .where(LEASES.c.grant_id.in_(grant_ids), LEASES.c.state.in_(OPEN))
        .order_by(LEASES.c.lease_id)
        .with_for_update()
    )
    return [_lease(row) for row in await session.execute(query)]


async def save_leases(
    session: AsyncSession, changed: Iterable[Lease], *, suspended_at: datetime | None = None
) -> None:
    """Write locked leases back."""
    rows = [
        {**_state(lease), "key": lease.lease_id} for lease in sorted(changed, key=lambda each: each.lease_id)
    ]
    if not rows:
        return
    values: dict[str, Any] = {
        name: bindparam(name, type_=LEASES.c[name].type) for name in rows[0] if name != "key"
    }
    if suspended_at is not None:
        values["suspended_at"] = suspended_at
    statement = update(LEASES).where(LEASES.c.lease_id == bindparam("key")).values(values)
    await (await session.connection()).execute(statement, rows)


async def overdue(session: AsyncSession, before: datetime, limit: int) -> list[tuple[str, str]]:
    """(lease, grant) of active leases that ran out before `before`. Not locked: look again under the grant's lock."""
    query = (
        select(LEASES.c.lease_id, LEASES.c.grant_id)
        .where(LEASES.c.state == LeaseState.ACTIVE.value, LEASES.c.expires_at <= before)
        .order_by(LEASES.c.expires_at)
        .limit(limit)
    )
    return [(row.lease_id, row.grant_id) for row in await session.execute(query)]


async def take_to_fence(
    session: AsyncSession, *, now: datetime, horizon: datetime, floor: datetime, limit: int
) -> list[Lease]:
    """Suspended leases to give up, locked: suspended before `horizon`, or before `floor` and their right has ended."""
    grants = rights.GRANTS
    ended = (grants.c.end_time > 0) & (grants.c.end_time <= int(now.timestamp()))
    query = (
        select(LEASES)
        .join(grants, grants.c.grant_id == LEASES.c.grant_id)
        .where(
            LEASES.c.state == LeaseState.SUSPENDED.value,
            LEASES.c.suspended_at <= floor,
            or_(LEASES.c.suspended_at <= horizon, ended),
        )
        .order_by(LEASES.c.lease_id)
        .limit(limit)
        .with_for_update(of=LEASES, skip_locked=True)
    )
    return [_lease(row) for row in await session.execute(query)]


async def end_lease(session: AsyncSession, lease_id: str, worker_id: str, now: datetime) -> None:
    """The worker gave the lease back: it will not use it any more. Its records still decide."""
    await session.execute(
        update(LEASES)
        .where(LEASES.c.lease_id == lease_id, LEASES.c.worker_id == worker_id)
        .where(LEASES.c.state == LeaseState.ACTIVE.value, LEASES.c.expires_at > now)
        .values(expires_at=now)
    )


async def active_workers(session: AsyncSession, since: datetime) -> dict[str, datetime]:
    """Workers that asked since then."""
    rows = await session.execute(select(WORKERS).where(WORKERS.c.seen_at >= since))
    return {row.worker_id: row.seen_at for row in rows}


async def see_workers(session: AsyncSession, worker_ids: Collection[str], now: datetime) -> None:
    """Note that these workers asked."""
    if worker_ids:
        rows = [{"worker_id": worker_id, "seen_at": now} for worker_id in sorted(worker_ids)]
        statement = insert(WORKERS).values(rows)
        newest = func.greatest(WORKERS.c.seen_at, statement.excluded.seen_at)
        await session.execute(
            statement.on_conflict_do_update(index_elements=[WORKERS.c.worker_id], set_={"seen_at": newest})
        )


async def add_losses(session: AsyncSession, losses: Sequence[Loss], now: datetime) -> None:
    """Write use that nobody pays; a loss is named by its record, so that it is counted once."""
    if losses:
        rows = [
            {
                "loss_id": loss.loss_id,
                "lease_id": loss.lease_id,
                "grant_id": loss.grant_id,
                "account_id": loss.account_id,
                "units": loss.units,
                "reason": loss.reason.value,
                "recorded_at": now,
            }
            for loss in losses
        ]
        await session.execute(insert(LOSSES).on_conflict_do_nothing(), rows)


async def forget(
    session: AsyncSession, *, requests_before: datetime, workers_before: datetime, limit: int
) -> int:
    """Drop answered requests and silent workers that nobody can ask about any more."""
    old = select(REQUESTS.c.request_id).where(REQUESTS.c.created_at < requests_before).limit(limit)
    gone = await session.execute(delete(REQUESTS).where(REQUESTS.c.request_id.in_(old)))
    await session.execute(delete(WORKERS).where(WORKERS.c.seen_at < workers_before))
    return int(gone.rowcount)  # type: ignore[attr-defined]
