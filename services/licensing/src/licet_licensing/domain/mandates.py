"""Mandates: what a payer lets be drawn from a deposit, window by window, as the chain says it.

A mandate is lent from through a grant for each of its windows, opened when the window is first used. An API key that is
bound to a mandate spends by it alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from licet_licensing.domain.balance import Balance
from licet_licensing.domain.facts import Fact
from licet_licensing.domain.grants import Grant, GrantState, Source

# Use of a window is settled until its grace is over: with less time than this nobody would settle its last calls.
LEAST_GRACE_S: Final = 60


@dataclass(frozen=True, slots=True)
class Mandate:
    """A mandate. `key` is `<chain>:<escrow>:<mandate id>`; amounts in the token's smallest unit, times in Unix seconds.

    `window_records` is the most calls of one window. No `asset_ids`: any asset. `is_final`: no reorganisation can take
    its opening back. `stands`: it was opened and not revoked.
    """

    key: str
    chain_id: int
    contract: str
    mandate_id: str
    deposit_id: str
    payer: str
    operator: str
    currency: str
    window_amount: int
    total_amount: int
    window_s: int
    window_records: int
    in_flight_cap: int
    grace_s: int
    valid_from: int
    valid_until: int
    asset_ids: tuple[str, ...]
    is_final: bool
    stands: bool

    @property
    def deposit_grant_id(self) -> str:
        """The grant of the deposit that pays."""
        return f"{self.chain_id}:{self.contract}:{self.deposit_id}:0"

    @property
    def at_once(self) -> int:
        """What a window is lent at most."""
        return min(self.window_amount, self.in_flight_cap)

    def covers(self, asset_id: str) -> bool:
        """Whether the asset may be used by it."""
        return not self.asset_ids or asset_id in self.asset_ids

    def runs(self, now: float) -> bool:
        """Whether one of its windows runs at `now`, if it stands."""
        return self.valid_from <= now < self.valid_until

    def window_at(self, now: float) -> int:
        """Number of the window that runs at `now`."""
        return int(now - self.valid_from) // self.window_s

    def grant_id(self, window: int) -> str:
        """The grant of a window."""
        return f"{self.key}:{window}"

    def end_of(self, window: int) -> int:
        """When a window ends."""
        return min(self.valid_from + (window + 1) * self.window_s, self.valid_until)


def mandate_of(key: str, fact: Fact, *, is_final: bool, stands: bool) -> Mandate:
    """The mandate that a kept event opened."""
    chain_id, contract, mandate_id = key.split(":")
    body = fact.body
    return Mandate(
        key=key,
        chain_id=int(chain_id),
        contract=contract,
        mandate_id=mandate_id,
        deposit_id=str(body["deposit_id"]),
        payer=str(body["payer"]),
        operator=str(body["operator"]),
        currency=str(body["token"]),
        window_amount=int(body["window_amount"]),
        total_amount=int(body["total_amount"]),
        window_s=int(body["window_s"]),
        window_records=int(body["window_records"]),
        in_flight_cap=int(body["in_flight_cap"]),
        grace_s=int(body["grace_s"]),
        valid_from=int(body["valid_from"]),
        valid_until=int(body["valid_until"]),
        asset_ids=tuple(filter(None, str(body["asset_ids"]).split(","))),
        is_final=is_final,
        stands=stands,
    )


@dataclass(frozen=True, slots=True)
class Spending:
    """A mandate as a key may spend by it now: its running window, and the calls that are left of that window.

    `window` is None where the mandate does not run.
    """

    mandate: Mandate
    window: Grant | None = None
    deposit: Grant | None = None
    calls_left: int = 0


def open_window(mandate: Mandate, window: int, others: Iterable[Grant]) -> Grant:
    """The grant of a window that is used for the first time.

    No window is lent beyond the in-flight cap: should the payer revoke before it is settled, no more is paid.
    Earlier windows take no more leases, so what they have committed is the most that they will ever draw.
    """
    drawn = sum(other.balance.committed for other in others)
    return Grant(
        grant_id=mandate.grant_id(window),
        source=Source.MANDATE,
        chain_id=mandate.chain_id,
        contract=mandate.contract,
        token_id=mandate.mandate_id,
        window=window,
        wallet=mandate.payer,
        payer=mandate.payer,
        operator=mandate.operator,
        currency=mandate.currency,
        plan_key="",
        asset_id="",
        origin="",
        state=GrantState.LIVE,
        balance=Balance(target=max(0, min(mandate.at_once, mandate.total_amount - drawn))),
        end_time=mandate.end_of(window),
        draws_on=mandate.deposit_grant_id,
    )
