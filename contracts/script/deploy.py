"""Deploys the contracts to one chain, hands every role to the timelock, and writes the chain into CHAINS_FILE.

Idempotent: what stands is read back and reused, and a deployment that was cut off goes on where it stopped. The same
deployer gets the same addresses on every chain.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from dataclasses import replace
from typing import Any, Final

from deployment.artifacts import BuildFailed, build
from deployment.governance import DEFAULT_DISPUTE_TIME_S, Governance, RoleTableWrong, Terms
from deployment.layout import CREATE2_DEPLOYER, NETWORK_SUPPLY, Distribution, Placed, place
from deployment.sender import Sender, TransactionFailed
from eth_account import Account
from eth_utils.address import is_address
from web3 import Web3

# Chains where anyone may mint the test money and an exit may be short: anvil's and geth's own ids and their
# neighbours, which tests use for a second chain.
DEV_CHAIN_IDS: Final = frozenset({1337, *range(31337, 31347)})
DEFAULT_EXIT_DELAY_S: Final = 72 * 3600
# 200 gas a byte of code, 32,000 for the creation, and what the constructor and the call data take.
_GAS_PER_BYTE: Final = 260
_GAS_FIXED: Final = 500_000


class DeploymentRefused(Exception):
    """The deployment would not be what was asked for."""


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-url", required=True)
    parser.add_argument(
        "--out", required=True, type=pathlib.Path, help="CHAINS_FILE; other chains in it stay"
    )
    parser.add_argument(
        "--operator", required=True, help="address of the operator that serves this installation"
    )
    parser.add_argument(
        "--private-key-file", required=True, type=pathlib.Path, help="the deployer's key, hex"
    )
    parser.add_argument("--chain-name", default="local")
    parser.add_argument("--exit-delay-s", type=int, default=DEFAULT_EXIT_DELAY_S)
    parser.add_argument(
        "--dispute-time-s",
        type=int,
        default=DEFAULT_DISPUTE_TIME_S,
        help="how long what a settlement drew is held for its payers to dispute",
    )
    parser.add_argument(
        "--distribution",
        type=pathlib.Path,
        help="who gets the network token, JSON {address: smallest units}; the deployer on development chains",
    )
    parser.add_argument(
        "--mirror-reporter",
        action="append",
        default=[],
        help="says who owns assets on other chains; repeatable",
    )
    parser.add_argument("--json", action="store_true", help="print the chain and its role table as JSON")
    return parser.parse_args(argv)


def _check(w3: Web3, args: argparse.Namespace) -> bool:
    """Refuses early what cannot end well; returns whether this is a development chain."""
    for account in (args.operator, *args.mirror_reporter):
        if not is_address(account):
            raise DeploymentRefused(f"{account} is no address")
    if not w3.is_connected():
        raise DeploymentRefused(f"no chain answers at {args.rpc_url}")
    if not w3.eth.get_code(Web3.to_checksum_address(CREATE2_DEPLOYER)):
        raise DeploymentRefused(f"the deterministic deployer {CREATE2_DEPLOYER} is missing on this chain")
    is_dev = w3.eth.chain_id in DEV_CHAIN_IDS
    if args.exit_delay_s < DEFAULT_EXIT_DELAY_S and not is_dev:
        raise DeploymentRefused(f"an exit delay below {DEFAULT_EXIT_DELAY_S} s needs a development chain")
    if args.dispute_time_s < DEFAULT_DISPUTE_TIME_S and not is_dev:
        raise DeploymentRefused(f"a dispute time below {DEFAULT_DISPUTE_TIME_S} s needs a development chain")
    return is_dev


def _distribution(args: argparse.Namespace, deployer: str, *, is_dev: bool) -> Distribution:
    """Who gets the network token. It is stated, wherever the token is worth something."""
    if args.distribution is None:
        if not is_dev:
            raise DeploymentRefused("--distribution must say who gets the network token")
        return {deployer: NETWORK_SUPPLY}
    try:
        stated = json.loads(args.distribution.read_text())
        shares: Distribution = {
            Web3.to_checksum_address(account): int(amount) for account, amount in stated.items()
        }
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DeploymentRefused(f"{args.distribution}: {error}") from error
    if (
        min(shares.values(), default=0) <= 0
        or sum(shares.values()) != NETWORK_SUPPLY
        or len(shares) != len(stated)
    ):
        raise DeploymentRefused(
            f"{args.distribution}: the parts must be above 0 and add up to {NETWORK_SUPPLY}"
        )
    return shares


def deploy_missing(w3: Web3, placed: dict[str, Placed], sender: Sender) -> int | None:
    """Deploys what has no code yet; returns the first block of it, None where something stood before."""
    missing = [p for p in placed.values() if not w3.eth.get_code(Web3.to_checksum_address(p.address))]
    for p in missing:
        gas = _GAS_FIXED + _GAS_PER_BYTE * len(p.init_code)
        sender.send(f"deploy {p.name}", CREATE2_DEPLOYER, p.salt + p.init_code, gas)
    blocks = sender.flush()
    absent = [p.name for p in missing if not w3.eth.get_code(Web3.to_checksum_address(p.address))]
    if absent:
        raise DeploymentRefused(f"no code where it was deployed: {', '.join(absent)}")
    return min(blocks) if len(missing) == len(placed) else None


def _standing(w3: Web3, placed: dict[str, Placed], before: dict[str, Any]) -> dict[str, Placed]:
    """The layout as the chain has it: what a later generation has followed is where the file says since then."""
    if not w3.eth.get_code(Web3.to_checksum_address(placed["Directory"].address)):
        return placed
    followed = {
        name: Web3.to_checksum_address(before["contracts"][name]) for name in before.get("former", {})
    }
    return placed | {name: replace(placed[name], address=address) for name, address in followed.items()}


def read_chains(path: pathlib.Path) -> dict[int, dict[str, Any]]:
    if not path.exists():
        return {}
    return {chain["chain_id"]: chain for chain in json.loads(path.read_text())["chains"]}


def chain_of(path: pathlib.Path, chain_id: int | None) -> tuple[dict[int, dict[str, Any]], dict[str, Any]]:
    """All chains of a CHAINS_FILE, and the one that is meant; raises LookupError where that is not one."""
    chains = read_chains(path)
    fitting = [chain for chain in chains.values() if chain_id in (None, chain["chain_id"])]
    if len(fitting) != 1:
        raise LookupError(f"{len(fitting)} chains in {path} fit; name one by --chain-id")
    return chains, fitting[0]


def _entry(
    args: argparse.Namespace, before: dict[str, Any], placed: dict[str, Placed], start_block: int
) -> dict[str, Any]:
    """The chain's entry; how it is polled stays as an operator may have set it, and so do former generations."""
    contracts = {name: p.address.lower() for name, p in placed.items()}
    followed = any(contracts[name] == before["contracts"][name] for name in before.get("former", {}))
    entry = {
        "chain_id": before["chain_id"],
        "name": args.chain_name,
        "rpc_url": args.rpc_url,
        "finality": before.get("finality", {"source": "tag"}),
        "start_block": start_block,
        "poll_interval_ms": before.get("poll_interval_ms", 200),
        "operator": args.operator.lower(),
        "contracts": contracts,
    }
    return entry | {"former": before["former"]} if followed else entry


