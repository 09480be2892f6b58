"""Composing batches: sum trees over charges, the root over their lines, and the document that anyone can check."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Protocol

from licet_schemas import settlement, sumtree
from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing.clients.escrow import Settlement
from licet_billing.db import charges as charge_rows
from licet_billing.db import settlement as settlement_rows
from licet_billing.db.settlement import NewBatch, NewItem
from licet_billing.db.tables import OUTBOX
from licet_billing.domain.errors import BatchesLost
from licet_billing.domain.settlement import (
    MAX_ITEMS,
    Batch,
    BatchKey,
    BatchState,
    BatchStatus,
    Cap,
    Leaf,
    Line,
    Stuck,
    compose,
)
from licet_billing.events import hash_bytes, settlement_changed

FORMAT: Final = "licet-batch-2"
# Batches that wait for their final block: enough for some minutes of finality, few enough to look at all of them.
MAX_UNFINISHED: Final = 32


async def open_currencies(session: AsyncSession, chain_id: int, operator: str) -> list[str]:
    """Currencies in which something is to be settled."""
    return await charge_rows.open_currencies(session, chain_id, operator)


async def stuck(session: AsyncSession, chain_id: int, operator: str, caps: Mapping[str, Cap]) -> list[Stuck]:
    """Charges that no batch can take before their cap is raised, the oldest of each currency."""
    return await charge_rows.stuck(session, chain_id, operator, caps)


def sum_leaf(leaf: Leaf) -> sumtree.Charge:
    """The leaf of a charge in its line's sum tree."""
    return sumtree.Charge(leaf.receipt_hash, leaf.amount, leaf.currency, leaf.payer, leaf.salt)


def sum_tree(leaves: Sequence[Leaf]) -> sumtree.SumTree:
    """The sum tree of one line."""
    return sumtree.build([sum_leaf(leaf) for leaf in leaves])


