"""Blocks, logs and the settings of one chain."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NewType

from sha3 import keccak_256

ChainId = NewType("ChainId", int)

ZERO_ADDRESS = "0x" + "0" * 40
# Protobuf's int64. A time beyond it is as good as never, and an operator may well write `type(uint64).max`.
MAX_TIME = 2**63 - 1
# A chain that claims more logs in a block than this is lying: 2^31 logs would need more gas than any chain allows.
MAX_LOG_INDEX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class BlockRef:
    """A block by height and hash; `time` is Unix seconds."""

    number: int
    hash: str
    time: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a node's header says. `bloom` is the 2048-bit logs bloom as a number."""

    number: int
    hash: str
    parent: str
    time: int
    bloom: int

    @property
    def ref(self) -> BlockRef:
        """Height, hash and time alone."""
        return BlockRef(self.number, self.hash, self.time)


@dataclass(frozen=True, slots=True)
class Log:
    """One log as the node gave it. `topics` and `data` are lowercase 0x-hex."""

    block_hash: str
    block_number: int
    index: int
    tx_hash: str
    contract: str
    topics: tuple[str, ...]
    data: str


@dataclass(frozen=True, slots=True)
class Block:
    """A header and every log of the watched contracts in it, in log order."""

    header: Header
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True)
class Finality:
    """Where a chain's finality comes from: the node's `finalized` tag, or a number of blocks below the head."""

    source: Literal["tag", "depth"]
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain as configured. `contracts` maps contract names to lowercase addresses.

    `former` has the earlier generations of `License` and `LicenseSale`, oldest first.
    """

    chain_id: ChainId
    name: str
    rpc_url: str
    finality: Finality
    start_block: int
    poll_interval_s: float
    contracts: dict[str, str]
    former: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def generations(self, name: str) -> tuple[str, ...]:
        """Addresses of every generation of a contract, oldest first."""
        return (*self.former.get(name, ()), self.contracts[name])

    def license_of(self, token_id: int) -> str:
        """The contract that issued a licence: each generation has 2^64 ids of its own."""
        generations = self.generations("License")
        return generations[min(token_id >> 64, len(generations) - 1)]


class ChainState(enum.StrEnum):
    """`halted`: the node contradicts a final block, or is not this chain; nothing is applied until it agrees again."""

    FOLLOWING = "following"
    HALTED = "halted"


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the mirror of a chain is. `tip` is None before the first block, `final` before the first final one."""

    chain_id: ChainId
    tip: BlockRef | None
    final: BlockRef | None
    epoch: int

    def next_number(self, start_block: int) -> int:
        """Height of the block that comes next."""
        return start_block if self.tip is None else self.tip.number + 1


class Kind(enum.StrEnum):
    """Whether a log is in the canonical chain or has just left it; the fourth part of an event id."""

    OBSERVED = "observed"
    RETRACTED = "retracted"


@dataclass(frozen=True, slots=True)
class Site:
    """Where a log stands: everything of a ChainEvent but its payload."""

    chain_id: ChainId
    block_number: int
    block_hash: str
    block_time: int
    tx_hash: str
    log_index: int
    contract: str
    incarnation: int

    def event_id(self, kind: Kind) -> str:
        """Name of this truth. The same block that returns is a new truth, so its incarnation is part of the name."""
        return f"{self.chain_id}:{self.block_hash}:{self.log_index}:{kind}:{self.incarnation}"


def finality_id(chain_id: ChainId, block_hash: str) -> str:
    """Event id of a block's finality; a block becomes final once."""
    return f"{chain_id}:{block_hash}:final"


def asset_id(chain_id: int, registry: str, token_id: int) -> str:
    """Hash of the asset's CAIP-19 name: the same on every chain that speaks of it."""
    name = f"eip155:{chain_id}/erc721:{registry.lower()}/{token_id}"
    return "0x" + str(keccak_256(name.encode()).hexdigest())


def wire_time(value: int) -> int:
    """A chain time as messages carry it."""
    return min(value, MAX_TIME)
