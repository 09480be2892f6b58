"""Lines of an on-chain settlement batch, and the root over them that `UsageEscrow.settle` checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from licet_schemas import merkle
from licet_schemas.words import bytes32, uint_word


@dataclass(frozen=True, slots=True)
class Item:
    """One line: `amount` due from the deposit `source` to `asset_id`, summed up under `payer_root`.

    `window` is 0 for a deposit; `records` is the number of leaves.
    """

    source: bytes
    asset_id: bytes
    window: int
    amount: int
    payer_root: bytes
    records: int


def item_leaf(item: Item) -> bytes:
    """Leaf of an item: the double hash of its ABI encoding."""
    words = (
        bytes32(item.source),
        bytes32(item.asset_id),
        uint_word(item.window, 32),
        uint_word(item.amount, 128),
        bytes32(item.payer_root),
        uint_word(item.records, 32),
    )
    return merkle.leaf(b"".join(words))


def batch_tree(items: Sequence[Item]) -> merkle.Tree:
    """Tree over the items in their order; its root goes into `settle`, its proofs into `verifyCharge`."""
    return merkle.tree([item_leaf(item) for item in items])
