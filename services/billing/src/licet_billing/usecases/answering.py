"""What an answer to a challenge shows, from the charges and records that billing keeps."""

from __future__ import annotations

from licet_schemas import settlement
from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing import events
from licet_billing.db import challenges as challenge_rows
from licet_billing.db import charges as charge_rows
from licet_billing.db import settlement as settlement_rows
from licet_billing.domain.challenges import Challenge, ChallengeState, Shown
from licet_billing.usecases.batches import lines_of, sum_leaf, sum_tree

# Challenges that one look reads; an answer is one transaction, and one waits at a time.
LIMIT = 16


async def observe(session: AsyncSession, challenge: Challenge, *, retracted: bool) -> None:
    """Stores a challenge, or forgets one whose block left the chain."""
    await (challenge_rows.remove if retracted else challenge_rows.save)(session, challenge)


async def open_challenges(session: AsyncSession, chain_id: int, operator: str) -> list[Challenge]:
    """Challenges that wait for an answer, the most urgent first."""
    return await challenge_rows.next_open(session, chain_id, operator, LIMIT)


async def close(
    session: AsyncSession, challenge: Challenge, state: ChallengeState, *, error: str = ""
) -> None:
    """Stores what became of a challenge, or why there is no answer yet."""
    await challenge_rows.close(session, challenge, state, error=error)


async def shown(session: AsyncSession, challenge: Challenge) -> Shown | None:
    """What answers a challenge; None where these books have no such charge.

    Raises RecordInconsistent where what they keep of its call is no signed record.
    """
    items = await settlement_rows.items(session, challenge.batch)
    leaves = await charge_rows.leaves_of_item(session, challenge.batch, challenge.item)
    if challenge.item >= len(items) or challenge.leaf >= len(leaves):
        return None
    lines = lines_of(items)
    leaf = leaves[challenge.leaf]
    record, segment = events.stored_usage(await charge_rows.record(session, leaf.request_id))
    return Shown(
        batch=challenge.batch,
        line=lines[challenge.item],
        line_proof=tuple(settlement.batch_tree(lines).proof(challenge.item)),
        charge=sum_leaf(leaf),
        steps=tuple(sum_tree(leaves).proof(challenge.leaf)),
        receipt=events.receipt(record),
        segment=segment,
    )
