"""The people of the story: development accounts of the local chain, derived from its well-known test mnemonic.

The mnemonic is public and worthless: every local chain funds the same accounts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from eth_account import Account
from licet_sdk import Client, Config

MNEMONIC = "test test test test test test test test test test test junk"
# Index on the mnemonic's path. 0 deploys and 1 operates; the stack uses those itself.
INDEX = {
    "deployer": 0,
    "operator": 1,
    "publisher": 2,
    "buyer": 3,
    "stranger": 4,
    "brief": 5,
    "giver": 6,
    "taker": 7,
}

Account.enable_unaudited_hdwallet_features()


@dataclass(frozen=True, slots=True)
class Actor:
    """A wallet and its address (checksummed)."""

    name: str
    address: str
    private_key: str

    def config(self, base: Config) -> Config:
        """The installation as this actor sees it, without anyone's keys."""
        return replace(base, private_key=self.private_key, api_key="", session="", operator_token="")

    def client(self, base: Config) -> Client:
        """An SDK client of this actor."""
        return Client(self.config(base))


def actor(name: str, index: int | None = None) -> Actor:
    """A named account, or any index of the mnemonic."""
    number = INDEX[name] if index is None else index
    account = Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{number}")
    return Actor(name, account.address, "0x" + account.key.hex().removeprefix("0x"))
