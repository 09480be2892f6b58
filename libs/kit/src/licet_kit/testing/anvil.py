"""A chain of one's own: an anvil process with the calls that a test needs."""

import asyncio
import contextlib
import ctypes
import json
import re
import signal
import urllib.request
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from licet_kit.testing.waiting import eventually

START_TIMEOUT_S = 20.0
RPC_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0
# anvil's own development accounts.
_MNEMONIC = "test test test test test test test test test test test junk"
_PR_SET_PDEATHSIG = 1


class RpcError(Exception):
    """The node answered with an error."""


@dataclass(frozen=True, slots=True)
class DevAccount:
    """A funded account of every anvil. `key` is the public development key, 0x hex."""

    address: str
    key: str


@cache
def dev_account(index: int) -> DevAccount:
    """Return anvil's account with this index; the address is lowercase."""
    # Most tests need no accounts, and the import takes half a second.
    from eth_account import Account  # noqa: PLC0415

    Account.enable_unaudited_hdwallet_features()
    account = Account.from_mnemonic(_MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
    return DevAccount(account.address.lower(), account.key.to_0x_hex())


@dataclass(slots=True)
class Anvil:
    """One anvil. Blocks come by transaction, or each `block_time_s`; final trails the head by two blocks."""

    binary: Path
    block_time_s: float | None = None
    flags: tuple[str, ...] = ()
    port: int = 0
    _process: asyncio.subprocess.Process | None = field(default=None, repr=False)
    _drain: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def rpc_url(self) -> str:
        """Return the address of the node."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Return the process id, for tests that kill it."""
        return self._running().pid

    async def start(self) -> None:
        """Start it, at the same port as before if it ran already."""
        arguments = ["--port", str(self.port), "--slots-in-an-epoch", "1", *self.flags]
        if self.block_time_s is not None:
            arguments += ["--block-time", str(self.block_time_s)]
        self._process = await asyncio.create_subprocess_exec(
            self.binary.resolve(),
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=_die_with_parent,
        )
        async with asyncio.timeout(START_TIMEOUT_S):
            self.port = await self._listening_port()
        self._drain = asyncio.create_task(self._discard_output())

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it; SIGKILL leaves it no time to save its state."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._drain is not None:
            await asyncio.gather(self._drain, return_exceptions=True)

    async def rpc(self, method: str, *params: Any) -> Any:
        """Call the node; raises RpcError."""
        answer = await asyncio.to_thread(self._post, method, list(params))
        if "error" in answer:
            raise RpcError(f"{method}: {answer['error']}")
        return answer["result"]

    async def send(self, transaction: dict[str, str]) -> str:
        """Send from one of the node's own accounts, wait until a block has it, and return the hash.

        The node answers before it mines, also where each transaction makes a block.
        """
        tx_hash = str(await self.rpc("eth_sendTransaction", transaction))
        await eventually(lambda: self.rpc("eth_getTransactionReceipt", tx_hash), what=f"block of {tx_hash}")
        return tx_hash

    async def block_number(self) -> int:
        """Return the number of the newest block."""
        return int(await self.rpc("eth_blockNumber"), 16)

    async def chain_id(self) -> int:
        """Return the chain's id."""
        return int(await self.rpc("eth_chainId"), 16)

    async def mine(self, blocks: int = 1) -> int:
        """Add empty blocks and return the number of the newest."""
        await self.rpc("anvil_mine", hex(blocks))
        return await self.block_number()

    async def reorg(self, depth: int, transactions: list[tuple[Any, int]] | None = None) -> None:
        """Replace the newest blocks by as many others; `transactions` are (transaction, index of its new block)."""
        await self.rpc("anvil_reorg", depth, [list(item) for item in transactions or []])

    async def rollback(self, depth: int) -> None:
        """Drop the newest blocks without a replacement."""
        await self.rpc("anvil_rollback", depth)

    async def snapshot(self) -> str:
        """Remember this state of the chain."""
        return str(await self.rpc("evm_snapshot"))

    async def revert(self, snapshot: str) -> None:
        """Go back to a remembered state; later blocks get other hashes."""
        await self.rpc("evm_revert", snapshot)

    async def advance(self, seconds: int) -> None:
        """Mine a block that is this much later than the newest one.

        Not by `evm_increaseTime`, which counts from the wall clock: blocks by transaction run ahead of it.
        """
        newest = await self.rpc("eth_getBlockByNumber", "latest", False)
        await self.rpc("evm_setNextBlockTimestamp", int(newest["timestamp"], 16) + seconds)
        await self.mine()

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("anvil does not run")
        return self._process

    def _output(self) -> asyncio.StreamReader:
        stream = self._running().stdout
        if stream is None:
            raise RuntimeError("anvil has no output")
        return stream

    def _post(self, method: str, params: list[Any]) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.rpc_url, body, {"content-type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=RPC_TIMEOUT_S) as response:  # noqa: S310  our own loopback URL
            return json.load(response)

    async def _listening_port(self) -> int:
        stream, output = self._output(), b""
        while line := await stream.readline():
            output += line
            if found := re.search(rb"Listening on [\d.]+:(\d+)", line):
                return int(found[1])
        raise RuntimeError(f"anvil did not start: {output.decode(errors='replace')[-500:]}")

    async def _discard_output(self) -> None:
        stream = self._output()
        while await stream.read(65536):
            pass


def _die_with_parent() -> None:
    """Have the kernel end the child with us: a killed test run must leave no chain behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
