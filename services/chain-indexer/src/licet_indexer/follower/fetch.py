"""Turns headers into whole blocks: every log of the watched contracts, proven complete.

An RPC answer that lacks logs looks like a quiet block. So an answer counts only if the header's bloom proves it, or the
block's receipts do, whose own bloom must be the header's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from licet_indexer.clients import Node
from licet_indexer.domain.bloom import Proof, bloom_of, check, gapless, may_contain
from licet_indexer.domain.chain import Block, Header, Log
from licet_indexer.domain.judge import InconsistentAnswer

# Up to this many blocks are asked for by hash in one request; more of them by range in one call.
BY_HASH = 4
# Receipts hold every log of a block: a few blocks a request keep an answer within some MiB.
RECEIPTS_A_REQUEST = 8


async def complete(node: Node, headers: Sequence[Header], contracts: Sequence[str]) -> tuple[Block, ...]:
    """The blocks of these consecutive headers. Raises InconsistentAnswer where the node contradicts itself."""
    wanted = [header for header in headers if may_contain(header.bloom, contracts)]
    found = by_header(wanted, await _logs(node, wanted, contracts), set(contracts))
    open_ = []
    for header in wanted:
        match check(header.bloom, found[header.hash], contracts):
            case Proof.OPEN:
                open_.append(header)
            case Proof.CONTRADICTED:
                raise InconsistentAnswer(f"block {header.number} has a log that its bloom does not have")
            case Proof.COMPLETE:
                pass
    found |= await _from_receipts(node, open_, set(contracts))
    return tuple(Block(header, found.get(header.hash, ())) for header in headers)


async def _logs(node: Node, wanted: Sequence[Header], contracts: Sequence[str]) -> list[Log]:
    if not wanted:
        return []
    if len(wanted) <= BY_HASH:
        return await node.logs_of([header.hash for header in wanted], contracts)
    return await node.logs_between(wanted[0].number, wanted[-1].number, contracts)


def by_header(
    headers: Sequence[Header], logs: Iterable[Log], contracts: set[str]
) -> dict[str, tuple[Log, ...]]:
    """Logs of each header, by block hash and in log order.

    Raises InconsistentAnswer for a log of another contract or block, or one that comes twice with different content.
    """
    groups: dict[str, dict[int, Log]] = {header.hash: {} for header in headers}
    numbers = {header.hash: header.number for header in headers}
    for log in logs:
        if log.contract not in contracts or numbers.get(log.block_hash) != log.block_number:
            raise InconsistentAnswer(
                f"a log of block {log.block_number} ({log.block_hash}) was not asked for"
            )
        if groups[log.block_hash].setdefault(log.index, log) != log:
            raise InconsistentAnswer(f"two logs {log.index} in block {log.block_number}")
    return {block: tuple(group[i] for i in sorted(group)) for block, group in groups.items()}


async def _from_receipts(
    node: Node, headers: Sequence[Header], contracts: set[str]
) -> dict[str, tuple[Log, ...]]:
    proven: dict[str, tuple[Log, ...]] = {}
    for i in range(0, len(headers), RECEIPTS_A_REQUEST):
        part = headers[i : i + RECEIPTS_A_REQUEST]
        answers = await node.all_logs_of([header.hash for header in part])
        for header, logs in zip(part, answers, strict=True):
            if bloom_of(logs) != header.bloom or not gapless(logs):
                raise InconsistentAnswer(f"receipts and header of block {header.number} differ")
            watched = [log for log in logs if log.contract in contracts]
            proven |= by_header([header], watched, contracts)
    return proven
