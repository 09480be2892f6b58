"""What an asset was derived from, and who shares what it earns.

>>> client.lineage.register("acme/fine-tune", [Parent("base/encoder", 2000)])     # doctest: +SKIP
>>> client.lineage.share(asset_id, 3000, [Contributor("0x…", 1)])                 # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from web3 import Web3

from licet_sdk.chain import Chain, Sent
from licet_sdk.errors import ConfigError

BASIS_POINTS = 10_000


@dataclass(frozen=True, slots=True)
class Parent:
    """An asset that another was derived from, and the part of its revenue that it gets, in basis points."""

    slug: str
    royalty_bp: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`owner/model:2000`; raises ConfigError."""
        return cls(*_pair(text, "owner/model:2000, for 20 %", BASIS_POINTS))


@dataclass(frozen=True, slots=True)
class Contributor:
    """Somebody who gets a part of the contributors' share, in proportion to the weight."""

    account: str
    weight: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`0x…:3`; raises ConfigError."""
        account, weight = _pair(text, "0x…:3, an address and its weight", 2**32 - 1)
        if not Web3.is_address(account):
            raise ConfigError("invalid_value", f"{account!r} is not an address", "write 0x and 40 hex digits")
        return cls(account, weight)


class Lineage:
    """Lineage and contributors of assets, by the wallet's eyes and hands."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def register(self, slug: str, parents: Sequence[Parent], kind: int = 1) -> str:
        """Registers `owner/model` to the wallet as derived from `parents`, for good; its asset id."""
        declared = [(_b32(self._chain.asset_id(parent.slug)), parent.royalty_bp) for parent in parents]
        sent = self._chain.send("AssetRegistry", "registerDerived", slug, kind, self._chain.wallet, declared)
        return "0x" + bytes(sent.events["AssetRegistered"]["assetId"]).hex()

    def share(self, asset_id: str, share_bp: int, contributors: Sequence[Contributor]) -> Sent:
        """Gives contributors `share_bp` of what parents leave of later revenue; nobody named ends it."""
        named = [(Web3.to_checksum_address(one.account), one.weight) for one in contributors]
        return self._chain.send("AssetRegistry", "setContributors", _b32(asset_id), share_bp, named)

    def parents(self, asset_id: str) -> list[Parent]:
        """What the asset was derived from."""
        declared = self._chain.call("AssetRegistry", "parentsOf", _b32(asset_id))
        return [Parent(str(self._chain.call("AssetRegistry", "slugOf", one)), bp) for one, bp in declared]

    def contributors(self, asset_id: str) -> tuple[int, list[Contributor]]:
        """The contributors' share of new revenue, in basis points, and who they are."""
        _, split_id = self._chain.call("AssetRegistry", "termsOf", _b32(asset_id))
        share_bp, named = self._chain.call("AssetRegistry", "splitOf", _b32(asset_id), split_id)
        return int(share_bp), [Contributor(account, int(weight)) for account, weight in named]


def _pair(text: str, example: str, most: int) -> tuple[str, int]:
    name, _, number = text.rpartition(":")
    if not name or not (number.isascii() and number.isdecimal()) or not 0 < int(number) <= most:
        raise ConfigError("invalid_value", f"{text!r} cannot be read", f"write it like {example}")
    return name, int(number)


def _b32(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))
