"""Runs the deployment scripts as programs."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import json
from pathlib import Path
from typing import Any

from eth_utils.address import to_checksum_address
from licet_kit.testing.anvil import Anvil, dev_account
from licet_schemas.abi import load_abi
from web3 import Web3

SCRIPTS = Path(__file__).resolve().parents[1]
ANVIL = SCRIPTS.parent / "node_modules/.bin/anvil"
DEPLOYER, OPERATOR, RECEIPT_KEY, STRANGER = (dev_account(i) for i in range(4))
EXIT_DELAY_S = 10
SUPPLY = 10**9 * 10**18
# EIP-712 keeps the chain's id in the code of what signatures are made for.
CODE_DIFFERS = {"TestUSD", "Market", "NetworkToken", "ProtocolGovernor", "ComplianceGate"}


async def run_script(script: str, *args: object) -> tuple[int, str, str]:
    """Runs a script's `main` in this process, because its imports take a second; exit status and both outputs."""
    main = importlib.import_module(script).main
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        status = await asyncio.to_thread(main, [str(arg) for arg in args])
    return status, out.getvalue(), error.getvalue()


def key_file(folder: Path, index: int) -> Path:
    path = folder / f"key-{index}"
    path.write_text(dev_account(index).key + "\n")
    return path


def arguments_of(node: Anvil, folder: Path, *more: object) -> list[object]:
    return [
        *("--rpc-url", node.rpc_url, "--out", folder / "chains.json", "--operator", OPERATOR.address),
        *("--private-key-file", key_file(folder, 0), *more),
    ]


async def deploy_on(
    node: Anvil, folder: Path, exit_delay_s: int = EXIT_DELAY_S, *more: object
) -> dict[str, Any]:
    arguments = arguments_of(node, folder, "--exit-delay-s", exit_delay_s, "--json", *more)
    status, out, error = await run_script("deploy", *arguments)
    assert status == 0, error
    result: dict[str, Any] = json.loads(out)
    return result


def stated_in(folder: Path, parts: dict[str, int]) -> tuple[object, ...]:
    path = folder / "distribution.json"
    path.write_text(json.dumps({account: str(amount) for account, amount in parts.items()}))
    return "--distribution", path


def chains_in(folder: Path) -> dict[int, dict[str, Any]]:
    chains = json.loads((folder / "chains.json").read_text())["chains"]
    return {chain["chain_id"]: chain for chain in chains}


def w3_of(node: Anvil) -> Web3:
    return Web3(Web3.HTTPProvider(node.rpc_url))


def contract_at(node: Anvil, contracts: dict[str, str], name: str) -> Any:
    address = to_checksum_address(contracts[name])
    return w3_of(node).eth.contract(address=address, abi=load_abi(name))
