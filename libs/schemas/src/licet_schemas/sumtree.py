"""Merkle sum tree of charges: a root commits to the sum of its leaves.

The same tree as contracts/src/libraries/SumTree.sol. Leaves keep their order; a node without a sibling
moves up a level unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from licet_schemas.words import address_bytes, bytes32, keccak

# Leaf and node differ in the first byte and in length, so neither passes for the other.
_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"
_SUM_BYTES: Final = 16
MAX_SUM: Final = (1 << 128) - 1


@dataclass(frozen=True, slots=True)
class Charge:
    """What one receipt cost one payer; `amount` in the smallest unit of `currency` (a token's address)."""

    receipt_hash: bytes
    amount: int
    currency: str
    payer: str
    salt: bytes


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a proof: the sibling's hash and sum, and whether it stands left of the path."""

    hash: bytes
    sum: int
    left: bool


@dataclass(frozen=True, slots=True)
class SumTree:
    """A built tree, level by level: `levels[0]` are the leaves, the last level is the root."""

    levels: tuple[tuple[tuple[bytes, int], ...], ...]

    @property
    def root(self) -> bytes:
        """Root hash, 32 bytes."""
        return self.levels[-1][0][0]

    @property
    def sum(self) -> int:
        """Sum of all the leaves."""
        return self.levels[-1][0][1]

    def proof(self, index: int) -> list[Step]:
        """Steps from the leaf at `index` up to the root. Raises IndexError for no such leaf."""
        if not 0 <= index < len(self.levels[0]):
            raise IndexError(index)
        steps = []
        for level in self.levels[:-1]:
            sibling = index ^ 1
            if sibling < len(level):
                steps.append(Step(*level[sibling], left=sibling < index))
            index //= 2
        return steps


def _amount(value: int) -> bytes:
    if not 0 <= value <= MAX_SUM:
        raise ValueError(f"{value} is no uint128")
    return value.to_bytes(_SUM_BYTES, "big")


def leaf_hash(charge: Charge) -> bytes:
    """Hash of a leaf."""
    parties = address_bytes(charge.currency) + address_bytes(charge.payer)
    return keccak(
        _LEAF + bytes32(charge.receipt_hash) + _amount(charge.amount) + parties + bytes32(charge.salt)
    )


def _node(left: tuple[bytes, int], right: tuple[bytes, int]) -> tuple[bytes, int]:
    packed = _NODE + left[0] + _amount(left[1]) + right[0] + _amount(right[1])
    return keccak(packed), left[1] + right[1]


def build(charges: Sequence[Charge]) -> SumTree:
    """Builds the tree. Raises ValueError for no charge, or when the sum exceeds 128 bits."""
    if not charges:
        raise ValueError("a tree has at least one charge")
    level = tuple((leaf_hash(charge), charge.amount) for charge in charges)
    _amount(sum(amount for _, amount in level))
    levels = [level]
    while len(level) > 1:
        paired = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = tuple(paired) + (level[-1:] if len(level) % 2 else ())
        levels.append(level)
    return SumTree(tuple(levels))


def position(steps: Sequence[Step], count: int) -> int:
    """Place of the leaf among `count` that these steps lead from. Raises ValueError where they fit none."""
    found = _position(tuple(step.left for step in steps), count)
    if found is None:
        raise ValueError(f"{len(steps)} steps lead from none of {count} leaves")
    return found


def _position(sides: tuple[bool, ...], count: int) -> int | None:
    if count <= 1:
        return 0 if count == 1 and not sides else None
    above = (count + 1) // 2
    if count % 2 and _position(sides, above) == above - 1:
        return count - 1  # the last one has no sibling here, and so no step
    parent = _position(sides[1:], above) if sides else None
    place = None if parent is None else 2 * parent + sides[0]
    return place if place is not None and place | 1 < count else None


def verify(charge: Charge, steps: Sequence[Step], root: bytes, amount: int) -> bool:
    """Whether the charge is a leaf of the tree with this root whose leaves sum up to `amount`."""
    node = (leaf_hash(charge), charge.amount)
    for step in steps:
        if node[1] + step.sum > MAX_SUM or step.sum < 0:
            return False
        sibling = (bytes32(step.hash), step.sum)
        node = _node(sibling, node) if step.left else _node(node, sibling)
    return node == (root, amount)
