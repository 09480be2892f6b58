"""OpenZeppelin's standard Merkle tree with leaves in the caller's order.

Layout and hashes of `@openzeppelin/merkle-tree` (`StandardMerkleTree`, `sortLeaves: false`), so that its
proofs and Solidity's `MerkleProof` verify: leaves are hashed twice, pairs are hashed in sorted order, and the
nodes fill a complete binary tree in an array with the leaves at its end, last leaf first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from licet_schemas.words import keccak


def leaf(payload: bytes) -> bytes:
    """Leaf hash of ABI-encoded values; hashed twice, so that no inner node passes for a leaf."""
    return keccak(keccak(payload))


def _pair(a: bytes, b: bytes) -> bytes:
    return keccak(a + b if a < b else b + a)


@dataclass(frozen=True, slots=True)
class Tree:
    """A built tree; `nodes[0]` is the root."""

    nodes: tuple[bytes, ...]

    @property
    def root(self) -> bytes:
        """Root hash, 32 bytes."""
        return self.nodes[0]

    def proof(self, index: int) -> list[bytes]:
        """Siblings from the leaf at `index` up to the root. Raises IndexError for no such leaf."""
        if not 0 <= index <= len(self.nodes) // 2:
            raise IndexError(index)
        position = len(self.nodes) - 1 - index
        siblings = []
        while position > 0:
            siblings.append(self.nodes[position - 1 if position % 2 == 0 else position + 1])
            position = (position - 1) // 2
        return siblings


def tree(leaves: Sequence[bytes]) -> Tree:
    """Builds the tree over leaf hashes. Raises ValueError for none."""
    if not leaves:
        raise ValueError("a tree has at least one leaf")
    inner = len(leaves) - 1
    nodes = [b""] * inner + list(reversed(leaves))
    for i in range(inner - 1, -1, -1):
        nodes[i] = _pair(nodes[2 * i + 1], nodes[2 * i + 2])
    return Tree(tuple(nodes))


def verify(leaf_hash: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the leaf hash is under the root."""
    for sibling in proof:
        leaf_hash = _pair(leaf_hash, sibling)
    return leaf_hash == root
