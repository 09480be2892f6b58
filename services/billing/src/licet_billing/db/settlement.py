"""Batches, their lines and their signed transactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import case, delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing.db.bulk import AMOUNT, insert_rows
from licet_billing.db.tables import AttemptRow, BatchRow, ItemRow
from licet_billing.domain.errors import SenderFenced
from licet_billing.domain.settlement import (
    Attempt,
    AttemptState,
    Batch,
    BatchKey,
    BatchState,
    BatchStatus,
    Fees,
    Inclusion,
)

# Older signed transactions of one batch than these are not asked for one by one; the log tells if one was mined.
MAX_ATTEMPTS: Final = 64
_KEY_COLUMNS: Final = {"chain_id": "bigint", "operator": "text", "number": "bigint"}


@dataclass(frozen=True, slots=True)
class Sender:
    """The key that sends for an operator on one chain, and the epoch in which this process may write for it."""

    chain_id: int
    operator: str
    epoch: int


@dataclass(frozen=True, slots=True)
class NewItem:
    """One line of a new batch; `leaves` are request ids in leaf order."""

    deposit_id: str
    authority: str
    window: int
    asset_id: str
    currency: str
    payer: str
    amount: int
    payer_root: str
    leaves: tuple[str, ...]

    @property
    def records(self) -> int:
        """Number of leaves."""
        return len(self.leaves)


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A composed batch: the root over its items and the document that its data URI names."""

    number: int
    root: str
    digest: str
    body: bytes
    items: tuple[NewItem, ...]

    @property
    def due(self) -> int:
        """What the batch draws in all."""
        return sum(item.amount for item in self.items)

    @property
    def charges(self) -> int:
        """Number of leaves."""
        return sum(len(item.leaves) for item in self.items)


async def lock_sender(session: AsyncSession, chain_id: int, operator: str) -> int:
    """Locks the sender's row, which it makes if need be, until the transaction ends; returns its epoch."""
    await insert_rows(
        session,
        "senders",
        {"chain_id": "bigint", "address": "text"},
        [(chain_id, operator)],
        conflict="ON CONFLICT DO NOTHING",
    )
    epoch = await session.scalar(
        text("SELECT epoch FROM senders WHERE chain_id = :chain_id AND address = :operator FOR UPDATE"),
        {"chain_id": chain_id, "operator": operator},
    )
    return int(epoch)


async def next_epoch(session: AsyncSession, chain_id: int, operator: str) -> Sender:
    """Opens a new epoch: whoever held an older one can write no more."""
    epoch = await lock_sender(session, chain_id, operator) + 1
    await session.execute(
        text("UPDATE senders SET epoch = :epoch WHERE chain_id = :chain_id AND address = :operator"),
        {"chain_id": chain_id, "operator": operator, "epoch": epoch},
    )
    return Sender(chain_id, operator, epoch)


async def require_epoch(session: AsyncSession, sender: Sender) -> None:
    """Raises SenderFenced unless this is still the newest epoch; it stays so until the transaction ends."""
    epoch = await lock_sender(session, sender.chain_id, sender.operator)
    if epoch != sender.epoch:
        raise SenderFenced(sender.operator, sender.epoch, epoch)


async def last_number(session: AsyncSession, chain_id: int, operator: str) -> int:
    """Number of the newest batch; 0 before the first."""
    number = await session.scalar(
        text(
            "SELECT max(number) FROM settlement_batches WHERE chain_id = :chain_id AND operator = :operator"
        ),
        {"chain_id": chain_id, "operator": operator},
    )
    return int(number or 0)


async def insert_batch(session: AsyncSession, key: BatchKey, batch: NewBatch) -> BatchStatus:
    """Stores a composed batch with its lines and its document; its charges are assigned by the caller."""
    await _insert_document(session, batch)
    columns = {"state": "text", "root": "text", "digest": "text", "due": AMOUNT, "charges": "integer"}
    row = (*_place(key), str(BatchState.PREPARED), batch.root, batch.digest, batch.due, batch.charges)
    await insert_rows(session, "settlement_batches", _KEY_COLUMNS | columns, [row])
    await _insert_items(session, key, batch)
    return BatchStatus(
        key, 1, BatchState.PREPARED, "", batch.root, batch.due, None, len(batch.items), batch.charges
    )


async def replace_batch(session: AsyncSession, key: BatchKey, batch: NewBatch) -> BatchStatus:
    """Puts another content under the number of a batch of which nothing was signed; its charges are released."""
    row = await session.get_one(BatchRow, _place(key), with_for_update=True)
    former = row.digest
    await session.execute(delete(ItemRow).where(*_within(ItemRow, key)))
    await _insert_document(session, batch)
    row.root, row.digest, row.due, row.charges = batch.root, batch.digest, batch.due, batch.charges
    row.version, row.changed_at, row.last_error = row.version + 1, datetime.now(UTC), ""
    await session.flush()
    await _insert_items(session, key, batch)
    await session.execute(text("DELETE FROM batch_contents WHERE digest = :digest"), {"digest": former})
    return await status(session, row)


