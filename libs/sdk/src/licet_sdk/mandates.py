"""Mandates: what a payer lets one operator draw from a deposit, signed, opened, read and revoked.

>>> mandate = client.mandates.draft(Bounds(operator, 1_000_000, 5_000_000, 200_000, 100))  # doctest: +SKIP
>>> mandate_id, _ = client.mandates.open(mandate)                                          # doctest: +SKIP
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from licet_schemas.mandates import Mandate, mandate_digest, mandate_domain
from web3.exceptions import Web3Exception

from licet_sdk.chain import Chain, Sent, _address, as_licet_error
from licet_sdk.errors import ChainError, ConfigError

HOUR_S: Final = 3600
DAY_S: Final = 86_400
MONTH_S: Final = 30 * DAY_S
_ID = re.compile(r"0x[0-9a-fA-F]{64}")
_NONCE_BITS: Final = 256
# In the order of the dataclass and of the type.
_TYPES: Final = {
    "Mandate": [
        {"name": "payer", "type": "address"},
        {"name": "operator", "type": "address"},
        {"name": "token", "type": "address"},
        {"name": "windowAmount", "type": "uint128"},
        {"name": "totalAmount", "type": "uint128"},
        {"name": "inFlightCap", "type": "uint128"},
        {"name": "windowLength", "type": "uint32"},
        {"name": "windowRecords", "type": "uint32"},
        {"name": "grace", "type": "uint32"},
        {"name": "validFrom", "type": "uint64"},
        {"name": "validUntil", "type": "uint64"},
        {"name": "assets", "type": "bytes32[]"},
        {"name": "nonce", "type": "uint256"},
    ]
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a mandate allows. Amounts in the currency's smallest unit, times in (Unix) seconds.

    `window_records` is the most calls of one window. `valid_from` 0 is now, `valid_until` 0 is 30 days later. Without
    `assets` (their ids) anything may be used.
    """

    operator: str
    window_amount: int
    total_amount: int
    in_flight_cap: int
    window_records: int
    window_length: int = DAY_S
    grace: int = HOUR_S
    valid_from: int = 0
    valid_until: int = 0
    assets: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class WindowUse:
    """What settlements drew for one window."""

    window: int
    records: int
    amount: int


@dataclass(frozen=True, slots=True)
class MandateState:
    """A mandate as it stands on chain. `valid_until` is as signed, or when it was revoked."""

    mandate_id: str
    deposit_id: str
    window_amount: int
    remaining: int
    valid_from: int
    valid_until: int
    window_length: int
    window_records: int
    grace: int
    any_asset: bool
    revoked: bool
    in_flight_cap: int
    uses: tuple[WindowUse, ...]


@dataclass(frozen=True, slots=True)
class Revoked:
    """Until `settle_until` at most `remaining` is drawn for use from before `revoked_at`."""

    revoked_at: int
    settle_until: int
    remaining: int
    tx_hash: str


