"""An asset of one chain, sold on another: by its owner's signature and a reporter's word.

>>> client.mirrors(8453).sign("acme/tumour-risk")     # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass

from licet_schemas.mirrors import MirrorStatement, lineage_hash
from web3 import Web3

from licet_sdk.chain import Chain, Sent
from licet_sdk.errors import ChainError

DEFAULT_VALIDITY_S = 7 * 86_400
# MirrorBook.MAX_VALIDITY: a statement ends at most this long after the last report.
MAX_VALIDITY_S = 30 * 86_400
_TYPES = {
    "Mirror": [
        {"name": name, "type": kind}
        for name, kind in (
            ("slug", "string"),
            ("homeChainId", "uint256"),
            ("homeRegistry", "address"),
            ("homeOwner", "address"),
            ("epoch", "uint64"),
            ("owner", "address"),
            ("validUntil", "uint64"),
            ("nonce", "uint64"),
        )
    ]
}


@dataclass(frozen=True, slots=True)
class SignedMirror:
    """A statement with its signature, and the parents that have to come with it. Anyone may bring it."""

    statement: MirrorStatement
    parents: tuple[tuple[bytes, int], ...]
    signature: bytes


@dataclass(frozen=True, slots=True)
class MirrorState:
    """What the other chain has of an asset; zeros where nothing was signed or reported yet."""

    asset_id: str
    is_open: bool
    owner: str
    epoch: int
    valid_until: int
    reported_owner: str
    reported_epoch: int


class Mirrors:
    """Assets of the chain `home` on the chain `abroad`, by the wallet's eyes and hands."""

    def __init__(self, home: Chain, abroad: Chain) -> None:
        self._home, self._abroad = home, abroad

    def sign(self, slug: str, owner: str = "", validity_s: int = DEFAULT_VALIDITY_S) -> SignedMirror:
        """As the asset's owner: lets `owner` (the wallet, unless named) sell it abroad for that long.

        It ends earlier where the last report is so old that the contract would refuse a later end.
        """
        asset_id = self._home.asset_id(slug)
        reported = self._abroad.call("MirrorBook", "reportOf", _b32(asset_id))
        now = int(self._abroad.w3.eth.get_block("latest")["timestamp"])
        latest = int(reported[2]) + MAX_VALIDITY_S
        statement = MirrorStatement(
            slug=slug,
            home_chain_id=self._home.chain_id,
            home_registry=Web3.to_checksum_address(self._home.addresses["AssetRegistry"]),
            home_owner=self._home.wallet,
            epoch=int(self._home.call("AssetRegistry", "epochOf", _b32(asset_id))),
            owner=Web3.to_checksum_address(owner) if owner else self._home.wallet,
            valid_until=min(now + validity_s, latest) if reported[1] else now + validity_s,
            nonce=int(self._abroad.call("MirrorBook", "nextNonceOf", _b32(asset_id), self._home.wallet)),
        )
        book = Web3.to_checksum_address(self._abroad.addresses["MirrorBook"])
        domain = {
            "name": "Licet Mirror",
            "version": "1",
            "chainId": self._abroad.chain_id,
            "verifyingContract": book,
        }
        signature = self._home.sign_typed_data(domain, _TYPES, _message(statement))
        return SignedMirror(statement, self._parents(asset_id), signature)

    def bind(self, signed: SignedMirror) -> tuple[str, Sent]:
        """Brings a statement to the other chain; the asset's id, and from now on it is sold there."""
        message = tuple(_message(signed.statement).values())
        sent = self._abroad.send("MirrorBook", "bind", message, list(signed.parents), signed.signature)
        return "0x" + bytes(sent.events["MirrorBound"]["assetId"]).hex(), sent

    def cancel(self, slug: str) -> Sent:
        """As the owner: ends the asset's mirror. Signed statements that nobody brought are void too."""
        asset_id = _b32(self._home.asset_id(slug))
        nonce = int(self._abroad.call("MirrorBook", "nextNonceOf", asset_id, self._abroad.wallet))
        return self._abroad.send("MirrorBook", "cancel", asset_id, nonce + 1)

    def report(self, slug: str) -> Sent:
        """As a reporter: says on the other chain who owns the asset at home, as home says it now."""
        asset_id = self._home.asset_id(slug)
        owner = str(self._home.call("AssetRegistry", "assetOwner", _b32(asset_id)))
        epoch = int(self._home.call("AssetRegistry", "epochOf", _b32(asset_id)))
        lineage = lineage_hash(self._parents(asset_id))
        return self._abroad.send("MirrorBook", "report", _b32(asset_id), owner, epoch, lineage)

    def state(self, slug: str) -> MirrorState:
        """What the other chain has of the asset."""
        asset_id = self._home.asset_id(slug)
        owner, epoch, _, valid_until = self._abroad.call("MirrorBook", "mirrorOf", _b32(asset_id))
        reported_owner, reported_epoch, _, _ = self._abroad.call("MirrorBook", "reportOf", _b32(asset_id))
        is_open = bool(self._abroad.call("MirrorBook", "isOpen", _b32(asset_id)))
        return MirrorState(asset_id, is_open, owner, epoch, valid_until, reported_owner, reported_epoch)

    def _parents(self, asset_id: str) -> tuple[tuple[bytes, int], ...]:
        declared = self._home.call("AssetRegistry", "parentsOf", _b32(asset_id))
        return tuple((bytes(parent), int(royalty_bp)) for parent, royalty_bp in declared)


def require_other(home: Chain, chain_id: int) -> None:
    """Raises ChainError where the other chain is the asset's home."""
    if home.chain_id == chain_id:
        raise ChainError(
            "chain_is_home",
            f"the asset is at home on chain {chain_id}",
            "name another chain of the chains file",
        )


def _message(statement: MirrorStatement) -> dict[str, str | int]:
    """The statement in the names and the order of its EIP-712 type."""
    return {
        "slug": statement.slug,
        "homeChainId": statement.home_chain_id,
        "homeRegistry": statement.home_registry,
        "homeOwner": statement.home_owner,
        "epoch": statement.epoch,
        "owner": statement.owner,
        "validUntil": statement.valid_until,
        "nonce": statement.nonce,
    }


def _b32(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))
