"""Groups and lines of an on-chain settlement batch, and the root over them that `UsageEscrow.settle` checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from licet_schemas import merkle
from licet_schemas.words import address_word, bytes32, keccak, uint_word

# What an item without a mandate or a channel names as its authority.
DIRECT: Final = b"\0" * 32


@dataclass(frozen=True, slots=True)
class Item:
    """What one payer owes in a group: `amount`, summed up under `payer_root` over `records` leaves.

    `authority` is DIRECT for the deposit itself, or the id of a mandate or of a channel of vouchers; `window` is 0
    without a mandate.
    """

    payer: str
    authority: bytes
    window: int
    amount: int
    payer_root: bytes
    records: int


@dataclass(frozen=True, slots=True)
class Group:
    """Items that are paid in one token to one asset."""

    asset_id: bytes
    token: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """An item with its place in the batch, counted from 0 over all groups, and what its group says."""

    index: int
    asset_id: bytes
    token: str
    item: Item


def lines_of(groups: Sequence[Group]) -> list[Line]:
    """The lines of a batch, in its order."""
    pairs = [(group, item) for group in groups for item in group.items]
    return [Line(i, group.asset_id, group.token, item) for i, (group, item) in enumerate(pairs)]


def line_leaf(line: Line) -> bytes:
    """Leaf of a line: the double hash of its ABI encoding."""
    words = (
        uint_word(line.index, 32),
        bytes32(line.asset_id),
        address_word(line.token),
        address_word(line.item.payer),
        bytes32(line.item.authority),
        uint_word(line.item.window, 32),
        uint_word(line.item.amount, 128),
        bytes32(line.item.payer_root),
        uint_word(line.item.records, 32),
    )
    return merkle.leaf(b"".join(words))


def batch_tree(lines: Sequence[Line]) -> merkle.Tree:
    """Tree over the lines in their order; its root goes into `settle`, its proofs into `verifyCharge`."""
    return merkle.tree([line_leaf(line) for line in lines])


def deposit_id(payer: str, operator: str, token: str) -> bytes:
    """Id of a payer's deposit with an operator in a token."""
    return keccak(address_word(payer) + address_word(operator) + address_word(token))
