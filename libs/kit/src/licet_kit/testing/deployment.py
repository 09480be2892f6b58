"""A chain with the contracts on it: deployed once for each state of their code, then loaded from a file."""

import asyncio
import fcntl
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from licet_kit.testing.anvil import Anvil, DevAccount, dev_account

DEPLOY_TIMEOUT_S = 300
DEPLOYER = 0
OPERATOR = 1


@dataclass(frozen=True, slots=True)
class DeployedChain:
    """A chain of one's own with all contracts. Account 0 deployed; account 1 is the operator."""

    anvil: Anvil
    chains_file: Path
    contracts: dict[str, str]

    def account(self, index: int) -> DevAccount:
        """Return a funded account."""
        return dev_account(index)

    @property
    def operator(self) -> DevAccount:
        """Return the account that the deployment names as its operator."""
        return dev_account(OPERATOR)


async def deployed_state(root: Path, binary: Path) -> Path:
    """Return the folder with `state.json` and `chains.json` of the contracts as they are now."""
    cache = root / ".local" / "test" / "chains"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / _digest(root / "contracts")
    with (cache / "lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache) as made:
                await _deploy(root, binary, Path(made))
                shutil.copytree(made, folder)
    return folder


@asynccontextmanager
async def deployed_chain(
    root: Path, binary: Path, folder: Path, *, block_time_s: float | None, flags: tuple[str, ...]
) -> AsyncIterator[DeployedChain]:
    """Run a chain from the cached deployment, with a CHAINS_FILE of its own in `folder`."""
    state = await deployed_state(root, binary)
    anvil = Anvil(
        binary, block_time_s=block_time_s, flags=("--load-state", str(state / "state.json"), *flags)
    )
    await anvil.start()
    try:
        chains: dict[str, Any] = json.loads((state / "chains.json").read_text())
        chains["chains"][0]["rpc_url"] = anvil.rpc_url
        chains_file = folder / f"chains-{anvil.port}.json"
        chains_file.write_text(json.dumps(chains))
        yield DeployedChain(anvil, chains_file, chains["chains"][0]["contracts"])
    finally:
        await anvil.stop()


async def _deploy(root: Path, binary: Path, folder: Path) -> None:
    key = folder / "deployer.key"
    key.write_text(dev_account(DEPLOYER).key)
    anvil = Anvil(binary, flags=("--dump-state", str(folder / "state.json")))
    await anvil.start()
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "contracts/script/deploy.py",
            *("--rpc-url", anvil.rpc_url, "--out", str(folder / "chains.json")),
            *("--operator", dev_account(OPERATOR).address, "--private-key-file", str(key)),
            cwd=root,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(DEPLOY_TIMEOUT_S):
            output, _ = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"the contracts were not deployed: {output.decode(errors='replace')[-2000:]}")
    finally:
        await anvil.stop()


def _digest(contracts: Path) -> str:
    digest = hashlib.sha256()
    for folder, pattern in (("src", "*.sol"), ("script", "*.py")):
        for path in sorted((contracts / folder).rglob(pattern)):
            digest.update(str(path.relative_to(contracts)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:24]
