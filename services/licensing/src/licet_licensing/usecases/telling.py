"""Telling others of grants that changed: outbox rows in the transaction of the change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from licet_kit.outbox import Outgoing
from sqlalchemy.ext.asyncio import AsyncSession

from licet_licensing import events
from licet_licensing.db import accounts, chain
from licet_licensing.db.tables import OUTBOX
from licet_licensing.domain.grants import Grant, GrantChange

# Where each chain stood when something changed: {chain id: (block number, block hash)}.
Positions = Mapping[int, tuple[int, str]]


async def positions(session: AsyncSession) -> dict[int, tuple[int, str]]:
    """The newest known block of every chain."""
    known = await chain.mirrors(session)
    return {chain_id: (mirror.block_number, mirror.block_hash) for chain_id, mirror in known.items()}


async def tell_changes(
    session: AsyncSession, changes: Sequence[GrantChange], at: Positions, now: datetime
) -> None:
    """Publish grants after a change of their right, and the end of their earlier leases where they were revoked."""
    messages = await _states(session, [change.grant for change in changes])
    for change in changes:
        if change.revoked is not None:
            number, block_hash = at.get(change.grant.chain_id, (0, ""))
            position = events.position_of(change.grant.chain_id, number, block_hash)
            messages.append(events.grant_revoked(change, position, now))
    await OUTBOX.enqueue_many(session, messages)


async def tell_states(session: AsyncSession, grants: Iterable[Grant]) -> None:
    """Publish grants as they are."""
    await OUTBOX.enqueue_many(session, await _states(session, list(grants)))


async def _states(session: AsyncSession, grants: Sequence[Grant]) -> list[Outgoing]:
    owners = await accounts.accounts_of(session, {grant.wallet for grant in grants}) if grants else {}
    return [events.grant_changed(grant, owners.get(grant.wallet, "")) for grant in grants]
