"""Signs in with Ethereum: builds the ERC-4361 message that a wallet signs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from eth_account import Account
from eth_account.messages import encode_defunct

VALID_FOR = timedelta(minutes=5)


def message(
    *, domain: str, address: str, uri: str, chain_id: int, nonce: str, now: datetime | None = None
) -> str:
    """The ERC-4361 text. `address` is checksummed, `domain` is the host (and port) that asks for the login."""
    issued = now or datetime.now(UTC)
    return "\n".join(
        [
            f"{domain} wants you to sign in with your Ethereum account:",
            address,
            "",
            "Sign in to Licet.",
            "",
            f"URI: {uri}",
            "Version: 1",
            f"Chain ID: {chain_id}",
            f"Nonce: {nonce}",
            f"Issued At: {_timestamp(issued)}",
            f"Expiration Time: {_timestamp(issued + VALID_FOR)}",
        ]
    )


def sign(text: str, private_key: str) -> str:
    """EIP-191 personal signature of the message, 0x-hex."""
    signed = Account.sign_message(encode_defunct(text=text), private_key)
    return "0x" + bytes(signed.signature).hex()


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