def _place(key: BatchKey) -> tuple[int, str, int]:
    return key.chain_id, key.operator, key.number


async def _insert_document(session: AsyncSession, batch: NewBatch) -> None:
    contents = {"digest": "text", "body": "bytea"}
    await insert_rows(
        session, "batch_contents", contents, [(batch.digest, batch.body)], conflict="ON CONFLICT DO NOTHING"
    )


async def _insert_items(session: AsyncSession, key: BatchKey, batch: NewBatch) -> None:
    columns = {
        "position": "integer",
        "deposit_id": "text",
        "authority": "text",
        "window": "bigint",
        "asset_id": "text",
        "currency": "text",
        "payer": "text",
        "amount": AMOUNT,
        "payer_root": "text",
        "records": "integer",
    }
    rows = [
        (
            *_place(key),
            i,
            x.deposit_id,
            x.authority,
            x.window,
            x.asset_id,
            x.currency,
            x.payer,
            x.amount,
            x.payer_root,
            x.records,
        )
        for i, x in enumerate(batch.items)
    ]
    await insert_rows(session, "settlement_items", _KEY_COLUMNS | columns, rows)


def _within(model: Any, key: BatchKey) -> tuple[Any, ...]:  # SQLModel types its columns as their values
    return model.chain_id == key.chain_id, model.operator == key.operator, model.number == key.number


async def _batches(session: AsyncSession, *conditions: Any) -> list[Batch]:
    rows = await session.execute(select(BatchRow).where(*conditions).order_by(BatchRow.number))  # type: ignore[arg-type]
    return [await _batch(session, row) for row in rows.scalars().all()]


async def unfinished(session: AsyncSession, chain_id: int, operator: str) -> list[Batch]:
    """Batches that are not final, by number."""
    state: Any = BatchRow.state
    whose: Any = (BatchRow.chain_id == chain_id, BatchRow.operator == operator)
    return await _batches(session, *whose, state != BatchState.FINAL)


async def final_above(session: AsyncSession, chain_id: int, operator: str, number: int) -> list[Batch]:
    """Batches above this number that are final."""
    whose: Any = (BatchRow.chain_id == chain_id, BatchRow.operator == operator)
    late: Any = (BatchRow.state == BatchState.FINAL, BatchRow.number > number)
    return await _batches(session, *whose, *late)


async def find(session: AsyncSession, key: BatchKey) -> Batch | None:
    """One batch with its transactions."""
    found = await _batches(session, *_within(BatchRow, key))
    return found[0] if found else None


async def _batch(session: AsyncSession, row: BatchRow) -> Batch:
    key = BatchKey(row.chain_id, row.operator, row.number)
    signed_at: Any = AttemptRow.signed_at
    rows = await session.execute(
        select(AttemptRow).where(*_within(AttemptRow, key)).order_by(signed_at.desc()).limit(MAX_ATTEMPTS)
    )
    return Batch(key, row.root, BatchState(row.state), tuple(_attempt(attempt) for attempt in rows.scalars()))


def _attempt(row: AttemptRow) -> Attempt:
    return Attempt(
        tx_hash=row.tx_hash,
        nonce=row.nonce,
        raw=row.raw,
        fees=Fees(row.max_fee_wei, row.priority_fee_wei),
        state=AttemptState(row.state),
        signed_at=row.signed_at.timestamp(),
        sent_at=row.sent_at.timestamp() if row.sent_at else 0.0,
    )


async def insert_attempt(session: AsyncSession, sender: Sender, number: int, attempt: Attempt) -> None:
    """Stores a signed transaction, before anybody sends it."""
    session.add(
        AttemptRow(
            tx_hash=attempt.tx_hash,
            chain_id=sender.chain_id,
            operator=sender.operator,
            number=number,
            nonce=attempt.nonce,
            raw=attempt.raw,
            max_fee_wei=attempt.fees.max_fee,
            priority_fee_wei=attempt.fees.priority_fee,
            state=str(attempt.state),
            epoch=sender.epoch,
            signed_at=datetime.fromtimestamp(attempt.signed_at, UTC),
        )
    )
    await session.flush()


async def save_attempts(
    session: AsyncSession, hashes: Sequence[str], state: AttemptState, sent_at: datetime | None = None
) -> None:
    """Stores what became of signed transactions."""
    values: dict[str, object] = {"state": str(state)}
    if sent_at is not None:
        values["sent_at"] = sent_at
    which: Any = AttemptRow.tx_hash
    await session.execute(update(AttemptRow).where(which.in_(hashes)).values(**values))


