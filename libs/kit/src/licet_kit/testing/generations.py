"""A second generation of the license contracts on a test's chain: the same code, deployed once more."""

import json
from pathlib import Path
from typing import Any

from licet_schemas.eip712 import keccak

from licet_kit.testing.deployment import DeployedChain

RETIRING = 2
SUCCEEDED = ("License", "LicenseSale", "BreachBook")


async def succeed_licenses(deployed: DeployedChain, root: Path) -> dict[str, str]:
    """Retire the license contracts, put the next ones in their place, and say so in the chain's CHAINS_FILE.

    Returns the addresses of the former ones. What the timelock would decide is sent as the timelock.
    """
    contracts = deployed.contracts
    former = {name: contracts[name] for name in SUCCEEDED}
    directory, timelock = contracts["Directory"], contracts["TimelockController"]
    await deployed.anvil.rpc("anvil_impersonateAccount", timelock)
    await deployed.anvil.rpc("anvil_setBalance", timelock, hex(10**18))
    for name, arguments in (
        ("License", (directory,)),
        ("LicenseSale", (directory, contracts["PlanBook"], "License")),
        ("BreachBook", (directory, contracts["AssetRegistry"], contracts["PlanBook"], "License")),
    ):
        retire = _call("advance(address,uint8)", former[name], RETIRING)
        await _send(deployed, {"from": timelock, "to": directory, "data": retire})
        given = [contracts.get(argument, argument) for argument in arguments]
        code = json.loads((root / f"contracts/out/{name}.sol/{name}.json").read_text())["bytecode"]["object"]
        data = code + "".join(map(_word, given))
        made = await _send(deployed, {"from": deployed.account(0).address, "data": data})
        contracts[name] = str(made["contractAddress"]).lower()
        list_ = _call("list(bytes32,address)", name.encode().ljust(32, b"\0"), contracts[name])
        await _send(deployed, {"from": timelock, "to": directory, "data": list_})
    _rewrite(deployed, former)
    return former


def _call(signature: str, *args: Any) -> str:
    return "0x" + keccak(signature.encode())[:4].hex() + "".join(map(_word, args))


def _word(value: str | bytes | int) -> str:
    """One argument of the ABI: an address, 32 bytes or a number."""
    match value:
        case str():
            return value.removeprefix("0x").rjust(64, "0")
        case bytes():
            return value.hex()
        case int():
            return f"{value:064x}"


async def _send(deployed: DeployedChain, transaction: dict[str, str]) -> dict[str, Any]:
    tx_hash = await deployed.anvil.send({**transaction, "gas": hex(8_000_000)})
    receipt: dict[str, Any] = await deployed.anvil.rpc("eth_getTransactionReceipt", tx_hash)
    if receipt["status"] != "0x1":
        raise RuntimeError(f"{transaction} reverted")
    return receipt


def _rewrite(deployed: DeployedChain, former: dict[str, str]) -> None:
    chains = json.loads(deployed.chains_file.read_text())
    chains["chains"][0]["contracts"] = deployed.contracts
    chains["chains"][0]["former"] = {name: [address] for name, address in former.items()}
    deployed.chains_file.write_text(json.dumps(chains))
