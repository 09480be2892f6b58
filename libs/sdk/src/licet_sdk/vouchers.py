"""Cumulative vouchers: what a payer has signed that one operator may have drawn so far.

Each voucher of a channel names the whole sum, so that the newest one is enough. A settlement that names the channel
pays at most that.

>>> voucher, signature = client.vouchers.sign(operator, channel, 40_000)                # doctest: +SKIP
>>> operator_client.vouchers.present(voucher, signature)                                # doctest: +SKIP
"""

from __future__ import annotations

import secrets
from dataclasses import astuple, dataclass
from typing import Final

from licet_schemas import settlement

from licet_sdk.chain import Chain, Sent, _address
from licet_sdk.errors import ConfigError

_WORD: Final = 32
_TYPES: Final = {
    "Voucher": [
        {"name": "payer", "type": "address"},
        {"name": "operator", "type": "address"},
        {"name": "token", "type": "address"},
        {"name": "channel", "type": "bytes32"},
        {"name": "cumulative", "type": "uint128"},
    ]
}


@dataclass(frozen=True, slots=True)
class Voucher:
    """`cumulative`: all that the operator may draw through the channel, in the token's smallest unit."""

    payer: str
    operator: str
    token: str
    channel: bytes
    cumulative: int


@dataclass(frozen=True, slots=True)
class Channel:
    """What was presented for a channel, and what settlements drew of it."""

    signed: int
    drawn: int


class Vouchers:
    """Vouchers on the escrow of one chain, and the caller's wallet as payer, or as who presents them."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    @staticmethod
    def new_channel() -> bytes:
        """A channel that no other payer's or program's meets."""
        return secrets.token_bytes(_WORD)

    def sign(
        self, operator: str, channel: bytes, cumulative: int, *, token: str = ""
    ) -> tuple[Voucher, bytes]:
        """A voucher of the caller over so much in all, and its signature; without a `token` in TestUSD."""
        if len(channel) != _WORD or not any(channel):
            raise ConfigError(
                "invalid_value", "a channel is 32 bytes, and not zero", "use Vouchers.new_channel()"
            )
        currency = _address(token or self._chain.addresses["TestUSD"])
        voucher = Voucher(self._chain.wallet, _address(operator), currency, channel, cumulative)
        domain = {
            "name": "Licet Voucher",
            "version": "1",
            "chainId": self._chain.chain_id,
            "verifyingContract": self._chain.addresses["UsageEscrow"],
        }
        names = (field["name"] for field in _TYPES["Voucher"])
        message = dict(zip(names, astuple(voucher), strict=True))
        return voucher, self._chain.sign_typed_data(domain, _TYPES, message)

    def present(self, voucher: Voucher, signature: bytes) -> Sent:
        """Lets settlements draw on a voucher. Anyone may, with the payer's signature."""
        return self._chain.send("UsageEscrow", "presentVoucher", astuple(voucher), signature)

    def show(self, voucher: Voucher) -> Channel:
        """What the chain knows of the channel of a voucher."""
        deposit = settlement.deposit_id(voucher.payer, voucher.operator, voucher.token)
        return Channel(*self._chain.call("UsageEscrow", "channelOf", deposit, voucher.channel))
