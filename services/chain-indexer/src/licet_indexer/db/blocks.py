"""Blocks and the logs in them, canonical and past."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from licet_indexer.db.tables import BlockRow, RawEventRow, UnknownLogRow
from licet_indexer.domain.chain import Block, BlockRef, ChainId, Log, Site

_block = BlockRow.__table__  # type: ignore[attr-defined]
_raw_event = RawEventRow.__table__  # type: ignore[attr-defined]
_unknown = UnknownLogRow.__table__  # type: ignore[attr-defined]

# Quiet blocks this far below the final one are dropped; nothing asks for them any more.
KEPT_BELOW_FINAL = 1024
# A live block drops one or two; a backfill catches up over many transactions instead of in one long one.
_DROPPED_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A log that was emitted, as stored. `payload` is what `events.to_json` made."""

    site: Site
    name: str
    payload: Mapping[str, Any]


async def make_canonical(session: AsyncSession, chain_id: ChainId, blocks: Sequence[Block]) -> dict[str, int]:
    """Stores the blocks as canonical and returns how often each has become so, by hash."""
    values = [
        {
            "chain_id": chain_id,
            "hash": block.header.hash,
            "number": block.header.number,
            "parent": block.header.parent,
            "time": block.header.time,
            "canonical": True,
            "incarnation": 1,
            "logs": len(block.logs),
        }
        for block in blocks
    ]
    again = {"canonical": True, "incarnation": _block.c.incarnation + 1}
    statement = (
        insert(_block)
        .on_conflict_do_update(index_elements=["chain_id", "hash"], set_=again)
        .returning(_block.c.hash, _block.c.incarnation)
    )
    return {row.hash: row.incarnation for row in (await session.execute(statement, values)).all()}


async def add_events(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Stores understood logs; the logs of a block that returns are there already."""
    if rows:
        await session.execute(insert(_raw_event).on_conflict_do_nothing(), list(rows))


async def add_unknown(session: AsyncSession, chain_id: ChainId, logs: Iterable[tuple[Log, str]]) -> None:
    """Stores logs that were not understood, with the reason."""
    rows = [{**log_columns(chain_id, log), "reason": reason} for log, reason in logs]
    if rows:
        await session.execute(insert(_unknown).on_conflict_do_nothing(), rows)


def log_columns(chain_id: ChainId, log: Log) -> dict[str, Any]:
    """The columns that a stored log has, understood or not."""
    return {
        "chain_id": chain_id,
        "block_hash": log.block_hash,
        "log_index": log.index,
        "block_number": log.block_number,
        "tx_hash": log.tx_hash,
        "contract": log.contract,
        "topics": list(log.topics),
        "data": log.data,
    }


async def hashes_at(session: AsyncSession, chain_id: ChainId, numbers: Sequence[int]) -> dict[int, str]:
    """Canonical hashes by height, without the heights where there is no block."""
    ours = (_block.c.chain_id == chain_id) & _block.c.canonical & _block.c.number.in_(numbers)
    rows = await session.execute(sa.select(_block.c.number, _block.c.hash).where(ours))
    return {row.number: row.hash for row in rows}


async def canonical_at(session: AsyncSession, chain_id: ChainId, number: int) -> BlockRef | None:
    """The canonical block of a height."""
    ours = (_block.c.chain_id == chain_id) & _block.c.canonical & (_block.c.number == number)
    row = (await session.execute(sa.select(_block).where(ours))).one_or_none()
    return BlockRef(row.number, row.hash, row.time) if row else None


async def numbers_below(
    session: AsyncSession, chain_id: ChainId, below: int, floor: int, limit: int
) -> list[tuple[int, str]]:
    """The highest `limit` canonical blocks under `below` and not under `floor`, highest first, as (height, hash)."""
    ours = (_block.c.chain_id == chain_id) & _block.c.canonical
    span = (_block.c.number < below) & (_block.c.number >= floor)
    chosen = sa.select(_block.c.number, _block.c.hash).where(ours & span)
    rows = await session.execute(chosen.order_by(_block.c.number.desc()).limit(limit))
    return [(row.number, row.hash) for row in rows]


async def events_of_top(session: AsyncSession, chain_id: ChainId, above: int) -> list[StoredEvent]:
    """Emitted logs of the canonical blocks above a height, last one first."""
    joined = _raw_event.join(
        _block, (_block.c.chain_id == _raw_event.c.chain_id) & (_block.c.hash == _raw_event.c.block_hash)
    )
    ours = (_block.c.chain_id == chain_id) & _block.c.canonical & (_block.c.number > above)
    chosen = (
        sa.select(_raw_event, _block.c.time, _block.c.incarnation)
        .select_from(joined)
        .where(ours & _raw_event.c.payload.is_not(None))
        .order_by(_raw_event.c.block_number.desc(), _raw_event.c.log_index.desc())
    )
    return [stored_event(row) for row in (await session.execute(chosen)).all()]


def stored_event(row: sa.Row[Any]) -> StoredEvent:
    """A raw event row joined with time and incarnation of its block."""
    site = Site(
        chain_id=ChainId(row.chain_id),
        block_number=row.block_number,
        block_hash=row.block_hash,
        block_time=row.time,
        tx_hash=row.tx_hash,
        log_index=row.log_index,
        contract=row.contract,
        incarnation=row.incarnation,
    )
    return StoredEvent(site, row.name, row.payload)


async def retire(session: AsyncSession, chain_id: ChainId, above: int) -> None:
    """Takes the blocks above a height out of the canonical chain; they stay as history."""
    ours = (_block.c.chain_id == chain_id) & _block.c.canonical & (_block.c.number > above)
    await session.execute(sa.update(_block).where(ours).values(canonical=False))


async def drop_quiet(session: AsyncSession, chain_id: ChainId, final: int) -> None:
    """Drops a bounded number of blocks without logs that lie far below the final one."""
    old = (
        (_block.c.chain_id == chain_id) & (_block.c.logs == 0) & (_block.c.number < final - KEPT_BELOW_FINAL)
    )
    chosen = sa.select(_block.c.hash).where(old).limit(_DROPPED_AT_ONCE)
    await session.execute(
        sa.delete(_block).where((_block.c.chain_id == chain_id) & _block.c.hash.in_(chosen.scalar_subquery()))
    )
