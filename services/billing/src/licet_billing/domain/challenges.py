"""Challenges: a payer asks for the charge at one place of a settled line, and the operator shows it and its receipt.

An answer can be sent any number of times: the contract takes the first, and refuses the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from licet_schemas.eip712 import Receipt
from licet_schemas.settlement import Line
from licet_schemas.sumtree import Charge, Step

from licet_billing.domain.receipts import SignedSegment
from licet_billing.domain.settlement import BatchKey


class ChallengeState(StrEnum):
    """Where a challenge stands."""

    OPEN = "open"
    CLOSED = "closed"  # answered, or refunded: nothing is left to do
    MISSED = "missed"  # the time to answer is over


@dataclass(frozen=True, slots=True)
class Challenge:
    """The charge at `leaf` of the line at `item` of a batch is asked for, until `deadline` (Unix seconds)."""

    line_id: str
    batch: BatchKey
    item: int
    leaf: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Shown:
    """All that an answer shows: the line and its proof, the charge and its steps, the receipt and what signs it."""

    batch: BatchKey
    line: Line
    line_proof: tuple[bytes, ...]
    charge: Charge
    steps: tuple[Step, ...]
    receipt: Receipt
    segment: SignedSegment
