"""What settlements drew for an asset and still hold, and bringing it to the asset's revenue.

A settlement's draw is held for the dispute time of its escrow. From then on anybody releases it; it belongs to whoever
earned from the asset in the block of the settlement.

>>> client.holds.release([asset_id])         # doctest: +SKIP
>>> client.chain.claim([asset_id])           # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from web3 import Web3
from web3.exceptions import Web3Exception

from licet_sdk.chain import Chain, as_licet_error
from licet_sdk.config import Config
from licet_sdk.errors import ChainError
from licet_sdk.http import Service

PAGE = 200
# Somebody else was faster, or a challenge keeps all of it.
_NOTHING = "UsageEscrow_NothingToRelease"


@dataclass(frozen=True, slots=True)
class Hold:
    """What one batch drew for one asset in one token; `amount` is left of it, `disputed` of that kept by challenges.

    Amounts in the token's smallest unit, `release_at` in Unix seconds.
    """

    operator: str
    batch: int
    asset_id: str
    token: str
    amount: int
    disputed: int
    release_at: int

    @property
    def name(self) -> tuple[str, int, bytes, str]:
        """What the contract calls it by."""
        return self.operator, self.batch, bytes.fromhex(self.asset_id[2:]), self.token


class Holds:
    """Found by the indexer's list, and each read from the escrow: no service's word is taken for an amount."""

    def __init__(self, config: Config, chain: Chain) -> None:
        self._chain = chain
        self._indexer = Service("indexer", config.require("indexer"))

    def close(self) -> None:
        """Closes pooled connections."""
        self._indexer.close()

    def of(self, asset_id: str) -> list[Hold]:
        """What is held for an asset, oldest first."""
        found = [self._read(asset_id, row) for row in self._rows(asset_id)]
        return [hold for hold in found if hold.amount]

    def release(self, asset_ids: Sequence[str]) -> int:
        """Brings to the router what may be released now; returns how much that was."""
        now = self._now()
        ready = [hold for asset_id in asset_ids for hold in self.of(asset_id) if hold.release_at <= now]
        return sum(self._release(hold) for hold in ready)

    def _release(self, hold: Hold) -> int:
        try:
            sent = self._chain.send("UsageEscrow", "release", hold.name)
        except ChainError as error:
            if error.code != _NOTHING:
                raise
            return 0
        return int(sent.events["HoldReleased"]["amount"])

    def _rows(self, asset_id: str) -> Iterator[dict[str, str]]:
        cursor = ""
        while True:
            page = self._indexer.get(
                "/v1/holds", asset_id=asset_id, chain_id=self._chain.chain_id, limit=PAGE, cursor=cursor
            )
            yield from page["data"]
            if not page["has_more"]:
                return
            cursor = page["next_cursor"]

    def _read(self, asset_id: str, row: dict[str, str]) -> Hold:
        operator, token = (Web3.to_checksum_address(row[name]) for name in ("operator", "token"))
        name = (operator, int(row["batch"]), bytes.fromhex(asset_id[2:]), token)
        amount, disputed, release_at, _ = self._chain.call("UsageEscrow", "holdOf", name)
        return Hold(operator, int(row["batch"]), asset_id, token, amount, disputed, release_at)

    def _now(self) -> int:
        try:
            return int(self._chain.w3.eth.get_block("latest")["timestamp"])
        except (OSError, Web3Exception) as error:
            raise as_licet_error(error, self._chain.rpc_url) from error
