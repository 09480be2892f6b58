"""Secrets of one local profile, made once, each in a file of mode 0600 that services get by `*_FILE` settings.

The accounts of the chain come from anvil's public mnemonic and are worth nothing; everything else is random.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.local.profile import read_json

MNEMONIC = "test test test test test test test test test test test junk"
DEPLOYER, OPERATOR = 0, 1  # indices on the mnemonic's path; the accounts after them belong to the story
GATEWAYS = ("gateway-1", "gateway-2")
CERTIFICATE_S = 90 * 86_400
# Receipts of the first second must not be older than the certificate, whichever clock is ahead.
BACKDATED_S = 300


@dataclass(frozen=True, slots=True)
class Keyring:
    """The folder of secrets; every property is the path of one."""

    folder: Path

    def make(self) -> None:
        """Create what is missing; what is there stays, so that a second start finds the same identities."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        makers: dict[str, Callable[[], str]] = {
            "deployer.key": lambda: _account_key(DEPLOYER),
            "operator.key": lambda: _account_key(OPERATOR),
            "receipt.key": _random_key,
            "operator.token": lambda: secrets.token_urlsafe(32),
            "worker.token": lambda: secrets.token_urlsafe(32),
            "vault.master": lambda: secrets.token_hex(32),
            **{f"{name}.key": _random_key for name in GATEWAYS},
        }
        for name, maker in makers.items():
            if not self.path(name).exists():
                self.write(name, maker())

    def path(self, name: str) -> Path:
        """Where a secret lies."""
        return self.folder / name

    def write(self, name: str, text: str) -> None:
        """Write one secret, readable by us alone from its first byte on."""
        part = self.folder / f".{name}.{os.getpid()}"
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            stream.write(text + "\n")
        part.replace(self.path(name))

    def address(self, name: str) -> str:
        """Lowercase address of a private key of the folder."""
        from licet_schemas import eip712  # noqa: PLC0415 - loads a curve, which most commands do not need

        return eip712.address_of(self._key(name))

    def certify(self, gateway: str, chains_file: Path) -> None:
        """Let the operator's receipt key certify a gateway's replica key, once per chain."""
        from licet_schemas import eip712  # noqa: PLC0415 - as above

        operator, replica, now = (
            self.address("operator.key"),
            self.address(f"{gateway}.key"),
            int(time.time()),
        )
        certificate = eip712.ReplicaCertificate(operator, replica, now - BACKDATED_S, now + CERTIFICATE_S)
        certificates = []
        for chain in (read_json(chains_file) or {"chains": []})["chains"]:
            escrow = chain["contracts"]["UsageEscrow"]
            domain = eip712.domain_separator(chain["chain_id"], escrow)
            signature = eip712.sign(eip712.certificate_digest(domain, certificate), self._key("receipt.key"))
            certificates.append(
                {
                    "chain_id": chain["chain_id"],
                    "escrow": escrow,
                    "operator": operator,
                    "replica": replica,
                    "valid_from": certificate.valid_from,
                    "valid_until": certificate.valid_until,
                    "signature": "0x" + signature.hex(),
                }
            )
        self.write(f"{gateway}.certificates", json.dumps(certificates))

    def _key(self, name: str) -> bytes:
        return bytes.fromhex(self.path(name).read_text().strip().removeprefix("0x"))


def _random_key() -> str:
    """A private key; the chance of a number outside the curve's order is 2 to the -128."""
    return "0x" + secrets.token_hex(32)


def _account_key(index: int) -> str:
    from eth_account import Account  # noqa: PLC0415 - half a second, and only at the first start

    Account.enable_unaudited_hdwallet_features()
    account = Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
    return "0x" + bytes(account.key).hex()
