"""Taking money, or prepaid units, out of a deposit: ask, wait, withdraw. Nobody can prevent it."""

from __future__ import annotations

from dataclasses import dataclass

from licet_sdk.chain import Chain, Sent
from licet_sdk.errors import ChainError, ConfigError

# Where Deposit has its token.
_TOKEN = 2


@dataclass(frozen=True, slots=True)
class Exit:
    """An exit that was asked for: withdrawn from `unlock_time` on (Unix seconds), less what settlements draw of it."""

    exit_id: int
    token: str
    amount: int
    unlock_time: int
    tx_hash: str


class Exits:
    """Exits of the caller's deposits on one chain."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def token_of(self, deposit_id: str) -> str:
        """The token of a deposit; raises ChainError where there is none."""
        try:
            deposit = self._chain.call(
                "UsageEscrow", "depositOf", bytes.fromhex(deposit_id.removeprefix("0x"))
            )
        except ValueError as error:
            raise ConfigError(
                "invalid_value", f"{deposit_id!r} is no id", "pass 0x and 64 hex digits"
            ) from error
        if not int(deposit[0], 16):
            raise ChainError(
                "deposit_unknown", f"no deposit {deposit_id}", "check the id, or deposit something first"
            )
        return str(deposit[_TOKEN])

    def is_units(self, token: str) -> bool:
        """Whether a token counts prepaid units, and not money."""
        return bool(self._chain.call("Credits", "isSeries", token))

    def request(self, deposit_id: str, amount: int) -> Exit:
        """Asks for so much of the caller's deposit; it leaves what can be spent at once."""
        exit_id, sent = self._chain.request_exit(deposit_id, amount)
        said = sent.events["ExitRequested"]
        return Exit(exit_id, said["token"], said["amount"], said["unlockTime"], sent.tx_hash)

    def withdraw(self, exit_id: int) -> tuple[int, str, Sent]:
        """Pays an unlocked exit to its payer; returns how much of which token."""
        sent = self._chain.send("UsageEscrow", "withdraw", exit_id)
        said = sent.events["Withdrawn"]
        return int(said["amount"]), str(said["token"]), sent
