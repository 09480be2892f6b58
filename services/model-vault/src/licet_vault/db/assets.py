"""What the chain says of assets: one row a log, and the active versions that follow from the live ones."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from licet_vault.db.tables import ASSET_FACT
from licet_vault.domain import AssetFact, Version

# The latest live activation of each asset decides, even where its publication is not known: an older one must not
# come back to life because an event is late.
_ACTIVE = text("""
    SELECT a.asset_id, r.slug, a.digest, p.uri, o.owner
    FROM (
        SELECT DISTINCT ON (asset_id) asset_id, digest
        FROM asset_fact WHERE kind = 'activated' AND live
        ORDER BY asset_id, block_number DESC, log_index DESC
    ) a
    JOIN LATERAL (
        SELECT slug FROM asset_fact WHERE kind = 'registered' AND asset_id = a.asset_id AND live
        ORDER BY block_number DESC, log_index DESC LIMIT 1
    ) r ON true
    JOIN LATERAL (
        SELECT uri, block_number, log_index FROM asset_fact
        WHERE kind = 'published' AND asset_id = a.asset_id AND digest = a.digest AND live
        ORDER BY block_number DESC, log_index DESC LIMIT 1
    ) p ON true
    JOIN LATERAL (
        SELECT owner FROM asset_fact
        WHERE kind IN ('registered', 'transferred') AND asset_id = a.asset_id AND live
          AND (block_number, log_index) < (p.block_number, p.log_index)
        ORDER BY block_number DESC, log_index DESC LIMIT 1
    ) o ON true
    ORDER BY a.asset_id
""")


async def record_fact(session: AsyncSession, fact: AssetFact) -> None:
    """Keeps the newest truth about a log; an older one, or the same again, changes nothing."""
    row = insert(ASSET_FACT).values(
        chain_id=fact.position.chain_id,
        block_hash=fact.position.block_hash,
        log_index=fact.position.log_index,
        asset_id=fact.asset_id,
        kind=fact.kind.value,
        block_number=fact.position.block_number,
        rank=fact.truth.rank,
        live=not fact.truth.retracted,
        owner=fact.owner,
        slug=fact.slug,
        digest=fact.digest,
        uri=fact.uri,
    )
    await session.execute(
        row.on_conflict_do_update(
            constraint="pk_asset_fact",
            set_={"rank": row.excluded.rank, "live": row.excluded.live},
            where=ASSET_FACT.c.rank < row.excluded.rank,
        )
    )


async def active_versions(session: AsyncSession) -> list[Version]:
    """The version of each asset that the canonical chain holds active, as far as it is known."""
    rows = await session.execute(_ACTIVE)
    return [Version(r.asset_id, r.slug, r.digest, r.uri, r.owner) for r in rows]
