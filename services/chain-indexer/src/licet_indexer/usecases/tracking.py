"""The right to write a chain's mirror."""

from __future__ import annotations

from dataclasses import dataclass

from licet_kit.errors import PermanentError, RetryableError
from sqlalchemy.ext.asyncio import AsyncSession

from licet_indexer.db import chains
from licet_indexer.domain.catalogue import Catalogue
from licet_indexer.domain.chain import BlockRef, Chain, Cursor


class Fenced(RetryableError):
    """Another process took over this chain; nothing was written."""

    code = "fenced"


class Moved(RetryableError):
    """The mirror's tip is not where the caller thought; nothing was written."""

    code = "moved"


class Reconfigured(PermanentError):
    """The chain's contracts or start block are not those that the mirror was built from."""

    code = "reconfigured"


@dataclass(frozen=True, slots=True)
class Track:
    """One chain as its present leader follows it."""

    chain: Chain
    catalogue: Catalogue
    epoch: int


async def lead(session: AsyncSession, chain: Chain, catalogue: Catalogue) -> Track:
    """Takes over the writing of a chain: raises the epoch, so that a former leader's next transaction fails.

    Raises Reconfigured where the configuration would make the mirror a mixture of two.
    """
    row = await chains.take_epoch(session, chain)
    if row.contracts != chain.contracts or row.start_block != chain.start_block:
        raise Reconfigured(
            f"chain {chain.chain_id} was mirrored from other contracts or another start block; "
            "restore them in CHAINS_FILE, or start with an empty database"
        )
    return Track(chain, catalogue, row.epoch)


async def guard(session: AsyncSession, track: Track, tip: BlockRef | None) -> Cursor:
    """Locks the chain until the transaction ends, and returns its cursor.

    The lock alone does not keep out a leader that lost its election while it waited here; the epoch does.
    """
    cursor = await chains.lock_cursor(session, track.chain.chain_id)
    if cursor.epoch != track.epoch:
        raise Fenced(f"epoch {track.epoch} of chain {track.chain.chain_id} is over, {cursor.epoch} leads")
    if cursor.tip != tip:
        raise Moved(f"the tip of chain {track.chain.chain_id} is {cursor.tip}, not {tip}")
    return cursor
