"""Three-way reconciliation: receipts (charges), ledger and chain must tell the same figures.

All figures are of one moment: the ledger as posted up to a final block, the chain read at that block.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# Differences of one check that are listed; one is enough to look, and a thousand help nobody.
LISTED: Final = 100
# Runs in which all that agreed before is looked at once more: a month of daily ones.
ROUND_RUNS: Final = 30


class Check(StrEnum):
    """What was compared."""

    TRIAL_BALANCE = "trial_balance"  # debits = credits, for each currency
    BALANCE_ROWS = "balance_rows"  # guarded balances = sums of their entries
    HASH_CHAIN = "hash_chain"  # each posting batch follows from the one before
    RECEIPTS = "receipts"  # each charge = what its signed receipt, its plan and its grant make of it
    SEQUENCES = "sequences"  # no call of a lease is missing between two others
    GRANTS = "grants"  # what is charged of a grant = what its billed charges took
    CHARGES = "charges"  # each charge = its ledger transaction
    ACCRUED = "accrued"  # charges not settled = accrued accounts
    DEPOSIT_SPENDABLE = "deposit_spendable"
    DEPOSIT_DRAWN = "deposit_drawn"
    DEPOSIT_EXITS = "deposit_exits"
    HOLDS = "holds"  # what batches drew and may still be disputed
    BATCH_LEAVES = "batch_leaves"  # sum tree over the receipts = what was sent
    BATCH_ROOT = "batch_root"
    BATCH_DOCUMENT = "batch_document"  # the public document = its name and its batch
    BATCH_STATE = "batch_state"  # a posted batch = the transaction that the ledger booked
    BATCH_PAID = "batch_paid"  # due = paid + shortfall, on chain and in the ledger
    CHAIN_LOGS = "chain_logs"  # each final money log = one posted transaction
    HELD_BACK = "held_back"  # messages that wait behind a quarantined key, and so are in no book
    PENDING = "pending"  # a final money event that could not be posted
    REVENUE_PENDING = "revenue_pending"
    REVENUE_CLAIMABLE = "revenue_claimable"
    REVENUE_OWED = "revenue_owed"
    SOLVENCY = "solvency"  # what a contract owes <= what it holds


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure that two of the three sources state differently; `subject` is the id of the thing."""

    check: Check
    subject: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class DepositFigures:
    """What one source says of a deposit, in the currency's smallest unit."""

    spendable: int
    drawn: int
    exits: int


@dataclass(frozen=True, slots=True)
class ItemFigures:
    """What one source says of a settled line."""

    due: int
    paid: int
    records: int


def compare(check: Check, expected: Mapping[str, int], found: Mapping[str, int]) -> list[Difference]:
    """Differences between two sources by subject; a subject that one of them lacks counts as 0 there."""
    return [
        Difference(check, subject, str(expected.get(subject, 0)), str(found.get(subject, 0)))
        for subject in sorted(expected.keys() | found.keys())
        if expected.get(subject, 0) != found.get(subject, 0)
    ]


def compare_texts(check: Check, expected: Mapping[str, str], found: Mapping[str, str]) -> list[Difference]:
    """Differences between two sources whose figures are written out; a subject that one lacks is empty there."""
    return [
        Difference(check, subject, expected.get(subject, ""), found.get(subject, ""))
        for subject in sorted(expected.keys() | found.keys())
        if expected.get(subject, "") != found.get(subject, "")
    ]


def compare_columns(
    check: Check, subject: str, expected: Mapping[str, object], found: Mapping[str, object]
) -> list[Difference]:
    """One difference that lists the columns in which a row is not what it should be, or none."""
    names = [name for name, value in expected.items() if found[name] != value]
    if not names:
        return []
    sides = (" ".join(f"{name}={_shown(side[name])}" for name in names) for side in (expected, found))
    return [Difference(check, subject, *sides)]


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def compare_deposits(
    chain: Mapping[str, DepositFigures], ledger: Mapping[str, DepositFigures]
) -> list[Difference]:
    """Differences between deposits on chain and in the ledger."""
    pairs = (
        (Check.DEPOSIT_SPENDABLE, "spendable"),
        (Check.DEPOSIT_DRAWN, "drawn"),
        (Check.DEPOSIT_EXITS, "exits"),
    )
    return [
        difference
        for check, name in pairs
        for difference in compare(check, _column(chain, name), _column(ledger, name))
    ]


def _column(figures: Mapping[str, DepositFigures], name: str) -> dict[str, int]:
    return {subject: getattr(value, name) for subject, value in figures.items()}


def covered(check: Check, owed: Mapping[str, int], held: Mapping[str, int]) -> list[Difference]:
    """Subjects that owe more than they hold."""
    return [
        Difference(check, subject, f">= {amount}", str(held.get(subject, 0)))
        for subject, amount in sorted(owed.items())
        if amount > held.get(subject, 0)
    ]


class Part(StrEnum):
    """What only grows, and is compared where it is new and once more in each round."""

    CHARGES = "charges"
    BATCHES = "batches"
    BLOCKS = "blocks"
    POSTINGS = "postings"


Places = Mapping[Part, int]


@dataclass(frozen=True, slots=True)
class Span:
    """Places `after < place <= through` of a part."""

    after: int
    through: int


@dataclass(frozen=True, slots=True)
class Agreed:
    """Up to where all three sources agreed, and how far the round had come that looks at it again.

    `round_ends` is what had been reached when the round began. `turn` is None where there was nothing yet.
    """

    block_hash: str
    reached: Places
    turn: int | None
    round_ends: Places


def nothing_agreed(start_block: int) -> Agreed:
    """The state before the first exact result, of a chain whose contracts begin at this block."""
    beginning = _beginning(start_block)
    return Agreed("", beginning, None, beginning)


def _beginning(start_block: int) -> dict[Part, int]:
    return dict.fromkeys(Part, 0) | {Part.BLOCKS: max(0, start_block - 1)}


@dataclass(frozen=True, slots=True)
class Turn:
    """What a run looks at again of each part, and which turn of its round it is."""

    number: int
    round_ends: Places
    spans: Mapping[Part, Span]


def next_turn(agreed: Agreed, start_block: int, runs: int) -> Turn:
    """The turn behind the last exact result: a round of `runs` turns covers all that was reached when it began.

    Only an exact result moves it on, so a difference stays in sight until it is mended.
    """
    number, ends = (agreed.turn or 0) + 1, agreed.round_ends
    if agreed.turn is None:
        number = runs - 1  # nothing to look at again; the next run begins the first round
    elif number >= runs:
        number, ends = 0, agreed.reached
    spans = {}
    for part, first in _beginning(start_block).items():
        length = max(0, ends[part] - first)
        spans[part] = Span(first + length * number // runs, first + length * (number + 1) // runs)
    return Turn(number, ends, spans)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The result for one chain at one final block."""

    chain_id: int
    block_number: int
    block_hash: str
    differences: tuple[Difference, ...]
    counts: Mapping[str, int]

    @property
    def exact(self) -> bool:
        """Whether all three sources agree."""
        return not self.differences


def merged(parts: Iterable[Iterable[Difference]]) -> tuple[Difference, ...]:
    """All differences in the order of their checks."""
    return tuple(difference for part in parts for difference in part)
