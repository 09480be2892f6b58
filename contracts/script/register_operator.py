"""Registers an operator on one chain: receipt key and settler cap. Idempotent.

Without a registered operator nobody can deposit for it, and without a cap it can settle nothing.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from typing import Final

from deploy import chain_of
from deployment.artifacts import BuildFailed, build, load
from deployment.sender import Sender, TransactionFailed
from eth_account import Account
from web3 import Web3
from web3.contract import Contract

_GAS: Final = 200_000
_DAY_S: Final = 86_400


class RegistrationRefused(Exception):
    """The chain would not hold what was asked for."""


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-url", help="default: the chain's own in CHAINS_FILE")
    parser.add_argument("--chains-file", required=True, type=pathlib.Path)
    parser.add_argument("--chain-id", type=int, help="default: the only chain of the file")
    parser.add_argument(
        "--private-key-file", required=True, type=pathlib.Path, help="the operator's key, hex"
    )
    parser.add_argument("--receipt-key", required=True, help="address of the key that certifies replicas")
    parser.add_argument("--valid-days", type=int, default=365, help="validity of the receipt key")
    parser.add_argument("--token", help="currency of the cap; default: the chain's TestUSD")
    parser.add_argument("--cap", required=True, type=int, help="smallest units that one day may settle")
    return parser.parse_args(argv)


def _set_key(w3: Web3, escrow: Contract, sender: Sender, args: argparse.Namespace) -> None:
    """Registers the operator with its key, or gives a registered one another key."""
    key, now = Web3.to_checksum_address(args.receipt_key), w3.eth.get_block("latest")["timestamp"]
    until = now + args.valid_days * _DAY_S
    functions = escrow.functions
    if not functions.isOperator(sender.address).call():
        call = functions.registerOperator(key, now, until)
    elif not functions.isReceiptKeyValid(sender.address, key, now).call():
        call = functions.setReceiptKey(key, now, until)
    else:
        return
    sender.send("receipt key", escrow.address, call._encode_transaction_data(), _GAS)


def _set_cap(escrow: Contract, sender: Sender, token: str, cap: int) -> None:
    if escrow.functions.settlerCapOf(sender.address, token).call()[0] == cap:
        return
    call = escrow.functions.setSettlerCap(token, cap)
    sender.send("settler cap", escrow.address, call._encode_transaction_data(), _GAS)


def register(args: argparse.Namespace) -> str:
    """Sends what is missing and reads it back; returns one line of what holds."""
    build()
    _, chain = chain_of(args.chains_file, args.chain_id)
    w3 = Web3(Web3.HTTPProvider(args.rpc_url or chain["rpc_url"]))
    if w3.eth.chain_id != chain["chain_id"]:
        raise RegistrationRefused(f"the node answers for chain {w3.eth.chain_id}, not {chain['chain_id']}")
    sender = Sender(w3, Account.from_key(args.private_key_file.read_text().strip()))
    address = Web3.to_checksum_address(chain["contracts"]["UsageEscrow"])
    escrow = w3.eth.contract(address=address, abi=load("UsageEscrow").abi)
    token = Web3.to_checksum_address(args.token or chain["contracts"]["TestUSD"])
    _set_key(w3, escrow, sender, args)
    sender.flush()
    _set_cap(escrow, sender, token, args.cap)
    sender.flush()
    key = escrow.functions.receiptKeyOf(sender.address, Web3.to_checksum_address(args.receipt_key)).call()
    cap, _ = escrow.functions.settlerCapOf(sender.address, token).call()
    return (
        f"operator {sender.address}: receipt key {args.receipt_key} {key[0]}..{key[1]}, cap {cap} of {token}"
    )


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status; 1 with one sentence where something is refused."""
    args = _parse(argv)
    try:
        print(register(args))
    except (BuildFailed, RegistrationRefused, TransactionFailed, LookupError) as error:
        print(f"register_operator: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
