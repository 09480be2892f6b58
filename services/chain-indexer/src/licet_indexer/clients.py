"""A chain's node over JSON-RPC.

Everything a node says is checked for shape here and for consistency by its callers. Whatever is wrong (an error, a
timeout, half an answer) is a NodeError: asked again later, never taken for "nothing happened".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Self

import aiohttp
from licet_kit.errors import RetryableError
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.exceptions import Web3Exception

from licet_indexer.domain.chain import MAX_LOG_INDEX, BlockRef, Chain, Header, Log
from licet_indexer.domain.judge import Look

_HASH = re.compile(r"0x[0-9a-f]{64}")
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_DATA = re.compile(r"0x(?:[0-9a-f]{2})*")
_QUANTITY = re.compile(r"0x[0-9a-f]{1,64}")
_BLOOM = re.compile(r"0x[0-9a-f]{512}")

_MAX_COUNTER = 2**62

Call = tuple[str, list[Any]]


class NodeError(RetryableError):
    """The node did not give a usable answer."""

    code = "node_error"


class Node:
    """The questions that the indexer asks a chain's node."""

    def __init__(self, chain: Chain, *, timeout_s: float) -> None:
        # web3's own retries would repeat inside our time limit and hide faults from our metrics.
        self._provider = AsyncHTTPProvider(
            chain.rpc_url,
            request_kwargs={"timeout": aiohttp.ClientTimeout(total=timeout_s)},
            exception_retry_configuration=None,
        )
        self._w3 = AsyncWeb3(self._provider)
        self._tagged = chain.finality.source == "tag"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._provider.disconnect()

    async def chain_id(self) -> int:
        """The id of the chain that this node serves."""
        return _quantity((await self._ask([("eth_chainId", [])]))[0])

    async def look(self, tip: BlockRef | None, first: int, count: int) -> Look:
        """The node's view: head, final block, its block at our tip's height, and up to `count` blocks from `first`.

        One request, so that one node of a load-balanced set answers all of it.
        """
        calls: list[Call] = [("eth_getBlockByNumber", ["latest", False])]
        if self._tagged:
            calls.append(("eth_getBlockByNumber", ["finalized", False]))
        if tip is not None:
            calls.append(_block_at(tip.number))
        calls += [_block_at(first + i) for i in range(count)]
        answers = iter(await self._ask(calls))
        head = _header(next(answers))
        final = next(answers) if self._tagged else None
        at_tip = next(answers) if tip is not None else None
        after = []
        for answer in answers:
            if answer is None:
                break
            after.append(_header(answer))
        if any(header.number != first + i for i, header in enumerate(after)):
            raise NodeError("the node answered with blocks of other heights")
        return Look(
            head=head.ref,
            final=_header(final).ref if final is not None else None,
            at_tip=_header(at_tip) if at_tip is not None else None,
            after=tuple(after),
        )

    async def hashes_at(self, numbers: Sequence[int]) -> list[str | None]:
        """Hashes of the node's blocks at these heights, None where it has none."""
        answers = await self._ask([_block_at(number) for number in numbers])
        return [None if answer is None else _header(answer).hash for answer in answers]

    async def logs_of(self, hashes: Sequence[str], contracts: Sequence[str]) -> list[Log]:
        """Logs of these contracts in each of these blocks. A node that lacks one of the blocks answers an error."""
        calls: list[Call] = [
            ("eth_getLogs", [{"blockHash": block_hash, "address": list(contracts)}]) for block_hash in hashes
        ]
        return [_log(entry) for answer in await self._ask(calls) for entry in _list(answer)]

    async def logs_between(self, first: int, last: int, contracts: Sequence[str]) -> list[Log]:
        """Logs of these contracts in the node's blocks of these heights, both inclusive."""
        span = {"fromBlock": hex(first), "toBlock": hex(last), "address": list(contracts)}
        return [_log(entry) for entry in _list((await self._ask([("eth_getLogs", [span])]))[0])]

    async def all_logs_of(self, hashes: Sequence[str]) -> list[list[Log]]:
        """Every log of every contract in each of these blocks, out of their receipts."""
        answers = await self._ask([("eth_getBlockReceipts", [block_hash]) for block_hash in hashes])
        found = []
        for answer in answers:
            entries = [entry for receipt in _list(answer) for entry in _list(_field(receipt, "logs"))]
            found.append([_log(entry) for entry in entries])
        return found

    async def _ask(self, calls: list[Call]) -> list[Any]:
        """Results of the calls, in order. Any error, and any answer that is missing, fails them all."""
        if not calls:
            return []
        try:
            answers = await self._provider.make_batch_request(calls)  # type: ignore[arg-type]
        except (
            aiohttp.ClientError,
            TimeoutError,
            OSError,
            ValueError,
            KeyError,
            TypeError,
            Web3Exception,
        ) as error:
            raise NodeError(f"{calls[0][0]}: {type(error).__name__}: {error}") from error
        if not isinstance(answers, list) or len(answers) != len(calls):
            raise NodeError(f"{calls[0][0]}: {str(answers)[:200]}")
        return [_result(call, answer) for call, answer in zip(calls, answers, strict=True)]


def _block_at(number: int) -> Call:
    return "eth_getBlockByNumber", [hex(number), False]


def _result(call: Call, answer: Any) -> Any:
    if not isinstance(answer, dict) or "result" not in answer:
        reason = answer.get("error") if isinstance(answer, dict) else answer
        raise NodeError(f"{call[0]}: {str(reason)[:200]}")
    return answer["result"]


def _field(value: Any, name: str) -> Any:
    if not isinstance(value, dict) or name not in value:
        raise NodeError(f"an answer lacks {name}")
    return value[name]


def _list(value: Any) -> Iterable[Any]:
    # null is what some nodes answer for a block they do not have: not the same as a block without logs.
    if not isinstance(value, list):
        raise NodeError(f"a list was expected, not {str(value)[:80]}")
    return value


def _hex(pattern: re.Pattern[str], value: Any) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(text := value.lower()):
        raise NodeError(f"malformed value {str(value)[:80]}")
    return text


def _quantity(value: Any) -> int:
    return int(_hex(_QUANTITY, value), 16)


def _counter(value: Any) -> int:
    # Heights and times of a real chain fit; anything else would only fail later, inside the database.
    number = _quantity(value)
    if number > _MAX_COUNTER:
        raise NodeError(f"a height or time of {number}")
    return number


def _header(value: Any) -> Header:
    return Header(
        number=_counter(_field(value, "number")),
        hash=_hex(_HASH, _field(value, "hash")),
        parent=_hex(_HASH, _field(value, "parentHash")),
        time=_counter(_field(value, "timestamp")),
        bloom=int(_hex(_BLOOM, _field(value, "logsBloom")), 16),
    )


def _log(value: Any) -> Log:
    index = _quantity(_field(value, "logIndex"))
    if index > MAX_LOG_INDEX or value.get("removed"):
        raise NodeError("a log that cannot be, or was removed")
    return Log(
        block_hash=_hex(_HASH, _field(value, "blockHash")),
        block_number=_counter(_field(value, "blockNumber")),
        index=index,
        tx_hash=_hex(_HASH, _field(value, "transactionHash")),
        contract=_hex(_ADDRESS, _field(value, "address")),
        topics=tuple(_hex(_HASH, topic) for topic in _list(_field(value, "topics"))),
        data=_hex(_DATA, _field(value, "data")),
    )
