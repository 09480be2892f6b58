"""What payers ask the operator to show."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing.domain.challenges import Challenge, ChallengeState
from licet_billing.domain.settlement import BatchKey


async def save(session: AsyncSession, challenge: Challenge) -> None:
    """Stores a challenge that was observed; one that came back with its block is open again."""
    key = challenge.batch
    await session.execute(
        text(
            "INSERT INTO challenges (chain_id, line_id, operator, batch, item, leaf, deadline)"
            " VALUES (:chain_id, :line_id, :operator, :batch, :item, :leaf, :deadline)"
            " ON CONFLICT (chain_id, line_id) DO UPDATE SET leaf = excluded.leaf, deadline = excluded.deadline,"
            " state = 'open', last_error = ''"
        ),
        {
            "chain_id": key.chain_id,
            "line_id": challenge.line_id,
            "operator": key.operator,
            "batch": key.number,
            "item": challenge.item,
            "leaf": challenge.leaf,
            "deadline": challenge.deadline,
        },
    )


async def remove(session: AsyncSession, challenge: Challenge) -> None:
    """Forgets a challenge whose block left the chain."""
    await session.execute(
        text("DELETE FROM challenges WHERE chain_id = :chain_id AND line_id = :line_id"),
        {"chain_id": challenge.batch.chain_id, "line_id": challenge.line_id},
    )


async def next_open(session: AsyncSession, chain_id: int, operator: str, limit: int) -> list[Challenge]:
    """Challenges that wait for an answer, the most urgent first."""
    rows = await session.execute(
        text(
            "SELECT line_id, batch, item, leaf, deadline FROM challenges WHERE chain_id = :chain_id"
            " AND operator = :operator AND state = 'open' ORDER BY deadline LIMIT :limit"
        ),
        {"chain_id": chain_id, "operator": operator, "limit": limit},
    )
    return [
        Challenge(row.line_id, BatchKey(chain_id, operator, row.batch), row.item, row.leaf, row.deadline)
        for row in rows
    ]


async def close(
    session: AsyncSession, challenge: Challenge, state: ChallengeState, *, error: str = ""
) -> None:
    """Stores what became of a challenge, or why there is no answer yet."""
    await session.execute(
        text(
            "UPDATE challenges SET state = :state, last_error = :error"
            " WHERE chain_id = :chain_id AND line_id = :line_id"
        ),
        {
            "state": str(state),
            "error": error,
            "chain_id": challenge.batch.chain_id,
            "line_id": challenge.line_id,
        },
    )
