"""The header's logs bloom, used to prove that a node left no log out.

A node behind a load balancer may answer `eth_getLogs` with nothing, or with a part, and no error. The header commits to
the bloom of all logs of its block, so an answer can be checked against it (Ethereum yellow paper, section 4.3.1).
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Collection, Iterable

from sha3 import keccak_256

from licet_indexer.domain.chain import Log

EMPTY = 0


@functools.lru_cache(maxsize=8192)
def bits_of(value: str) -> int:
    """The three bits that an address or topic (0x-hex) sets in a bloom."""
    digest = keccak_256(bytes.fromhex(value[2:])).digest()
    mask = 0
    for i in (0, 2, 4):
        mask |= 1 << (((digest[i] << 8) | digest[i + 1]) & 0x7FF)
    return mask


def bloom_of(logs: Iterable[Log]) -> int:
    """The bloom that exactly these logs make."""
    mask = EMPTY
    for log in logs:
        mask |= bits_of(log.contract)
        for topic in log.topics:
            mask |= bits_of(topic)
    return mask


def may_contain(bloom: int, contracts: Iterable[str]) -> bool:
    """Whether a block with this bloom can hold a log of one of these contracts; False is certain."""
    return any(bloom & bits == bits for bits in map(bits_of, contracts))


class Proof(enum.Enum):
    """What a bloom says of an answer. OPEN: only the block's receipts can tell."""

    COMPLETE = "complete"
    OPEN = "open"
    CONTRADICTED = "contradicted"


def check(bloom: int, logs: Collection[Log], contracts: Iterable[str]) -> Proof:
    """Judges whether `logs` are all logs of `contracts` in a block with this bloom.

    COMPLETE when the logs explain every bit and no index is missing among them, or when the bloom excludes every
    contract and there are none; CONTRADICTED when a log is not in the bloom; else OPEN, because other contracts' logs
    set bits and take indexes too.
    """
    explained = bloom_of(logs)
    if explained & ~bloom:
        return Proof.CONTRADICTED
    if not logs:
        return Proof.OPEN if may_contain(bloom, contracts) else Proof.COMPLETE
    return Proof.COMPLETE if explained == bloom and gapless(logs) else Proof.OPEN


def gapless(logs: Collection[Log]) -> bool:
    """Whether the logs have the indexes 0, 1, … of a whole block. A bloom cannot count logs of equal topics."""
    return {log.index for log in logs} == set(range(len(logs)))