class Mandates:
    """Mandates on the escrow of one chain, and the caller's wallet as payer, or as who sends a payer's signature."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def draft(self, bounds: Bounds) -> Mandate:
        """The terms for the caller's own deposit in TestUSD, with a nonce that nobody can guess."""
        begin = bounds.valid_from or self._now()
        return Mandate(
            payer=self._chain.wallet,
            operator=_address(bounds.operator),
            token=_address(self._chain.addresses["TestUSD"]),
            window_amount=bounds.window_amount,
            total_amount=bounds.total_amount,
            in_flight_cap=bounds.in_flight_cap,
            window_length=bounds.window_length,
            window_records=bounds.window_records,
            grace=min(bounds.grace, bounds.window_length),
            valid_from=begin,
            valid_until=bounds.valid_until or begin + MONTH_S,
            assets=tuple(_id(asset) for asset in bounds.assets),
            nonce=secrets.randbits(_NONCE_BITS),
        )

    def mandate_id(self, mandate: Mandate) -> str:
        """The id that the mandate has on this chain: its EIP-712 digest."""
        domain = mandate_domain(self._chain.chain_id, self._chain.addresses["UsageEscrow"])
        return "0x" + mandate_digest(domain, mandate).hex()

    def sign(self, mandate: Mandate) -> bytes:
        """The caller's signature, with which anybody opens the mandate."""
        if mandate.payer != self._chain.wallet:
            raise ConfigError(
                "invalid_value", f"the mandate is {mandate.payer}'s", "sign mandates of your own wallet"
            )
        domain = {
            "name": "Licet Mandate",
            "version": "1",
            "chainId": self._chain.chain_id,
            "verifyingContract": self._chain.addresses["UsageEscrow"],
        }
        names = (field["name"] for field in _TYPES["Mandate"])
        message = dict(zip(names, asdict(mandate).values(), strict=True))
        message["assets"] = list(mandate.assets)
        return self._chain.sign_typed_data(domain, _TYPES, message)

    def open(self, mandate: Mandate, signature: bytes = b"") -> tuple[str, Sent]:
        """Opens a mandate: the caller's own, or another payer's with their signature."""
        sent = self._chain.send("UsageEscrow", "openMandate", tuple(asdict(mandate).values()), signature)
        return "0x" + bytes(sent.events["MandateOpened"]["mandateId"]).hex(), sent

    def revoke(self, mandate_id: str) -> Revoked:
        """Forbids later use from the next block on."""
        sent = self._chain.send("UsageEscrow", "revokeMandate", _id(mandate_id))
        said = sent.events["MandateRevoked"]
        return Revoked(said["revokedAt"], said["settleUntil"], said["remaining"], sent.tx_hash)

    def cancel_nonce(self, nonce: int) -> Sent:
        """Takes back the caller's signatures with this nonce that nobody has used yet."""
        return self._chain.send("UsageEscrow", "cancelMandateNonce", nonce)

    def only(self, operator: str, *, token: str = "", on: bool = True) -> int:
        """Forbids the operator to draw from the caller's deposit without a mandate or a voucher, or allows it again.

        Returns from when on (Unix seconds): use until then is still settled. 0: it may draw.
        """
        currency = _address(token or self._chain.addresses["TestUSD"])
        sent = self._chain.send("UsageEscrow", "setDirectDraws", _address(operator), currency, not on)
        return int(sent.events["DirectDrawsSet"]["until"])

    def covers(self, mandate_id: str, asset_id: str) -> bool:
        """Whether the mandate lets an asset be used."""
        return bool(self._chain.call("UsageEscrow", "mandateCovers", _id(mandate_id), _id(asset_id)))

    def show(self, mandate_id: str) -> MandateState:
        """A mandate and what was settled of its two newest windows; raises ChainError when it was never opened."""
        key = _id(mandate_id)
        deposit_id, *terms = self._chain.call("UsageEscrow", "mandateOf", key)
        if not int.from_bytes(deposit_id):
            raise ChainError(
                "mandate_unknown", f"no mandate {mandate_id} was opened", "check the id, or open it first"
            )
        uses: list[Any] = self._chain.call("UsageEscrow", "mandateUseOf", key)
        used = sorted((WindowUse(*use) for use in uses if use[1]), key=lambda use: use.window)
        values = (mandate_id, "0x" + bytes(deposit_id).hex(), *terms, tuple(used))
        return MandateState(**dict(zip((field.name for field in fields(MandateState)), values, strict=True)))

    def _now(self) -> int:
        try:
            return int(self._chain.w3.eth.get_block("latest")["timestamp"])
        except (OSError, Web3Exception) as error:
            raise as_licet_error(error, self._chain.rpc_url) from error


def _id(text: str) -> bytes:
    if not _ID.fullmatch(text):
        raise ConfigError("invalid_value", f"{text!r} is no id", "pass 0x and 64 hex digits")
    return bytes.fromhex(text[2:])
