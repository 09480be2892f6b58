"""What is stored about batches on their way: states, signed transactions, and who may write them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing.db import settlement as settlement_rows
from licet_billing.db.settlement import Sender
from licet_billing.db.tables import OUTBOX
from licet_billing.domain.settlement import (
    Answer,
    Attempt,
    AttemptState,
    Batch,
    BatchKey,
    BatchState,
    Inclusion,
    Reply,
    Settled,
)
from licet_billing.events import settlement_changed


async def open_epoch(session: AsyncSession, chain_id: int, operator: str) -> Sender:
    """Makes this process the one sender of the operator's key; older senders can store nothing any more."""
    return await settlement_rows.next_epoch(session, chain_id, operator)


async def unfinished(session: AsyncSession, sender: Sender) -> list[Batch]:
    """Batches to drive, by number."""
    return await settlement_rows.unfinished(session, sender.chain_id, sender.operator)


async def earliest_block(session: AsyncSession, key: BatchKey) -> int:
    """The lowest block that the batch can be in: the contract takes it after the one before it."""
    before = replace(key, number=key.number - 1)
    return await settlement_rows.included_at(session, before) or 0


async def reopen_lost(session: AsyncSession, sender: Sender, last_on_chain: int) -> int:
    """Takes up final batches that the chain has lost all the same; returns their number."""
    await settlement_rows.require_epoch(session, sender)
    lost = await settlement_rows.final_above(session, sender.chain_id, sender.operator, last_on_chain)
    for batch in lost:
        await save_state(session, batch.key, BatchState.REORGED, error="the chain lost a final block")
    return len(lost)


async def save_state(
    session: AsyncSession,
    key: BatchKey,
    state: BatchState,
    *,
    tx_hash: str | None = None,
    inclusion: Inclusion | None = None,
    error: str = "",
) -> None:
    """Stores a batch's state, and tells others if they would see a change."""
    status = await settlement_rows.save_state(
        session, key, state, tx_hash=tx_hash, inclusion=inclusion, error=error
    )
    if status is not None:
        await OUTBOX.enqueue_many(session, [settlement_changed(status)])


async def store_attempt(
    session: AsyncSession, sender: Sender, key: BatchKey, attempt: Attempt, root: str
) -> bool:
    """Stores a signed transaction before it is sent. Raises SenderFenced in an old epoch.

    False, and nothing is stored, where the batch was composed anew since `root` was read: it must not be sent.
    """
    await settlement_rows.require_epoch(session, sender)
    row = await settlement_rows.batch_row(session, key)
    if row is None or row.root != root:
        return False
    await settlement_rows.insert_attempt(session, sender, key.number, attempt)
    return True


async def store_broadcast(
    session: AsyncSession, sender: Sender, batch: Batch, attempt: Attempt, reply: Reply, at: datetime
) -> None:
    """Stores how a broadcast ended. One that the node refused changes nothing but the reason that is shown."""
    await settlement_rows.require_epoch(session, sender)
    if reply.answer is Answer.REFUSED:
        await settlement_rows.save_error(session, batch.key, reply.reason)
        return
    taken = reply.answer is Answer.SENT
    sent, state = (
        (AttemptState.SENT, BatchState.SUBMITTED) if taken else (AttemptState.UNKNOWN, BatchState.UNKNOWN)
    )
    await settlement_rows.save_attempts(session, [attempt.tx_hash], sent, at)
    await save_state(session, batch.key, state, tx_hash=attempt.tx_hash, error=reply.reason)


async def store_reorged(session: AsyncSession, sender: Sender, batch: Batch) -> None:
    """Stores that the batch's block has left the chain."""
    await settlement_rows.require_epoch(session, sender)
    await save_state(session, batch.key, BatchState.REORGED, error="its block left the chain")


async def store_refusal(session: AsyncSession, sender: Sender, batch: Batch, reason: str) -> None:
    """Stores why the contract would not take the batch now; its state stays."""
    await settlement_rows.require_epoch(session, sender)
    await settlement_rows.save_error(session, batch.key, reason)


async def store_doubt(session: AsyncSession, key: BatchKey, reason: str) -> None:
    """Stores what is not understood of a batch; its state stays."""
    await settlement_rows.save_error(session, key, reason)


async def store_settled(session: AsyncSession, sender: Sender, batch: Batch, settled: Settled) -> None:
    """Stores that a batch is on chain. It is final once its block is and the ledger has posted all of its lines."""
    await settlement_rows.require_epoch(session, sender)
    await settlement_rows.save_winner(session, batch.key, settled.tx_hash)
    posted = await settlement_rows.paid_of(session, batch.key) is not None
    state = BatchState.FINAL if settled.final and posted else BatchState.INCLUDED
    await save_state(session, batch.key, state, tx_hash=settled.tx_hash, inclusion=settled.inclusion)
