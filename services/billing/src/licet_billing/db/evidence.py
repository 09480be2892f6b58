"""What charges are compared with: their grants, their neighbours in the lease, and their batches' documents."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing.db.tables import ChargeRow, GrantRow
from licet_billing.domain.reconciliation import LISTED, Check, Difference
from licet_billing.domain.usage import Grant, Source


async def newest_charge(session: AsyncSession, *, age_s: float = 0) -> int:
    """Highest place of the charges that were recorded so long ago; 0 where there is none."""
    rows = await session.execute(
        text(
            "SELECT seq FROM charges WHERE recorded_at <= now() - make_interval(secs => :age_s)"
            " ORDER BY seq DESC LIMIT 1"
        ),
        {"age_s": age_s},
    )
    return int(rows.scalar() or 0)


async def charges_after(
    session: AsyncSession, chain_id: int, after: int, through: int, limit: int
) -> Sequence[ChargeRow]:
    """Charges of a chain at the places `after < seq <= through`, oldest first."""
    columns: Any = ChargeRow
    rows = await session.execute(
        select(ChargeRow)
        .where(columns.chain_id == chain_id, columns.seq > after, columns.seq <= through)
        .order_by(columns.seq)
        .limit(limit)
    )
    return rows.scalars().all()


async def grants(session: AsyncSession, grant_ids: Collection[str]) -> dict[str, Grant]:
    """The known ones of these grants."""
    columns: Any = GrantRow
    rows = await session.execute(select(GrantRow).where(columns.grant_id.in_(grant_ids)))
    return {row.grant_id: _grant(row) for row in rows.scalars()}


def _grant(row: GrantRow) -> Grant:
    values = {field.name: getattr(row, field.name) for field in fields(Grant)}
    return Grant(**values | {"source": Source(row.source)})


async def charged(session: AsyncSession, request_ids: Collection[str]) -> set[str]:
    """Which of these requests are charged."""
    rows = await session.execute(
        text("SELECT request_id FROM charges WHERE request_id = ANY(:ids)"), {"ids": list(request_ids)}
    )
    return set(rows.scalars())


_GRANTS = """
SELECT g.grant_id, g.charged, coalesce(c.billed, 0) AS billed
  FROM grants g LEFT JOIN (
      SELECT grant_id, sum(CASE source WHEN 'license' THEN units ELSE value END) AS billed
        FROM charges WHERE chain_id = :chain_id AND disposition = 'billed' GROUP BY grant_id) c USING (grant_id)
 WHERE g.chain_id = :chain_id AND g.charged <> coalesce(c.billed, 0)
 ORDER BY g.grant_id LIMIT :limit
"""


async def grant_differences(session: AsyncSession, chain_id: int) -> list[Difference]:
    """Grants of which more or less is charged than their billed charges took."""
    rows = await session.execute(text(_GRANTS), {"chain_id": chain_id, "limit": LISTED})
    return [
        Difference(Check.GRANTS, row.grant_id, str(int(row.billed)), str(int(row.charged))) for row in rows
    ]
