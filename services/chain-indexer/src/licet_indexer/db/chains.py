"""The chain rows: who leads, how far the mirror is, what is final."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from licet_indexer.db.tables import ChainRow
from licet_indexer.domain.chain import BlockRef, Chain, ChainId, ChainState, Cursor

_chain = ChainRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """A chain as its row tells it."""

    cursor: Cursor
    name: str
    state: ChainState
    halt_reason: str | None
    node_head: int | None
    heard_at: datetime | None


async def take_epoch(session: AsyncSession, chain: Chain) -> ChainRow:
    """Makes the caller the chain's writer: everyone with an earlier epoch is refused from the commit on.

    Creates the chain's row the first time. Contracts and start block of the row are what they were then.
    """
    new = {
        "chain_id": chain.chain_id,
        "name": chain.name,
        "contracts": chain.contracts,
        "start_block": chain.start_block,
        "epoch": 1,
    }
    statement = insert(_chain).values(new)
    raised = {"epoch": _chain.c.epoch + 1, "name": statement.excluded.name}
    await session.execute(statement.on_conflict_do_update(index_elements=["chain_id"], set_=raised))
    return await session.get_one(ChainRow, chain.chain_id, populate_existing=True)


async def lock_cursor(session: AsyncSession, chain_id: ChainId) -> Cursor:
    """The chain's cursor, its row locked until the transaction ends."""
    row = (
        await session.execute(sa.select(_chain).where(_chain.c.chain_id == chain_id).with_for_update())
    ).one()
    return _cursor(row)


async def read_cursor(session: AsyncSession, chain_id: ChainId) -> Cursor:
    """The chain's cursor as it is now."""
    return _cursor((await session.execute(sa.select(_chain).where(_chain.c.chain_id == chain_id))).one())


async def set_tip(session: AsyncSession, chain_id: ChainId, tip: BlockRef | None) -> None:
    """Moves the tip; None: the mirror is empty again."""
    await _update(
        session,
        chain_id,
        tip_number=tip.number if tip else None,
        tip_hash=tip.hash if tip else None,
        tip_time=tip.time if tip else None,
    )


async def set_final(session: AsyncSession, chain_id: ChainId, final: BlockRef) -> None:
    """Moves the highest final block."""
    await _update(session, chain_id, final_number=final.number, final_hash=final.hash, final_time=final.time)


async def hear(
    session: AsyncSession, chain_id: ChainId, epoch: int, node_head: int | None, reason: str | None
) -> None:
    """Notes that the leader of this epoch heard from the node; `reason` is why the chain is halted, None: it is not."""
    state = ChainState.HALTED if reason else ChainState.FOLLOWING
    values: dict[str, object] = {
        "heard_at": sa.func.clock_timestamp(),
        "state": state.value,
        "halt_reason": reason,
    }
    if node_head is not None:
        values["node_head"] = node_head
    ours = (_chain.c.chain_id == chain_id) & (_chain.c.epoch == epoch)
    await session.execute(sa.update(_chain).where(ours).values(values))


async def statuses(session: AsyncSession) -> Sequence[ChainStatus]:
    """Every chain that ever had a leader here, by id."""
    rows = (await session.execute(sa.select(_chain).order_by(_chain.c.chain_id))).all()
    return [
        ChainStatus(
            cursor=_cursor(row),
            name=row.name,
            state=ChainState(row.state),
            halt_reason=row.halt_reason,
            node_head=row.node_head,
            heard_at=row.heard_at,
        )
        for row in rows
    ]


async def _update(session: AsyncSession, chain_id: ChainId, **values: object) -> None:
    await session.execute(sa.update(_chain).where(_chain.c.chain_id == chain_id).values(values))


def _ref(number: int | None, block_hash: str | None, time: int | None) -> BlockRef | None:
    if number is None or block_hash is None or time is None:
        return None
    return BlockRef(number, block_hash, time)


def _cursor(row: sa.Row[tuple[object, ...]]) -> Cursor:
    return Cursor(
        chain_id=ChainId(row.chain_id),
        tip=_ref(row.tip_number, row.tip_hash, row.tip_time),
        final=_ref(row.final_number, row.final_hash, row.final_time),
        epoch=row.epoch,
    )
