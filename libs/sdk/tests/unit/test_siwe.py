"""The login text is ERC-4361's, and its signature names the wallet."""

from datetime import UTC, datetime

from eth_account import Account
from eth_account.messages import encode_defunct
from licet_sdk import siwe

KEY = "0x" + "11" * 32
ADDRESS = Account.from_key(KEY).address


def text() -> str:
    return siwe.message(
        domain="localhost:8110",
        address=ADDRESS,
        uri="http://localhost:8110",
        chain_id=31337,
        nonce="abcdefgh1234",
        now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


def test_the_message_follows_the_grammar_of_the_erc() -> None:
    assert text().split("\n") == [
        "localhost:8110 wants you to sign in with your Ethereum account:",
        ADDRESS,
        "",
        "Sign in to Licet.",
        "",
        "URI: http://localhost:8110",
        "Version: 1",
        "Chain ID: 31337",
        "Nonce: abcdefgh1234",
        "Issued At: 2026-01-02T03:04:05.000Z",
        "Expiration Time: 2026-01-02T03:09:05.000Z",
    ]


def test_the_signature_recovers_to_the_wallet() -> None:
    assert Account.recover_message(encode_defunct(text=text()), signature=siwe.sign(text(), KEY)) == ADDRESS