async def save_winner(session: AsyncSession, key: BatchKey, tx_hash: str) -> None:
    """Stores which transaction settled a batch; those that had its nonce can no longer be mined."""
    winner = await session.get(AttemptRow, tx_hash)
    if winner is None:
        return
    which: Any = (*_within(AttemptRow, key), AttemptRow.nonce == winner.nonce)
    state = case(
        (AttemptRow.tx_hash == tx_hash, str(AttemptState.INCLUDED)),  # type: ignore[arg-type]
        else_=str(AttemptState.REPLACED),
    )
    await session.execute(update(AttemptRow).where(*which).values(state=state))


async def included_at(session: AsyncSession, key: BatchKey) -> int | None:
    """Number of the block that a batch is in, as far as is known."""
    row = await batch_row(session, key)
    return None if row is None else row.block_number


async def save_state(
    session: AsyncSession,
    key: BatchKey,
    state: BatchState,
    *,
    tx_hash: str | None = None,
    inclusion: Inclusion | None = None,
    error: str = "",
) -> BatchStatus | None:
    """Stores a batch's state; returns what to tell others, or None where that has not changed."""
    row = await session.get_one(BatchRow, _place(key), with_for_update=True)
    block = (inclusion.block_number, inclusion.block_hash) if inclusion else (None, None)
    told = (row.state, row.tx_hash, row.block_hash) != (str(state), tx_hash, block[1])
    row.state, row.tx_hash, row.last_error = str(state), tx_hash, error
    row.block_number, row.block_hash = block
    if not told:
        return None
    row.changed_at = datetime.now(UTC)
    row.version += 1
    await session.flush()
    return await status(session, row)


async def save_error(session: AsyncSession, key: BatchKey, error: str) -> None:
    """Stores why a batch does not get on."""
    where: Any = _within(BatchRow, key)
    await session.execute(update(BatchRow).where(*where).values(last_error=error))


async def status(session: AsyncSession, row: BatchRow) -> BatchStatus:
    """What others are told of a batch."""
    key = BatchKey(row.chain_id, row.operator, row.number)
    paid = await paid_of(session, key)
    count = await session.scalar(select(func.count()).select_from(ItemRow).where(*_within(ItemRow, key)))
    return BatchStatus(
        key,
        row.version,
        BatchState(row.state),
        row.tx_hash or "",
        row.root,
        row.due,
        paid,
        count or 0,
        row.charges,
    )


async def paid_of(session: AsyncSession, key: BatchKey) -> int | None:
    """What the batch was paid, once the ledger has posted all of its lines; None before."""
    paid = [item.paid for item in await items(session, key)]
    return None if None in paid else sum(amount or 0 for amount in paid)


async def items(session: AsyncSession, key: BatchKey) -> list[ItemRow]:
    """Lines of a batch in their order."""
    position: Any = ItemRow.position
    rows = await session.execute(select(ItemRow).where(*_within(ItemRow, key)).order_by(position))
    return list(rows.scalars())


async def item(session: AsyncSession, key: BatchKey, position: int) -> ItemRow | None:
    """One line of a batch."""
    row: ItemRow | None = await session.get(ItemRow, (key.chain_id, key.operator, key.number, position))
    return row


async def batch_row(session: AsyncSession, key: BatchKey) -> BatchRow | None:
    """A batch as it stands."""
    row: BatchRow | None = await session.get(BatchRow, _place(key))
    return row


async def list_batches(
    session: AsyncSession, operator: str, *, after: tuple[int, int] | None, limit: int
) -> list[BatchRow]:
    """Batches of the operator: by chain, then newest first, after the cursor (chain, number)."""
    chain_id, number, whose = (BatchRow.chain_id, BatchRow.number, BatchRow.operator)  # type: tuple[Any, Any, Any]
    query = select(BatchRow).where(whose == operator)
    if after is not None:
        query = query.where((chain_id > after[0]) | ((chain_id == after[0]) & (number < after[1])))
    return list((await session.execute(query.order_by(chain_id, number.desc()).limit(limit))).scalars())


async def save_paid(
    session: AsyncSession, key: BatchKey, position: int, *, paid: int | None, by: str | None
) -> None:
    """Stores what a line was paid, and the ledger transaction that says so; None takes it back."""
    where: Any = (*_within(ItemRow, key), ItemRow.position == position)
    await session.execute(update(ItemRow).where(*where).values(paid=paid, settled_by=by))


async def content(session: AsyncSession, digest: str) -> bytes | None:
    """The document of a batch by its sha256."""
    body: bytes | None = await session.scalar(
        text("SELECT body FROM batch_contents WHERE digest = :digest"), {"digest": digest}
    )
    return body
