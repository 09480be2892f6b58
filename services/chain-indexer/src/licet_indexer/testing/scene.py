"""A chain under the test's control, with an emitter in place of each watched contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any

from web3 import AsyncHTTPProvider

from licet_indexer.domain.catalogue import WATCHED
from licet_indexer.domain.chain import Chain, ChainId, Finality
from licet_indexer.testing.emitter import CREATION_CODE
from licet_indexer.testing.story import Said

_GAS = hex(25_000_000)


class Scene:
    """Mines only when told to."""

    def __init__(self, provider: AsyncHTTPProvider, rpc_url: str) -> None:
        self._provider = provider
        self.rpc_url = rpc_url
        self.account = ""
        self.emitters: dict[str, str] = {}

    async def ask(self, method: str, *params: Any) -> Any:
        """Result of one JSON-RPC call; the error's text is raised."""
        answer = await self._provider.make_request(method, list(params))  # type: ignore[arg-type]
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    async def set_up(self) -> None:
        """Deploys the emitters, in one block."""
        self.account = (await self.ask("eth_accounts"))[0]
        await self.ask("evm_setAutomine", False)
        sent = [
            await self.ask(
                "eth_sendTransaction", {"from": self.account, "data": CREATION_CODE, "gas": hex(2_000_000)}
            )
            for _ in WATCHED
        ]
        await self.mine()
        for name, tx_hash in zip(WATCHED, sent, strict=True):
            receipt = await self.ask("eth_getTransactionReceipt", tx_hash)
            self.emitters[name] = receipt["contractAddress"].lower()

    async def say(self, said: Iterable[Said]) -> None:
        """Puts logs, in order, into the next block."""
        for contract, entries in groupby(said, key=lambda one: one[0]):
            data = "0x" + b"".join(entry for _, entry in entries).hex()
            call = {"from": self.account, "to": self.emitters[contract], "data": data, "gas": _GAS}
            await self.ask("eth_sendTransaction", call)

    async def mine(self, blocks: int = 1) -> None:
        """Mines, the first block with everything that was said."""
        for _ in range(blocks):
            await self.ask("evm_mine")

    async def tell(self, blocks: Sequence[Sequence[Said]]) -> None:
        """One block for each list of logs."""
        for said in blocks:
            await self.say(said)
            await self.mine()

    async def reorg(self, depth: int) -> None:
        """Replaces the last blocks by empty ones."""
        await self.ask("anvil_reorg", depth, [])

    async def rollback(self, depth: int) -> None:
        """Takes the last blocks away."""
        await self.ask("anvil_rollback", depth)

    async def head(self) -> int:
        """Height of the newest block."""
        return int(await self.ask("eth_blockNumber"), 16)

    async def block_hash(self, number: int) -> str:
        """Hash of the block of a height."""
        return str((await self.ask("eth_getBlockByNumber", hex(number), False))["hash"])

    def chain(
        self, rpc_url: str | None = None, *, chain_id: int = 31337, poll_interval_s: float = 0.02
    ) -> Chain:
        """The configuration under which the indexer follows this chain."""
        return Chain(
            chain_id=ChainId(chain_id),
            name="scene",
            rpc_url=rpc_url or self.rpc_url,
            finality=Finality("tag"),
            start_block=0,
            poll_interval_s=poll_interval_s,
            contracts=dict(self.emitters),
        )


@asynccontextmanager
async def scene(rpc_url: str) -> AsyncIterator[Scene]:
    """A scene on a fresh anvil."""
    provider = AsyncHTTPProvider(rpc_url, exception_retry_configuration=None)
    try:
        made = Scene(provider, rpc_url)
        await made.set_up()
        yield made
    finally:
        await provider.disconnect()
