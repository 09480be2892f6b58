"""Anyone may distribute an asset's revenue, and somebody may do so at the same moment."""

from __future__ import annotations

from typing import Any

import pytest
from licet_sdk.chain import Chain, Sent
from licet_sdk.errors import ChainError

ASSET = "0x" + "11" * 32


class Raced(Chain):
    """Sees pending revenue as often as told, and is refused when it distributes."""

    def __init__(self, pending: list[int], code: str) -> None:
        self.addresses = {"TestUSD": "0x" + "22" * 20}
        self._pending, self._code = pending, code

    def call(self, contract: str, function: str, *args: Any) -> Any:
        return (self._pending.pop(0),)

    def send(self, contract: str, function: str, *args: Any) -> Sent:
        raise ChainError(self._code, "refused", "")


def test_revenue_that_somebody_else_distributed_is_no_failure() -> None:
    pending = [5, 0]
    Raced(pending, "RevenueRouter_NothingPending").distribute(ASSET)
    assert not pending


def test_any_other_refusal_is_told() -> None:
    with pytest.raises(ChainError):
        Raced([5, 0], "reverted").distribute(ASSET)
