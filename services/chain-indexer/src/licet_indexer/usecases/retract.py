"""Takes blocks out of the canonical chain, last one first."""

from __future__ import annotations

from dataclasses import dataclass

from licet_kit.errors import PermanentError
from sqlalchemy.ext.asyncio import AsyncSession

from licet_indexer.db import blocks as blocks_db
from licet_indexer.db import chains, mirror
from licet_indexer.db.tables import OUTBOX
from licet_indexer.domain.chain import BlockRef, Kind
from licet_indexer.events import from_json, outgoing
from licet_indexer.usecases.tracking import Track, guard


class FinalRetraction(PermanentError):
    """A final block would have to be taken back: the finality that money was moved on was none."""

    code = "final_retraction"


@dataclass(frozen=True, slots=True)
class Retracted:
    """What a transaction did: the new tip (None: nothing is left), and events taken back."""

    tip: BlockRef | None
    events: int


async def retract(session: AsyncSession, track: Track, tip: BlockRef, to_number: int) -> Retracted:
    """Rolls the mirror back to a height: emits retractions in reverse order and restores every row.

    Raises FinalRetraction, with nothing written, below the final block; Fenced or Moved as `extend` does.
    """
    cursor = await guard(session, track, tip)
    chain_id = track.chain.chain_id
    if cursor.final is not None and to_number < cursor.final.number:
        raise FinalRetraction(f"chain {chain_id} would go back to {to_number}, but {cursor.final} is final")
    events = await blocks_db.events_of_top(session, chain_id, above=to_number)
    await mirror.take_back(session, chain_id, above=to_number)
    await blocks_db.retire(session, chain_id, above=to_number)
    back = [outgoing(e.site, Kind.RETRACTED, from_json(e.name, e.payload)) for e in events]
    await OUTBOX.enqueue_many(session, back)
    new_tip = await blocks_db.canonical_at(session, chain_id, to_number)
    await chains.set_tip(session, chain_id, new_tip)
    return Retracted(new_tip, len(events))
