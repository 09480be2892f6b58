"""Advances the highest final block."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from licet_indexer.db import blocks as blocks_db
from licet_indexer.db import chains, mirror
from licet_indexer.db.tables import OUTBOX
from licet_indexer.domain.chain import BlockRef, ChainId, Cursor
from licet_indexer.events import finality
from licet_indexer.usecases.tracking import Track, guard

Claim = tuple[int, str | None]


async def advance_finality(
    session: AsyncSession, track: Track, tip: BlockRef, claim: Claim
) -> BlockRef | None:
    """Advances finality where no block was added; returns the highest final block."""
    cursor = await guard(session, track, tip)
    final = await agree(session, cursor, claim)
    if final != cursor.final and final is not None:
        await record(session, track.chain.chain_id, final)
    return final


async def agree(session: AsyncSession, cursor: Cursor, claim: Claim | None) -> BlockRef | None:
    """The highest final block after a node's claim: its height, and its hash where the node said it.

    Never lower than before, whatever a lagging node says, and never a block that is not the mirror's. `cursor.tip` is
    the block up to which the claim counts, since the claim and that block come from one view.
    """
    if claim is None or cursor.tip is None:
        return cursor.final
    number = min(claim[0], cursor.tip.number)
    if cursor.final is not None and number <= cursor.final.number:
        return cursor.final
    block = await blocks_db.canonical_at(session, cursor.chain_id, number)
    if block is None or (number == claim[0] and claim[1] not in {None, block.hash}):
        return cursor.final
    return block


async def record(session: AsyncSession, chain_id: ChainId, final: BlockRef) -> None:
    """Makes a block the highest final one and emits it: one event an advance. The caller holds the chain's lock."""
    await chains.set_final(session, chain_id, final)
    await mirror.forget(session, chain_id, final.number)
    await blocks_db.drop_quiet(session, chain_id, final.number)
    await OUTBOX.enqueue_many(session, [finality(chain_id, final)])
