"""Changes the vault's view of versions, and tells of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncSession

from licet_vault import db, events
from licet_vault.domain import State, VersionState


async def change_state(session: AsyncSession, wanted: VersionState) -> bool:
    """Stores and announces a state under the next number; the same state again does nothing and gives false.

    What is known of a version's interface is kept when the new state does not say it.
    """
    stored = await db.stored_state(session, (wanted.asset_id, wanted.digest, wanted.triton_url))
    if stored is not None:
        wanted = replace(
            wanted,
            metering_rule=wanted.metering_rule or stored.metering_rule,
            schema_json=wanted.schema_json or stored.schema_json,
        )
        if replace(wanted, number=stored.number) == stored:
            return False
    changed = replace(wanted, number=stored.number + 1 if stored else 1)
    await db.save_state(session, changed)
    await events.announce(session, [changed])
    return True


async def leave_other_tritons(session: AsyncSession, triton_urls: Sequence[str]) -> int:
    """Marks as unloaded what claims to be ready on a Triton that is not ours any more; returns how many."""
    left = await db.states_elsewhere(session, triton_urls)
    for state in left:
        await change_state(session, replace(state, state=State.UNLOADED, reason=""))
    return len(left)


async def announce_all(session: AsyncSession, triton_url: str) -> int:
    """Tells every state on one Triton again, for those who were not there; returns how many."""
    states = [state for state, _ in await db.states_of(session, triton_url)]
    await events.announce(session, states)
    return len(states)