class _Item(Protocol):
    """A line of a batch, stored or new."""

    @property
    def asset_id(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def payer(self) -> str: ...
    @property
    def authority(self) -> str: ...
    @property
    def window(self) -> int: ...
    @property
    def amount(self) -> int: ...
    @property
    def payer_root(self) -> str: ...
    @property
    def records(self) -> int: ...


def groups_of(items: Sequence[_Item]) -> tuple[settlement.Group, ...]:
    """The lines of a batch as the contract takes them: those of one asset and token stand side by side."""
    return tuple(
        settlement.Group(hash_bytes(asset_id), currency, tuple(_item(item) for item in group))
        for (asset_id, currency), group in groupby(items, lambda item: (item.asset_id, item.currency))
    )


def _item(item: _Item) -> settlement.Item:
    authority, root = hash_bytes(item.authority), hash_bytes(item.payer_root)
    return settlement.Item(item.payer, authority, item.window, item.amount, root, item.records)


def lines_of(items: Sequence[_Item]) -> list[settlement.Line]:
    """The leaves of a batch."""
    return settlement.lines_of(groups_of(items))


def _new_item(line: Line, tree: sumtree.SumTree) -> NewItem:
    return NewItem(
        deposit_id=line.deposit_id,
        authority=line.authority,
        window=line.window,
        asset_id=line.asset_id,
        currency=line.currency,
        payer=line.charges[0].payer,
        amount=tree.sum,
        payer_root="0x" + tree.root.hex(),
        leaves=tuple(charge.request_id for charge in line.charges),
    )


def build(lines: Sequence[Line], *, chain_id: int, escrow: str, operator: str, number: int) -> NewBatch:
    """The batch of these lines: its root, and the document whose sha256 its data URI names.

    The document holds the hash and amount of each leaf, nothing of what was called: it proves sums and membership.
    """
    trees = [sum_tree(line.charges) for line in lines]
    items = tuple(_new_item(line, tree) for line, tree in zip(lines, trees, strict=True))
    root = "0x" + settlement.batch_tree(lines_of(items)).root.hex()
    document = {
        "format": FORMAT,
        "chain_id": chain_id,
        "escrow": escrow,
        "operator": operator,
        "batch": number,
        "root": root,
        "items": [_item_document(item, tree) for item, tree in zip(items, trees, strict=True)],
    }
    body = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return NewBatch(number, root, hashlib.sha256(body).hexdigest(), body, items)


async def settlement_of(session: AsyncSession, key: BatchKey) -> Settlement:
    """The arguments of `settle` for a stored batch."""
    row = await settlement_rows.batch_row(session, key)
    if row is None:
        raise LookupError(key)
    groups = groups_of(await settlement_rows.items(session, key))
    return Settlement(key.number, hash_bytes(row.root), f"licet:batch:{row.digest}", groups)


def _item_document(item: NewItem, tree: sumtree.SumTree) -> dict[str, object]:
    return {
        "asset_id": item.asset_id,
        "token": item.currency,
        "payer": item.payer,
        "authority": item.authority,
        "window": item.window,
        "amount": str(item.amount),
        "payer_root": item.payer_root,
        "records": item.records,
        "leaves": [["0x" + hash_.hex(), str(amount)] for hash_, amount in tree.levels[0]],
    }


async def prepare(
    session: AsyncSession,
    *,
    chain_id: int,
    operator: str,
    escrow: str,
    caps: Mapping[str, int],
    last_on_chain: int,
    limit: int,
) -> BatchKey | None:
    """Puts open charges into the next batch; None where there is none, or none that the caps let through.

    Waits, that is, returns None, while an earlier batch is not on chain: its successor collects more meanwhile.
    Composes that earlier batch anew where nothing of it is signed and it fits no more.

    Any replica may prepare: the sender's row is locked, so that numbers rise by one and no charge is taken twice.
    Raises BatchesLost where the chain is ahead of this database.
    """
    await settlement_rows.lock_sender(session, chain_id, operator)
    last = await settlement_rows.last_number(session, chain_id, operator)
    if last_on_chain > last:
        raise BatchesLost(operator, last, last_on_chain)
    unfinished = await settlement_rows.unfinished(session, chain_id, operator)
    waiting = [batch for batch in unfinished if batch.state is not BatchState.INCLUDED]
    composition = _Composition(chain_id, operator, escrow, caps, limit)
    if waiting:
        is_alone = len(waiting) == 1 and waiting[0].key.number > last_on_chain
        return await _recompose(session, waiting[0], composition) if is_alone else None
    if len(unfinished) >= MAX_UNFINISHED:
        return None
    batch = await composition.of_open_charges(session, last + 1)
    if batch is None:
        return None
    key = BatchKey(chain_id, operator, batch.number)
    await _tell(session, batch, await settlement_rows.insert_batch(session, key, batch))
    return key


@dataclass(frozen=True, slots=True)
class _Composition:
    """What batches are composed for and within."""

    chain_id: int
    operator: str
    escrow: str
    caps: Mapping[str, int]
    limit: int

    async def of_open_charges(
        self, session: AsyncSession, number: int, most: int = MAX_ITEMS
    ) -> NewBatch | None:
        """A batch of what is open and fits, of `most` lines; None where nothing does."""
        drawable = [currency for currency, cap in self.caps.items() if cap > 0]
        leaves = await charge_rows.open_leaves(session, self.chain_id, self.operator, drawable, self.limit)
        lines = compose(leaves, self.caps, most)
        if not lines:
            return None
        return build(lines, chain_id=self.chain_id, escrow=self.escrow, operator=self.operator, number=number)

    async def is_beyond(self, session: AsyncSession, key: BatchKey) -> bool:
        """Whether a stored batch draws more of a currency than its cap leaves."""
        drawn: Counter[str] = Counter()
        for item in await settlement_rows.items(session, key):
            drawn[item.currency] += item.amount
        return any(amount > self.caps.get(currency, amount) for currency, amount in drawn.items())


async def halve(
    session: AsyncSession, batch: Batch, *, escrow: str, caps: Mapping[str, int], limit: int
) -> BatchKey | None:
    """Composes a batch of which nothing is signed anew, with half its lines: it costs more than a transaction may.

    None where another replica was faster, or one line alone is too much.
    """
    key = batch.key
    await settlement_rows.lock_sender(session, key.chain_id, key.operator)
    stored = await settlement_rows.find(session, key)
    lines = len(await settlement_rows.items(session, key))
    is_free = stored is not None and stored.state is BatchState.PREPARED and not stored.attempts
    if not is_free or stored is None or stored.root != batch.root or lines < 2:
        return None
    composition = _Composition(key.chain_id, key.operator, escrow, caps, limit)
    return await _compose_anew(session, stored, composition, lines // 2)


async def _recompose(session: AsyncSession, batch: Batch, composition: _Composition) -> BatchKey | None:
    """Composes a batch anew that a lowered cap keeps from ever being taken, under its number.

    Only while nothing of it is signed, which the sender's lock keeps so: what is signed may be on its way.
    """
    is_free = batch.state is BatchState.PREPARED and not batch.attempts
    if not is_free or not await composition.is_beyond(session, batch.key):
        return None
    return await _compose_anew(session, batch, composition, MAX_ITEMS)


async def _compose_anew(
    session: AsyncSession, batch: Batch, composition: _Composition, most: int
) -> BatchKey | None:
    kept = await session.begin_nested()
    await charge_rows.release(session, batch.key)
    fitting = await composition.of_open_charges(session, batch.key.number, most)
    if fitting is None:
        await kept.rollback()
        return None
    await _tell(session, fitting, await settlement_rows.replace_batch(session, batch.key, fitting))
    return batch.key


async def _tell(session: AsyncSession, batch: NewBatch, status: BatchStatus) -> None:
    """Assigns the charges of a stored batch, and tells of it."""
    places = [
        (request_id, position, leaf)
        for position, item in enumerate(batch.items)
        for leaf, request_id in enumerate(item.leaves)
    ]
    await charge_rows.assign(session, batch.number, places)
    await OUTBOX.enqueue_many(session, [settlement_changed(status)])
