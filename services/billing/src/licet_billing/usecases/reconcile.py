"""Reconciles receipts, ledger and chain at one final block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from licet_billing.clients.books import ChainBooks
from licet_billing.db import evidence as evidence_rows
from licet_billing.db import reconciliation as rows
from licet_billing.db import rights
from licet_billing.domain.ledger import AccountKind
from licet_billing.domain.money import moves_money, transaction_of
from licet_billing.domain.reconciliation import (
    Agreed,
    Check,
    DepositFigures,
    Difference,
    Part,
    Places,
    Reconciliation,
    Span,
    Turn,
    compare,
    compare_deposits,
    compare_texts,
    covered,
    merged,
    nothing_agreed,
)
from licet_billing.usecases.chain import Books, is_ours
from licet_billing.usecases.evidence import SETTLED_AFTER_S

# Names in a result's counts, where the next run finds them.
_TURN: Final = "turn"

# (owner, currency) to amount.
Owned = Mapping[tuple[str, str], int]


def _through(part: Part) -> str:
    return f"through_{part}"


def _round(part: Part) -> str:
    return f"round_{part}"


@dataclass(frozen=True, slots=True)
class Figures:
    """What the database says up to one final block, read in one snapshot.

    Of what only grows it is what is `new` since all agreed, and what it is the `turn` of to be looked at again.
    `reached` is up to where a next run need not look if this one is exact. `differences` are those that the database
    finds between its own charges and ledger. `uncovered` counts charges beyond what their rights cover: operator loss
    until one does.
    """

    block_number: int
    block_hash: str
    new: Mapping[Part, Span]
    turn: Turn
    reached: Places
    deposits: Mapping[str, DepositFigures]
    clearing: Owned
    holds: Owned
    earnings: Owned
    payouts: Owned
    fees: Owned
    logs: Mapping[str, str]
    batches: Sequence[Any]
    uncovered: int
    differences: Sequence[Difference]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What rebuilding charges and batches from their receipts showed."""

    charges: int
    differences: Sequence[Difference]


async def last_exact(session: AsyncSession, chain_id: int, start_block: int) -> Agreed:
    """Up to where everything agreed. A result that says less than it does now agreed on nothing."""
    row = await rows.latest(session, chain_id, exact=True)
    if row is None or _TURN not in row.counts:
        return nothing_agreed(start_block)
    reached = {part: row.counts[_through(part)] for part in Part}
    ends = {part: row.counts[_round(part)] for part in Part}
    return Agreed(row.block_hash, reached, row.counts[_TURN], ends)


async def last_at(session: AsyncSession, chain_id: int) -> datetime | None:
    """When this chain was last compared."""
    row = await rows.latest(session, chain_id)
    return row.started_at if row else None


async def read_figures(session: AsyncSession, books: Books, agreed: Agreed, turn: Turn) -> Figures:
    """Reads the database's side. `session` must be one snapshot."""
    chain_id, operator = books.chain_id, books.operator
    number, hash_ = await rights.finality(session, chain_id)
    newest = {
        Part.CHARGES: await evidence_rows.newest_charge(session),
        Part.BATCHES: await rows.newest_batch_posted(session, chain_id, operator),
        Part.BLOCKS: number,
        Part.POSTINGS: await rows.newest_posting(session),
    }
    new = {part: Span(agreed.reached[part], newest[part]) for part in Part}
    settled = await evidence_rows.newest_charge(session, age_s=SETTLED_AFTER_S)
    logs: dict[str, str] = {}
    for blocks in (turn.spans[Part.BLOCKS], new[Part.BLOCKS]):
        logs |= await rows.posted_logs(session, chain_id, blocks)
    return Figures(
        block_number=number,
        block_hash=hash_,
        new=new,
        turn=turn,
        reached=newest | {Part.CHARGES: settled},
        deposits=await rows.deposits(session, chain_id),
        clearing=await rows.balances(session, chain_id, AccountKind.CLEARING),
        holds=await rows.balances(session, chain_id, AccountKind.HOLDS, is_open=True),
        earnings=await rows.balances(session, chain_id, AccountKind.EARNINGS),
        payouts=await rows.balances(session, chain_id, AccountKind.PAYOUTS),
        fees=await rows.balances(session, chain_id, AccountKind.PROTOCOL_FEE),
        logs=logs,
        batches=await rows.batches_posted(
            session, chain_id, operator, agreed.reached[Part.BLOCKS], turn.spans[Part.BATCHES]
        ),
        uncovered=await rows.uncovered(session, chain_id),
        differences=[
            *await _own_differences(session, chain_id, number),
            *_shortened(agreed.reached[Part.POSTINGS], newest[Part.POSTINGS]),
        ],
    )


def _shortened(reached: int, newest: int) -> list[Difference]:
    """The hash chain once was longer than it is."""
    return [Difference(Check.HASH_CHAIN, "newest", f">= {reached}", str(newest))] if newest < reached else []


