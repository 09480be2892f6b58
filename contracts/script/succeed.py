"""Puts the next generation of the licence contracts in the place of the present one, by the chain's timelock.

Deploys `License`, `LicenseSale` and `BreachBook` (which answers for one generation of licences alone) once more,
schedules that the present ones retire and the next ones are listed, waits as long as an exit, executes, and writes both
generations into CHAINS_FILE. Run it again after the wait: it finds what is done and goes on. The same deployer gets the
same addresses on every chain.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from dataclasses import dataclass
from typing import Any, Final

from deploy import chain_of, deploy_missing, write_chains
from deployment.artifacts import BuildFailed, build, load
from deployment.layout import Placed, placed_at
from deployment.sender import Sender, TransactionFailed
from eth_account import Account
from eth_utils.crypto import keccak
from web3 import Web3
from web3.contract import Contract

# In the order of their dependencies.
SUCCEEDED: Final = ("License", "LicenseSale", "BreachBook")
_RETIRING: Final = 2
_NO_PREDECESSOR: Final = b"\0" * 32
_GAS: Final = 900_000


class SuccessionRefused(Exception):
    """The succession would not be what was asked for."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`state` is waiting (until `ready_at`, Unix seconds) or done."""

    state: str
    generation: int
    contracts: dict[str, str]
    ready_at: int = 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chains-file", required=True, type=pathlib.Path)
    parser.add_argument("--chain-id", type=int, help="which chain, where the file has several")
    parser.add_argument("--rpc-url", help="default: the file's")
    parser.add_argument(
        "--generation", required=True, type=int, help="the generation that licences shall be of"
    )
    parser.add_argument(
        "--private-key-file", required=True, type=pathlib.Path, help="the deployer's key, hex; it proposes"
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    return parser.parse_args(argv)


class Succession:
    """One step from a generation to the next."""

    def __init__(self, w3: Web3, chain: dict[str, Any], sender: Sender, generation: int) -> None:
        self._w3, self._chain, self._sender, self._generation = w3, chain, sender, generation
        self._directory = self._contract("Directory")
        self._timelock = self._contract("TimelockController")

    def _contract(self, name: str) -> Contract:
        address = Web3.to_checksum_address(self._chain["contracts"][name])
        return self._w3.eth.contract(address=address, abi=load(name).abi)

    def run(self) -> Outcome:
        """Does what can be done now."""
        present = {name: self._active(name) for name in SUCCEEDED}
        generations = {self._directory.functions.generationOf(address).call() for address in present.values()}
        if generations == {self._generation}:
            return Outcome("done", self._generation, present)
        if generations != {self._generation - 1}:
            raise SuccessionRefused(
                f"the active contracts are of generation {sorted(generations)}; the next one is not {self._generation}"
            )
        placed = self._place()
        deploy_missing(self._w3, placed, self._sender)
        return self._decide(present, {name: p.address for name, p in placed.items()})

    def _active(self, name: str) -> str:
        address = str(self._directory.functions.activeOf(name.encode().ljust(32, b"\0")).call())
        if not int(address, 16):
            raise SuccessionRefused(f"the Directory lists no active {name}")
        return address

    def _place(self) -> dict[str, Placed]:
        contracts = {name: Web3.to_checksum_address(a) for name, a in self._chain["contracts"].items()}
        addresses = contracts | {"deployer": self._sender.address}
        placed = {}
        for name in SUCCEEDED:
            placed[name] = placed_at(name, addresses, self._generation)
            addresses[name] = placed[name].address
        return placed

    def _decide(self, present: dict[str, str], following: dict[str, str]) -> Outcome:
        """The timelock's decision: retire the present ones, list the next ones. It holds as a whole or not at all."""
        functions = self._directory.functions
        calls = [functions.advance(present[name], _RETIRING) for name in SUCCEEDED]
        calls += [
            functions.list(name.encode().ljust(32, b"\0"), address) for name, address in following.items()
        ]
        payloads = [call._encode_transaction_data() for call in calls]
        salt = keccak(text=f"licet/generation/{self._generation}")
        targets = [self._directory.address] * len(payloads)
        operation = (targets, [0] * len(payloads), payloads, _NO_PREDECESSOR, salt)
        timelock = self._timelock.functions
        name = timelock.hashOperationBatch(*operation).call()
        if not timelock.isOperation(name).call():
            self._propose(operation)
        ready_at = int(timelock.getTimestamp(name).call())
        if not timelock.isOperationReady(name).call():
            return Outcome("waiting", self._generation, following, ready_at)
        self._send("execute the succession", timelock.executeBatch(*operation))
        if {each: self._active(each) for each in SUCCEEDED} != following:
            raise SuccessionRefused("the Directory does not list what was decided")
        return Outcome("done", self._generation, following)

    def _propose(self, operation: tuple[Any, ...]) -> None:
        timelock = self._timelock.functions
        role = timelock.PROPOSER_ROLE().call()
        if not timelock.hasRole(role, self._sender.address).call():
            raise SuccessionRefused(f"{self._sender.address} does not propose to the timelock")
        delay = timelock.getMinDelay().call()
        self._send("schedule the succession", timelock.scheduleBatch(*operation, delay))

    def _send(self, label: str, call: Any) -> None:
        self._sender.send(label, call.address, call._encode_transaction_data(), _GAS)
        self._sender.flush()


def _entry(chain: dict[str, Any], contracts: dict[str, str]) -> dict[str, Any]:
    """The chain's entry with these contracts; those that it had before are former ones."""
    former = {name: list(addresses) for name, addresses in chain.get("former", {}).items()}
    for name, address in contracts.items():
        if chain["contracts"][name] != address.lower():
            former.setdefault(name, []).append(chain["contracts"][name])
    named = {name: address.lower() for name, address in contracts.items()}
    return chain | {"contracts": chain["contracts"] | named, "former": former}


def succeed(args: argparse.Namespace) -> Outcome:
    """Goes as far as the timelock lets, and writes CHAINS_FILE once it is done."""
    build()
    chains, chain = chain_of(args.chains_file, args.chain_id)
    w3 = Web3(Web3.HTTPProvider(args.rpc_url or chain["rpc_url"]))
    if w3.eth.chain_id != chain["chain_id"]:
        raise SuccessionRefused(f"the node answers for chain {w3.eth.chain_id}, not {chain['chain_id']}")
    sender = Sender(w3, Account.from_key(args.private_key_file.read_text().strip()))
    outcome = Succession(w3, chain, sender, args.generation).run()
    if outcome.state == "done":
        chains[chain["chain_id"]] = _entry(chain, outcome.contracts)
        write_chains(args.chains_file, chains)
    return outcome


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status; 1 with one sentence where the succession is not what it must be."""
    args = _parse(argv)
    try:
        outcome = succeed(args)
    except (BuildFailed, SuccessionRefused, TransactionFailed, LookupError) as error:
        print(f"succeed: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps({name: getattr(outcome, name) for name in Outcome.__slots__}, indent=2))
    elif outcome.state == "waiting":
        print(f"scheduled; run it again from {outcome.ready_at} (Unix time) on")
    else:
        print(f"generation {outcome.generation}")
        for name, address in outcome.contracts.items():
            print(f"  {name:<20} {address.lower()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
