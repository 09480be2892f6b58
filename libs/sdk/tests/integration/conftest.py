"""Wallets on a freshly deployed chain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from licet_sdk.chain import Chain
from licet_sdk.config import Config


class Wallets:
    """Opens the chain as one of the development accounts, as often as asked."""

    def __init__(self, deployed: Any) -> None:
        self.chains_file: Path = deployed.chains_file
        self._deployed = deployed
        self._made: list[Chain] = []

    def __call__(self, index: int) -> Chain:
        """The chain with the key of account `index`."""
        self._made.append(Chain(Config(chains_file=str(self.chains_file), private_key=self.key(index))))
        return self._made[-1]

    def key(self, index: int) -> str:
        """Private key of an account, 0x and 64 digits."""
        return str(self._deployed.account(index).key)

    def close(self) -> None:
        """Closes what was opened."""
        for chain in self._made:
            chain.close()


@pytest.fixture
async def wallet(chain: Any) -> AsyncIterator[Wallets]:
    wallets = Wallets(await chain())
    yield wallets
    wallets.close()
