"""Decides from what a node shows whether to go on, wait, or roll back.

One poll gives one `Look`: the node's head, its final block, its block at our tip's height, and the blocks after it, all
from one request, so that they belong to one view. The rules, and how much evidence each needs:

- The node has our tip: go on with the blocks after it, if they link up.
- It has another block at our tip's height and is higher: our tip lost. Roll back at once.
- It has another block at our height and is no higher, or its head, below ours, is not in our chain: a competing chain,
  or one node of a load-balanced set that is on another fork. Roll back when `fork_polls` looks in a row say so.
- Its head is below ours and in our chain: a node that lags, or a chain that was killed and came back at an earlier
  block. Both look the same until the chain grows again, so wait longer: roll back to its head after `lag_polls` looks.

A look that has our tip ends the count.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from licet_kit.errors import RetryableError

from licet_indexer.domain.chain import BlockRef, Finality, Header


class InconsistentAnswer(RetryableError):
    """Parts of one answer contradict each other: asked again, never acted on."""

    code = "inconsistent_answer"


@dataclass(frozen=True, slots=True)
class Look:
    """What a node showed in one request. `at_tip` is None where it has no block of our tip's height."""

    head: BlockRef
    final: BlockRef | None
    at_tip: Header | None
    after: tuple[Header, ...]


class Doubt(enum.StrEnum):
    """Why a look speaks against our tip."""

    FORK = "fork"
    LAG = "lag"


@dataclass(frozen=True, slots=True)
class Limits:
    """Looks in a row that a doubt needs before it is acted on."""

    fork_polls: int
    lag_polls: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Doubts of the looks so far, in a row."""

    doubt: Doubt | None = None
    looks: int = 0

    def add(self, doubt: Doubt) -> Evidence:
        """One more look with this doubt; another doubt starts anew."""
        return Evidence(doubt, self.looks + 1 if doubt is self.doubt else 1)

    def enough(self, limits: Limits) -> bool:
        """Whether to act on it."""
        needed = limits.fork_polls if self.doubt is Doubt.FORK else limits.lag_polls
        return self.doubt is not None and self.looks >= needed


@dataclass(frozen=True, slots=True)
class Extend:
    """Blocks to apply next, linked to the tip and to each other; empty at the node's head."""

    headers: tuple[Header, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Not enough evidence yet."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class RollBack:
    """The tip is not in the node's chain: find the common ancestor and retract what is above it."""


Verdict = Extend | Wait | RollBack


def linked(parent: BlockRef | None, headers: tuple[Header, ...]) -> bool:
    """Whether each header follows the one before it, and the first follows `parent` (None: anything goes)."""
    for header in headers:
        if parent is not None and (header.number, header.parent) != (parent.number + 1, parent.hash):
            return False
        parent = header.ref
    return True


def judge(
    tip: BlockRef | None, look: Look, evidence: Evidence, limits: Limits, *, head_is_ours: bool
) -> Verdict:
    """What to do after a look.

    `head_is_ours`: whether the mirror's chain has the node's head; asked only where the head is below the tip.
    Raises InconsistentAnswer where the parts of the look do not fit.
    """
    if tip is None or (look.at_tip is not None and look.at_tip.hash == tip.hash):
        if not linked(tip, look.after):
            raise InconsistentAnswer("the blocks after the tip do not link up with it")
        return Extend(look.after)
    if look.at_tip is not None:
        if look.head.number > tip.number:
            return RollBack()
        return _weigh(evidence.add(Doubt.FORK), limits)
    if look.head.number >= tip.number:
        raise InconsistentAnswer(f"the head is {look.head.number}, but block {tip.number} is missing")
    return _weigh(evidence.add(Doubt.LAG if head_is_ours else Doubt.FORK), limits)


def _weigh(evidence: Evidence, limits: Limits) -> Verdict:
    return RollBack() if evidence.enough(limits) else Wait(evidence)


def final_of(look: Look, finality: Finality) -> tuple[int, str | None] | None:
    """Height up to which the node calls its chain final, and that block's hash where the node said it.

    With the tag the node names the block; with a depth it is so many blocks below the head. None: nothing is final.
    """
    if finality.source == "depth":
        number = look.head.number - finality.depth
        return (number, None) if number >= 0 else None
    return (look.final.number, look.final.hash) if look.final else None