def write_chains(path: pathlib.Path, chains: dict[int, dict[str, Any]]) -> None:
    """Replaces the file in one step, so that no service reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"chains": [chains[key] for key in sorted(chains)]}, indent=2)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text + "\n")
    fresh.replace(path)


def deploy(args: argparse.Namespace) -> dict[str, Any]:
    """Deploys, configures, reads back and writes CHAINS_FILE; returns the chain's entry and role table."""
    build()
    w3 = Web3(Web3.HTTPProvider(args.rpc_url))
    is_dev = _check(w3, args)
    sender = Sender(w3, Account.from_key(args.private_key_file.read_text().strip()))
    reporters = tuple(sorted({Web3.to_checksum_address(account) for account in args.mirror_reporter}))
    if sender.address in reporters:
        raise DeploymentRefused("the deployer keeps no role, so it cannot be a mirror reporter")
    distribution = _distribution(args, sender.address, is_dev=is_dev)
    chains, chain_id = read_chains(args.out), w3.eth.chain_id
    before = chains.get(chain_id, {"chain_id": chain_id})
    placed = place(sender.address, with_test_money=is_dev, distribution=distribution)
    placed = _standing(w3, placed, before)
    first_block = deploy_missing(w3, placed, sender)
    # Where something stood before, only the file knows since when.
    start_block = before.get("start_block", 0) if first_block is None else first_block
    terms = Terms(args.exit_delay_s, distribution, reporters, args.dispute_time_s)
    governance = Governance(w3, placed, terms, start_block)
    governance.configure(sender)
    table = governance.read_back(sender.address)
    chains[chain_id] = _entry(args, before, placed, start_block)
    write_chains(args.out, chains)
    return {"chain": chains[chain_id], "governance": table, "transactions": sender.sent}


def _print(result: dict[str, Any]) -> None:
    chain, table = result["chain"], result["governance"]
    print(f"chain {chain['chain_id']} ({chain['name']}): {result['transactions']} transactions sent")
    for name, address in chain["contracts"].items():
        print(f"  {name:<20} {address}")
    print("roles")
    for kind in ("roles", "timelock"):
        for role, members in table[kind].items():
            print(f"  {role:<20} {', '.join(members)}")
    for function, role in table["functions"].items():
        print(f"  {function} needs role {role}")
    print("network token")
    for account, amount in table["network_token"].items():
        print(f"  {account} {int(amount) / 10**18:,.18g}")
    print(
        f"exit delay {table['exit_delay_s']} s, dispute time {table['dispute_time_s']} s, "
        f"timelock {table['timelock_delay_s']} s, fee {table['fee_bp']} bp"
    )


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status; 1 with one sentence where the deployment is not what it must be."""
    args = _parse(argv)
    try:
        result = deploy(args)
    except (BuildFailed, DeploymentRefused, RoleTableWrong, TransactionFailed) as error:
        print(f"deploy: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        _print(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
