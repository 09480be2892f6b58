"""A chain under the test's control, with an emitter in place of each watched contract."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from licet_kit.testing.anvil import Anvil, dev_account

from licet_indexer.domain.catalogue import WATCHED
from licet_indexer.domain.chain import Chain, ChainId, Finality
from licet_indexer.testing.emitter import CREATION_CODE
from licet_indexer.testing.story import Said

_GAS = hex(25_000_000)


class Scene:
    """Mines only when told to."""

    def __init__(self, anvil: Anvil) -> None:
        self.anvil = anvil
        self.account = dev_account(0).address
        self.emitters: dict[str, str] = {}
        # What its configuration says; a node of another chain is an error that tests make on purpose.
        self.chain_id = 31337

    async def set_up(self) -> None:
        """Deploys the emitters, in one block."""
        await self.anvil.rpc("evm_setAutomine", False)
        sent = [
            await self.anvil.rpc(
                "eth_sendTransaction", {"from": self.account, "data": CREATION_CODE, "gas": hex(2_000_000)}
            )
            for _ in WATCHED
        ]
        await self.mine()
        for name, tx_hash in zip(WATCHED, sent, strict=True):
            receipt = await self.anvil.rpc("eth_getTransactionReceipt", tx_hash)
            self.emitters[name] = receipt["contractAddress"].lower()

    async def say(self, said: Iterable[Said]) -> None:
        """Puts logs, in order, into the next block."""
        for contract, entries in groupby(said, key=lambda one: one[0]):
            data = "0x" + b"".join(entry for _, entry in entries).hex()
            call = {"from": self.account, "to": self.emitters[contract], "data": data, "gas": _GAS}
            await self.anvil.rpc("eth_sendTransaction", call)

    async def mine(self, blocks: int = 1) -> None:
        """Mines, the first block with everything that was said."""
        for _ in range(blocks):
            await self.anvil.rpc("evm_mine")

    async def tell(self, blocks: Sequence[Sequence[Said]]) -> None:
        """One block for each list of logs."""
        for said in blocks:
            await self.say(said)
            await self.mine()

    async def block_hash(self, number: int) -> str:
        """Hash of the block of a height."""
        return str((await self.anvil.rpc("eth_getBlockByNumber", hex(number), False))["hash"])

    def chain(
        self, rpc_url: str | None = None, *, finality: Finality | None = None, poll_interval_s: float = 0.02
    ) -> Chain:
        """The configuration under which the indexer follows this chain."""
        return Chain(
            chain_id=ChainId(self.chain_id),
            name="scene",
            rpc_url=rpc_url or self.anvil.rpc_url,
            finality=finality or Finality("tag"),
            start_block=0,
            poll_interval_s=poll_interval_s,
            contracts=dict(self.emitters),
        )

    def chains_file(self, folder: Path, rpc_url: str | None = None, *, poll_interval_ms: int = 20) -> Path:
        """A CHAINS_FILE for a process that follows this chain."""
        entry = {
            "chain_id": self.chain_id,
            "name": "scene",
            "rpc_url": rpc_url or self.anvil.rpc_url,
            "finality": {"source": "tag"},
            "start_block": 0,
            "poll_interval_ms": poll_interval_ms,
            "contracts": self.emitters,
        }
        path = folder / "chains.json"
        path.write_text(json.dumps({"chains": [entry]}))
        return path


async def scene(anvil: Anvil) -> Scene:
    """A scene on a fresh anvil."""
    made = Scene(anvil)
    await made.set_up()
    return made
