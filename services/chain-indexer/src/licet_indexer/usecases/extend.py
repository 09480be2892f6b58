"""Adds whole blocks to the mirror, with their events, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from licet_indexer.db import blocks as blocks_db
from licet_indexer.db import chains, mirror
from licet_indexer.db.tables import OUTBOX
from licet_indexer.domain.catalogue import Reading, UnknownEvent
from licet_indexer.domain.chain import Block, BlockRef, Kind, Log, Site
from licet_indexer.domain.layout import MalformedLog
from licet_indexer.domain.mirror import UnknownLicense, fold, touched
from licet_indexer.domain.payloads import Payload
from licet_indexer.domain.rows import Rows
from licet_indexer.events import outgoing, to_json
from licet_indexer.usecases.finality import Claim, agree, record
from licet_indexer.usecases.tracking import Track, guard


@dataclass(frozen=True, slots=True)
class Extended:
    """What a transaction did: new tip and final block, events emitted, logs refused with their reasons."""

    tip: BlockRef
    final: BlockRef | None
    events: int
    refused: tuple[tuple[Log, str], ...]


@dataclass(slots=True)
class _Draft:
    """What the blocks come to before anything is written."""

    events: list[tuple[Site, Payload]]
    stored: list[dict[str, Any]]
    refused: list[tuple[Log, str]]


async def extend(
    session: AsyncSession,
    track: Track,
    tip: BlockRef | None,
    blocks: Sequence[Block],
    claim: Claim | None,
) -> Extended:
    """Appends blocks that follow `tip` to the mirror, emits their events, and advances finality.

    `claim` is what the node called final in the view that the blocks came from. Blocks that are final at once leave
    nothing to undo. Raises Fenced or Moved, with nothing written, where another leader or tip is in place.
    """
    cursor = await guard(session, track, tip)
    chain_id = track.chain.chain_id
    incarnations = await blocks_db.make_canonical(session, chain_id, blocks)
    readings, refused = _read(track, blocks)
    keys = [key for *_, reading in readings if reading.payload for key in touched(reading.payload, chain_id)]
    rows = Rows(await mirror.load(session, keys))
    draft = _fold(track, readings, incarnations, rows)
    refused += draft.refused

    last = blocks[-1].header.ref
    final = await agree(session, replace(cursor, tip=last), claim)
    await blocks_db.add_events(session, draft.stored)
    await blocks_db.add_unknown(session, chain_id, refused)
    await mirror.save(session, rows.changed())
    await mirror.remember(session, chain_id, rows.undo(above=final.number if final else -1))
    await OUTBOX.enqueue_many(
        session, [outgoing(site, Kind.OBSERVED, payload) for site, payload in draft.events]
    )
    await chains.set_tip(session, chain_id, last)
    if final is not None and final != cursor.final:
        await record(session, chain_id, final)
    return Extended(last, final, len(draft.events), tuple(refused))


_Read = tuple[Block, Log, Reading]


def _read(track: Track, blocks: Sequence[Block]) -> tuple[list[_Read], list[tuple[Log, str]]]:
    readings: list[_Read] = []
    refused: list[tuple[Log, str]] = []
    for block in blocks:
        for log in block.logs:
            try:
                readings.append((block, log, track.catalogue.read(log)))
            except (UnknownEvent, MalformedLog) as error:
                refused.append((log, str(error)))
    return readings, refused


def _fold(track: Track, readings: Sequence[_Read], incarnations: dict[str, int], rows: Rows) -> _Draft:
    draft = _Draft([], [], [])
    chain_id = track.chain.chain_id
    for block, log, reading in readings:
        stored = blocks_db.log_columns(chain_id, log)
        stored |= {"name": reading.name, "asset_id": None, "payload": None}
        if reading.payload is not None:
            site = _site(track, block, log, incarnations[block.header.hash])
            try:
                payload = fold(reading.payload, site, track.chain, rows)
            except UnknownLicense as error:
                draft.refused.append((log, str(error)))
                continue
            draft.events.append((site, payload))
            stored |= {
                "name": type(payload).__name__,
                "asset_id": _asset(payload),
                "payload": to_json(payload),
            }
        draft.stored.append(stored)
    return draft


def _site(track: Track, block: Block, log: Log, incarnation: int) -> Site:
    return Site(
        chain_id=track.chain.chain_id,
        block_number=block.header.number,
        block_hash=block.header.hash,
        block_time=block.header.time,
        tx_hash=log.tx_hash,
        log_index=log.index,
        contract=log.contract,
        incarnation=incarnation,
    )


def _asset(payload: Payload) -> str | None:
    terms = getattr(payload, "terms", payload)
    return getattr(terms, "asset_id", None)
