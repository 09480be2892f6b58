"""One chain's node: blocks, finality, and the errors that mean "not now"."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from licet_kit.chains import Chain
from licet_kit.errors import Unavailable
from licet_schemas.abi import load_abi
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.contract.async_contract import AsyncContract
from web3.exceptions import BlockNotFound, Web3RPCError

# Blocks asked for at the same time; nodes limit requests, and postings come in batches of few blocks.
_CONCURRENCY: Final = 16


# Blocks of one log query: what public nodes allow.
LOG_RANGE: Final = 2_000


class NodeUnavailable(Unavailable):
    """The node did not answer, or did not answer as a node does."""

    code = "chain_unavailable"


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """Turns every way in which a node can fail to answer into NodeUnavailable."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError, Web3RPCError) as error:
        raise NodeUnavailable(f"{type(error).__name__}: {error}"[:300]) from error


def make_web3(chain: Chain, timeout_s: float) -> AsyncWeb3[AsyncHTTPProvider]:
    """A connection to the chain's node. It repeats nothing by itself: the callers know what may be repeated."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    provider = AsyncHTTPProvider(
        chain.rpc_url, request_kwargs={"timeout": timeout}, exception_retry_configuration=None
    )
    return AsyncWeb3(provider)


def contract(w3: AsyncWeb3[AsyncHTTPProvider], name: str, address: str) -> AsyncContract:
    """A contract by its exported ABI."""
    made: Any = w3.eth.contract(address=w3.to_checksum_address(address), abi=load_abi(name))
    return made  # type: ignore[no-any-return]


def hex32(value: bytes) -> str:
    """Lowercase `0x` text of a hash."""
    return "0x" + bytes(value).hex()


class Node:
    """Reads blocks of one chain."""

    def __init__(self, chain: Chain, w3: AsyncWeb3[AsyncHTTPProvider]) -> None:
        self.chain = chain
        self.w3 = w3

    async def head(self) -> int:
        """Number of the newest block."""
        async with answering():
            return int(await self.w3.eth.block_number)

    async def final_block(self) -> int:
        """Number of the highest final block, by the chain's source of finality."""
        finality = self.chain.finality
        if finality.source == "depth":
            return max(0, await self.head() - finality.depth)
        async with answering():
            block = await self.w3.eth.get_block("finalized")
        return int(block["number"])

    async def block_hashes(self, numbers: Collection[int]) -> dict[int, str]:
        """Hashes of these blocks as the chain has them now; blocks that it does not have are left out."""
        limit = asyncio.Semaphore(_CONCURRENCY)

        async def one(number: int) -> tuple[int, str | None]:
            async with limit, answering():
                try:
                    return number, hex32((await self.w3.eth.get_block(number))["hash"])
                except BlockNotFound:
                    return number, None

        found = await asyncio.gather(*(one(number) for number in sorted(numbers)))
        return {number: hash_ for number, hash_ in found if hash_ is not None}
