"""Orders for licenses and assets: signed by a maker without a transaction, filled by a taker in one.

>>> order = market.ask("License", 7, price=5_000_000)               # doctest: +SKIP
>>> market.fill(market.sign(order))                                 # doctest: +SKIP
"""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict, dataclass
from typing import Any

from web3 import Web3

from licet_sdk.chain import Chain, Sent
from licet_sdk.errors import ConfigError

SELL, BUY = 0, 1
ERC721, ERC20 = 0, 2
NO_STATE = bytes(32)
# A maker's clock may be ahead of the chain's.
CLOCK_SKEW_S = 30
DAY_S = 86_400
_TYPES = {
    "Order": [
        {"name": "maker", "type": "address"},
        {"name": "side", "type": "uint8"},
        {"name": "standard", "type": "uint8"},
        {"name": "token", "type": "address"},
        {"name": "tokenId", "type": "uint256"},
        {"name": "amount", "type": "uint128"},
        {"name": "currency", "type": "address"},
        {"name": "startPrice", "type": "uint128"},
        {"name": "endPrice", "type": "uint128"},
        {"name": "startTime", "type": "uint64"},
        {"name": "endTime", "type": "uint64"},
        {"name": "taker", "type": "address"},
        {"name": "nonce", "type": "uint256"},
        {"name": "epoch", "type": "uint64"},
        {"name": "stateHash", "type": "bytes32"},
    ]
}


@dataclass(frozen=True, slots=True)
class Order:
    """The fields of contracts/src/interfaces/IMarket.sol in their order; prices are of the whole amount."""

    maker: str
    side: int
    standard: int
    token: str
    tokenId: int  # noqa: N815 - the contract's name, which is signed
    amount: int
    currency: str
    startPrice: int  # noqa: N815
    endPrice: int  # noqa: N815
    startTime: int  # noqa: N815
    endTime: int  # noqa: N815
    taker: str
    nonce: int
    epoch: int
    stateHash: bytes  # noqa: N815


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """What a maker publishes."""

    order: Order
    signature: bytes


class Market:
    """The market of one chain, and the caller's wallet in it."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def ask(
        self, token: str, token_id: int, *, price: int, end_price: int | None = None, lasts_s: int = DAY_S
    ) -> Order:
        """Sells one token of the contract `token` (its name in the chains file) in the state that it is in now.

        With `end_price` the price moves in a straight line to it until the order ends: a Dutch sale.
        """
        return self._order(SELL, token, token_id, price, price if end_price is None else end_price, lasts_s)

    def offer(self, token: str, token_id: int, *, price: int, lasts_s: int = DAY_S) -> Order:
        """Offers to buy one token in the state that it is in now; whoever holds it may accept."""
        return self._order(BUY, token, token_id, price, price, lasts_s)

    def ask_units(self, token: str, amount: int, *, price: int, lasts_s: int = DAY_S) -> Order:
        """Sells this much of an ERC-20, or parts of it; `price` is that of all of it."""
        return self._order(SELL, token, 0, price, price, lasts_s, units=amount)

    def sign(self, order: Order) -> SignedOrder:
        """The order under the caller's signature, with the approval that its fill needs given before."""
        if order.maker != self._chain.wallet:
            raise ConfigError(
                "invalid_value", f"the order is {order.maker}'s", "sign orders of your own wallet"
            )
        self._approve(order, order.side == SELL, order.startPrice if order.side == BUY else 0)
        signed = self._chain.sign_typed_data(self._domain(), _TYPES, asdict(order))
        return SignedOrder(order, signed)

    def fill(self, signed: SignedOrder) -> Sent:
        """Buys what is sold, or sells what is wanted, at the price of now; raises ChainError with the reason."""
        order = signed.order
        fields = tuple(asdict(order).values())
        price = int(self._chain.call("Market", "priceOf", fields, order.amount))
        self._approve(order, order.side == BUY, price if order.side == SELL else 0)
        return self._chain.send("Market", "fill", fields, signed.signature, order.amount, price)

    def cancel(self, *nonces: int) -> Sent:
        """Ends the caller's orders under these nonces."""
        return self._chain.send("Market", "cancel", list(nonces))

    def cancel_all(self) -> Sent:
        """Ends every order that the caller has signed so far."""
        return self._chain.send("Market", "cancelAll")

    def _order(
        self, side: int, token: str, token_id: int, start: int, end: int, lasts_s: int, *, units: int = 0
    ) -> Order:
        now, maker = int(time.time()), self._chain.wallet
        return Order(
            maker=maker,
            side=side,
            standard=ERC20 if units else ERC721,
            token=Web3.to_checksum_address(self._chain.addresses[token]),
            tokenId=token_id,
            amount=units or 1,
            currency=Web3.to_checksum_address(self._chain.addresses["TestUSD"]),
            startPrice=start,
            endPrice=end,
            startTime=now - CLOCK_SKEW_S,
            endTime=now + lasts_s,
            taker="0x" + "00" * 20,
            nonce=secrets.randbits(256),
            epoch=int(self._chain.call("Market", "epochOf", maker)),
            stateHash=NO_STATE if units else bytes(self._chain.call(token, "tokenStateHash", token_id)),
        )

    def _approve(self, order: Order, sells: bool, amount: int) -> None:
        """Lets the market take what the caller gives: the token where the caller sells, else the price."""
        if not sells:
            self._chain.approve("Market", amount)
            return
        market = Web3.to_checksum_address(self._chain.addresses["Market"])
        name = next(n for n, a in self._chain.addresses.items() if a.lower() == order.token.lower())
        if order.standard == ERC20:
            if int(self._chain.call(name, "allowance", self._chain.wallet, market)) < order.amount:
                self._chain.send(name, "approve", market, order.amount)
        elif str(self._chain.call(name, "getApproved", order.tokenId)) != market:
            self._chain.send(name, "approve", market, order.tokenId)

    def _domain(self) -> dict[str, Any]:
        return {
            "name": "Licet Order",
            "version": "1",
            "chainId": self._chain.chain_id,
            "verifyingContract": Web3.to_checksum_address(self._chain.addresses["Market"]),
        }