async def _own_differences(session: AsyncSession, chain_id: int, block: int) -> list[Difference]:
    """Charges against ledger: both are here."""
    accrued = await rows.balances(session, chain_id, AccountKind.ACCRUED)
    charges = await rows.accrued_by_charges(session, chain_id)
    return [
        *await rows.book_differences(session, chain_id),
        *await rows.charge_differences(session, chain_id),
        *await evidence_rows.grant_differences(session, chain_id),
        *compare(Check.ACCRUED, charges, {owner: amount for (owner, _), amount in accrued.items()}),
        *await rows.pending_differences(session, chain_id, block),
        *await rows.held_back(session),
    ]


async def compare_with_chain(
    chain: ChainBooks, books: Books, figures: Figures, receipts: Rebuilt
) -> Reconciliation:
    """Asks the chain the same questions at the same block, and lists where the answers differ."""
    parts = [
        figures.differences,
        receipts.differences,
        await _deposits(chain, figures),
        await _batch_roots(chain, books, figures),
        await _logs(chain, books, figures),
        await _holds(chain, figures),
        await _router(chain, books, figures),
        await _solvency(chain, books, figures),
    ]
    counts = {
        "deposits": len(figures.deposits),
        "charges": receipts.charges,
        "batches": len(figures.batches),
        "logs": len(figures.logs),
        "since_block": figures.new[Part.BLOCKS].after,
        "uncovered_charges": figures.uncovered,
        _TURN: figures.turn.number,
        **{_through(part): place for part, place in figures.reached.items()},
        **{_round(part): place for part, place in figures.turn.round_ends.items()},
    }
    return Reconciliation(books.chain_id, figures.block_number, figures.block_hash, merged(parts), counts)


async def _deposits(chain: ChainBooks, figures: Figures) -> list[Difference]:
    on_chain = await chain.deposits(list(figures.deposits), figures.block_number)
    return compare_deposits(on_chain, figures.deposits)


async def _batch_roots(chain: ChainBooks, books: Books, figures: Figures) -> list[Difference]:
    numbers = [batch.number for batch in figures.batches]
    on_chain = await chain.batch_roots(books.operator, numbers, figures.block_number)
    return compare_texts(
        Check.BATCH_ROOT, on_chain, {str(batch.number): batch.root for batch in figures.batches}
    )


async def _logs(chain: ChainBooks, books: Books, figures: Figures) -> list[Difference]:
    expected = {}
    spans = (figures.turn.spans[Part.BLOCKS], figures.new[Part.BLOCKS])
    events = [found for span in spans for found in await chain.money_events(span.after + 1, span.through)]
    for position, event in events:
        if is_ours(event, books.operator) and moves_money(event):
            entries = transaction_of(position, event).entries
            expected[position.place] = " ".join(f"{entry.account.id}={entry.amount}" for entry in entries)
    return compare_texts(Check.CHAIN_LOGS, expected, figures.logs)


async def _holds(chain: ChainBooks, figures: Figures) -> list[Difference]:
    on_chain = await chain.holds(list(figures.holds), figures.block_number)
    return compare(Check.HOLDS, on_chain, _joined(figures.holds))


async def _router(chain: ChainBooks, books: Books, figures: Figures) -> list[Difference]:
    block = figures.block_number
    claimable: dict[tuple[str, str], int] = dict(figures.payouts)
    for (_, token), amount in figures.fees.items():
        claimable[books.treasury, token] = claimable.get((books.treasury, token), 0) + amount
    pending = await chain.revenue_pending(list(figures.earnings), block)
    owed = await chain.claimable(list(claimable), block)
    return [
        *compare(Check.REVENUE_PENDING, pending, _joined(figures.earnings)),
        *compare(Check.REVENUE_CLAIMABLE, owed, _joined(claimable)),
    ]


async def _solvency(chain: ChainBooks, books: Books, figures: Figures) -> list[Difference]:
    """Deposits, exits and holds of this operator <= all that the escrow holds <= its balance.

    All of the router is in these books.
    Balances are asked of the tokens that the operator draws; a stranger's token could say what it likes, or nothing.
    """
    block = figures.block_number
    escrow = {token: n for (owner, token), n in figures.clearing.items() if owner == chain.escrow_address}
    router = {token: n for (owner, token), n in figures.clearing.items() if owner == chain.router_address}
    held = await chain.held(list(escrow), block)
    owed = await chain.owed(list(router), block)
    accepted = await chain.accepted(books.operator, {*escrow, *router}, block)
    held_in, owed_in = ({t: n for t, n in found.items() if t in accepted} for found in (held, owed))
    return [
        *covered(Check.SOLVENCY, escrow, held),
        *covered(Check.SOLVENCY, held_in, await chain.balances(chain.escrow_address, list(held_in), block)),
        *compare(Check.REVENUE_OWED, owed, router),
        *covered(Check.SOLVENCY, owed_in, await chain.balances(chain.router_address, list(owed_in), block)),
    ]


def _joined(owned: Owned) -> dict[str, int]:
    return {f"{owner}:{currency}": amount for (owner, currency), amount in owned.items()}


async def store(session: AsyncSession, result: Reconciliation) -> str:
    """Stores a result and returns its id."""
    return await rows.save(session, result)
