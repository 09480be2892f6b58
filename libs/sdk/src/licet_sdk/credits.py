"""Prepaid units of a plan: opened by the publisher, accepted by the operator, bought, locked for use, and ended.

>>> token = client.credits.open(plan_id, unit_price=7, supply=1_000, expires_at=end)     # doctest: +SKIP
>>> client.credits.buy(token, 40)                                                       # doctest: +SKIP
>>> client.credits.lock(token, 40)                                                      # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from licet_sdk.chain import Chain, Sent, _address

# Where PlanTerms has its server.
TERM_SERVER = 16


@dataclass(frozen=True, slots=True)
class Series:
    """Units of one plan at one price, as they stand on chain.

    `unit_price` in the currency's smallest unit, `expires_at` in Unix seconds. `outstanding` units are with holders and
    in the escrow, `balance` of them with the caller's wallet.
    """

    token: str
    plan_id: int
    asset_id: str
    currency: str
    unit_price: int
    supply: int
    expires_at: int
    transferable: bool
    issued: int
    outstanding: int
    balance: int


class Credits:
    """Series of credits on one chain, and the caller's wallet as publisher, buyer or operator."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def open(
        self, plan_id: int, *, unit_price: int, supply: int, expires_at: int, transferable: bool = True
    ) -> str:
        """Puts units of a plan of the caller's asset on sale; returns their token."""
        sent = self._chain.send(
            "Credits", "openSeries", plan_id, unit_price, supply, expires_at, transferable
        )
        return str(sent.events["SeriesOpened"]["token"])

    def show(self, token: str) -> Series:
        """A series; raises ChainError where there is none."""
        address = _address(token)
        terms = self._chain.call("Credits", "seriesOf", address)
        plan_id, asset_id, currency, unit_price, supply, expires_at, transferable = terms
        units = self._chain.naming({"CreditToken": address})
        return Series(
            token=address,
            plan_id=plan_id,
            asset_id="0x" + bytes(asset_id).hex(),
            currency=currency,
            unit_price=unit_price,
            supply=supply,
            expires_at=expires_at,
            transferable=transferable,
            issued=self._chain.call("Credits", "issuedOf", address),
            outstanding=units.call("CreditToken", "totalSupply"),
            balance=units.call("CreditToken", "balanceOf", self._chain.wallet),
        )

    def buy(self, token: str, units: int, recipient: str = "") -> tuple[int, Sent]:
        """Pays for units; returns what they cost."""
        series = self.show(token)
        price = units * series.unit_price
        self._chain.naming({"TestUSD": series.currency}).approve("Credits", price)
        to = _address(recipient or self._chain.wallet)
        sent = self._chain.send("Credits", "issue", series.token, to, units, price)
        return int(sent.events["CreditsIssued"]["price"]), sent

    def lock(self, token: str, units: int) -> tuple[str, Sent]:
        """Deposits units for use at the server of their plan; returns the deposit's id.

        They come back by `chain.request_exit`, as money does.
        """
        series = self.show(token)
        server = self._chain.call("PlanBook", "termsOf", series.plan_id)[TERM_SERVER]
        self._chain.naming({"TestUSD": series.token}).approve("UsageEscrow", units)
        sent = self._chain.send("UsageEscrow", "deposit", server, series.token, units)
        return "0x" + bytes(sent.events["Deposited"]["depositId"]).hex(), sent

    def accept(self, token: str, units: int = 0) -> Sent:
        """Operator: lets its settlements draw so many units of a series a day; 0: as many as there ever are.

        Without it, what is used of a series is not settled.
        """
        series = self.show(token)
        return self._chain.send("UsageEscrow", "setSettlerCap", series.token, units or series.supply)

    def expire(self, token: str, holders: Sequence[str]) -> int:
        """After the end of a series: makes what these holders have not used its asset's revenue, and returns how much
        that is of the currency."""
        sent = self._chain.send(
            "Credits", "expire", _address(token), [_address(holder) for holder in holders]
        )
        return int(sent.events["RevenueReceived"]["amount"])
