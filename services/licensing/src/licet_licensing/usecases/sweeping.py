"""What time does: rights end, leases run out, lost leases are given up, old rows go.

Every sweep takes a bounded batch and leaves rows that another replica holds, so any number may run at once. Each
returns how many it took; a full batch means that there is more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from licet_licensing import events
from licet_licensing.db import accounts, leases, rights
from licet_licensing.db.tables import OUTBOX
from licet_licensing.domain.grants import GrantState, expire, follow_draws, lift_quarantine, quarantine
from licet_licensing.domain.leases import LeaseState, announce_fence, suspend
from licet_licensing.usecases.telling import positions, tell_changes, tell_states

BATCH = 200
# Changes of units are told at most this often for each grant; the last one always is.
TELL_EVERY = timedelta(seconds=1)
# An answered request is kept longer than any worker repeats it, and than any lease lives.
REQUESTS_KEPT = timedelta(hours=1)
WORKERS_KEPT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Terms:
    """How long is waited before a lease is held back, and before it is given up.

    `horizon`: the time that a lost log may take to return. `floor`: the least of it, also when the right has ended.
    """

    grace: timedelta
    horizon: timedelta
    floor: timedelta
    decisions_kept: timedelta


async def expire_grants(session: AsyncSession, now: datetime) -> int:
    """Free units of rights that ended lapse."""
    ended = await rights.take_ended(session, now.timestamp(), BATCH)
    expired = [expire(grant) for grant in ended]
    await rights.save_grants(session, expired, published_at=now)
    await tell_states(session, expired)
    return len(ended)


async def suspend_leases(session: AsyncSession, now: datetime, terms: Terms) -> int:
    """Hold back what leases still have whose time and grace are over."""
    due = await leases.overdue(session, now - terms.grace, BATCH)
    before = await rights.lock_grants(session, {grant_id for _, grant_id in due}) if due else {}
    grants = dict(before)
    held = await leases.lock_leases(session, {lease_id for lease_id, _ in due}) if due else {}
    suspended = []
    for lent in held.values():
        lease = lent.lease
        if lease.state is LeaseState.ACTIVE and lease.expires_at <= (now - terms.grace).timestamp():
            grant = grants[lease.grant_id]
            outcome = suspend(lease, grant.balance)
            suspended.append(outcome.lease)
            grants[lease.grant_id] = grant.with_balance(outcome.balance)
    after = follow_draws(before, grants)
    await rights.save_grants(session, [after[name] for name in after if after[name] != before[name]])
    await leases.save_leases(session, suspended, suspended_at=now)
    return len(due)


async def fence_leases(session: AsyncSession, now: datetime, terms: Terms) -> int:
    """Announce, in the usage log itself, that lost leases are given up. Their units come back when that is read."""
    due = await leases.take_to_fence(
        session, now=now, horizon=now - terms.horizon, floor=now - terms.floor, limit=BATCH
    )
    await leases.save_leases(session, [announce_fence(lease) for lease in due])
    await OUTBOX.enqueue_many(session, [events.lease_fenced(lease, now) for lease in due])
    return len(due)


async def tell_units(session: AsyncSession, now: datetime) -> int:
    """Publish grants whose units moved since they were last told of."""
    changed = await rights.take_unpublished(session, now - TELL_EVERY, now, BATCH)
    await tell_states(session, changed)
    return len(changed)


async def cover_debt(session: AsyncSession) -> bool:
    """Charge use that a reorganisation left without a right to the right that its payer bought since; one at a time.

    False when there is none. The use was served and is paid for now, so the payer's debt ends; it is charged to
    nobody else: payer, holder and plan are the same.
    """
    due = await rights.coverable_debt(session)
    if due is None:
        return False
    debt_id, debt, cover = due
    grant = (await rights.lock_grants(session, {cover}))[cover]
    owed = await rights.lock_debt(session, debt_id)
    moved = grant.wallet != debt.wallet or grant.payer != debt.payer or grant.state is not GrantState.LIVE
    units = 0 if moved else min(owed, grant.balance.free)
    if units:
        await rights.save_grants(session, [grant.with_balance(grant.balance.charge(units))])
        await rights.keep_debt(session, debt_id, owed - units)
    return True


async def forget(session: AsyncSession, now: datetime, terms: Terms) -> int:
    """Drop rows that nobody can ask about any more."""
    dropped = await leases.forget(
        session, requests_before=now - REQUESTS_KEPT, workers_before=now - WORKERS_KEPT, limit=BATCH
    )
    kept_from = now - terms.decisions_kept
    return max(dropped, await accounts.forget(session, now=now, decisions_before=kept_from, limit=BATCH))


async def deny_key(session: AsyncSession, topic: str, key: str, grant_ids: set[str], now: datetime) -> None:
    """An event of this key could not be applied: the rights that it may concern are denied, their leases dead."""
    grants = await rights.lock_grants(session, grant_ids)
    await rights.hold(session, topic, key, grants.keys())
    changes = [quarantine(grant) for grant in grants.values() if not grant.quarantined]
    await rights.save_grants(session, [change.grant for change in changes], published_at=now)
    await tell_changes(session, changes, await positions(session), now)


async def readmit_key(session: AsyncSession, topic: str, key: str, now: datetime) -> None:
    """Every parked event of this key was applied: rights that no other key denies are lent from again."""
    grants = await rights.lock_grants(session, await rights.held_grants(session, topic, key))
    free = await rights.unhold(session, topic, key, grants.keys())
    changes = [lift_quarantine(grants[grant_id]) for grant_id in sorted(free) if grants[grant_id].quarantined]
    await rights.save_grants(session, [change.grant for change in changes], published_at=now)
    await tell_changes(session, changes, await positions(session), now)


async def grants_of_chain_key(session: AsyncSession, key: str) -> set[str]:
    """The grants that a key of chain.event may concern: an asset's licenses, or a payer's deposits with an operator."""
    payer, separator, operator = key.partition(":")
    if separator:
        found = await rights.grants_of_key(session, asset_id=None, payer=payer, operator=operator)
    else:
        found = await rights.grants_of_key(session, asset_id=key, payer="", operator="")
    return set(found)


async def grants_of_lease(session: AsyncSession, lease_id: str) -> set[str]:
    """The grant that a lease was lent from."""
    return {lent.lease.grant_id for lent in (await leases.read_leases(session, [lease_id])).values()}
