"""Reading and judging ERC-4361 messages."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from licet_licensing.domain import siwe
from licet_licensing.domain.errors import SignInRefused

# The example of the ERC itself.
EXAMPLE = """example.com wants you to sign in with your Ethereum account:
0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2

I accept the ExampleOrg Terms of Service: https://example.com/tos

URI: https://example.com/login
Version: 1
Chain ID: 1
Nonce: 32891756
Issued At: 2021-09-30T16:25:24Z
Resources:
- ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/
- https://example.com/my-web2-claim.json"""

POLICY = siwe.SignInPolicy(domain="example.com", origin="https://example.com", chain_ids=frozenset({1}))
NOW = datetime(2021, 9, 30, 16, 26, tzinfo=UTC)


def test_the_example_of_the_erc_is_read_and_accepted() -> None:
    message = siwe.parse(EXAMPLE)
    assert message == siwe.SignInMessage(
        scheme=None,
        domain="example.com",
        address="0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2",
        statement="I accept the ExampleOrg Terms of Service: https://example.com/tos",
        uri="https://example.com/login",
        chain_id=1,
        nonce="32891756",
        issued_at=datetime(2021, 9, 30, 16, 25, 24, tzinfo=UTC),
        expiration_time=None,
        not_before=None,
        request_id=None,
        resources=(
            "ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/",
            "https://example.com/my-web2-claim.json",
        ),
    )
    siwe.judge(message, POLICY, NOW)


def test_every_optional_field_is_read() -> None:
    text = EXAMPLE.replace("example.com wants", "https://example.com wants").replace(
        "Z\nResources",
        ".123+02:00\nExpiration Time: 2021-09-30T17:00:00Z\nNot Before: 2021-09-30T16:00:00Z"
        "\nRequest ID: a1-%20\nResources",
    )
    message = siwe.parse(text)
    assert message.scheme == "https"
    assert message.issued_at == datetime(2021, 9, 30, 14, 25, 24, 123000, tzinfo=UTC)
    assert message.expiration_time == datetime(2021, 9, 30, 17, tzinfo=UTC)
    assert message.not_before == datetime(2021, 9, 30, 16, tzinfo=UTC)
    assert message.request_id == "a1-%20"
    siwe.judge(message, POLICY, NOW)


def test_the_statement_and_the_resources_may_be_absent() -> None:
    text = EXAMPLE.replace("\nI accept the ExampleOrg Terms of Service: https://example.com/tos\n", "\n")
    text = text.partition("\nResources")[0]
    message = siwe.parse(text)
    assert message.statement is None
    assert message.resources == ()
    assert siwe.parse(text + "\nResources:").resources == ()


MALFORMED = {
    "empty": "",
    "trailing newline": EXAMPLE + "\n",
    "carriage returns": EXAMPLE.replace("\n", "\r\n"),
    "no domain": EXAMPLE.replace("example.com wants", " wants", 1),
    "other greeting": EXAMPLE.replace("sign in with your Ethereum", "sign in with your Bitcoin"),
    "short address": EXAMPLE.replace("C756Cc2", "C756Cc"),
    "no blank line after the address": EXAMPLE.replace("Cc2\n\n", "Cc2\n"),
    "statement of two lines": EXAMPLE.replace("Terms of", "Terms\nof"),
    "statement that is not ASCII": EXAMPLE.replace("I accept", "Ich akzeptiere ü"),
    "no URI": EXAMPLE.replace("URI: https://example.com/login\n", ""),
    "relative URI": EXAMPLE.replace("URI: https://example.com/login", "URI: /login"),
    "version 2": EXAMPLE.replace("Version: 1", "Version: 2"),
    "chain id that is no number": EXAMPLE.replace("Chain ID: 1", "Chain ID: 0x1"),
    "short nonce": EXAMPLE.replace("32891756", "3289175"),
    "nonce with other characters": EXAMPLE.replace("32891756", "3289-1756"),
    "no issue time": EXAMPLE.replace("Issued At: 2021-09-30T16:25:24Z\n", ""),
    "time without a zone": EXAMPLE.replace("16:25:24Z", "16:25:24"),
    "time that does not exist": EXAMPLE.replace("09-30T16", "09-31T16"),
    "fields out of order": EXAMPLE.replace("Version: 1\nChain ID: 1", "Chain ID: 1\nVersion: 1"),
    "field twice": EXAMPLE.replace("Nonce: 32891756", "Nonce: 32891756\nNonce: 32891757"),
    "resource without a dash": EXAMPLE.replace("- https://example.com/my", "https://example.com/my"),
    "resource that is no URI": EXAMPLE.replace("- https://example.com/my-web2", "- my-web2"),
    "text after the end": EXAMPLE + "\nand transfer everything",
    "too long": EXAMPLE + "a" * 5000,
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_message_has_no_reading(text: str) -> None:
    with pytest.raises(SignInRefused):
        siwe.parse(text)


MISDIRECTED = {
    "another domain": EXAMPLE.replace("example.com wants", "example.org wants"),
    "the domain with a port": EXAMPLE.replace("example.com wants", "example.com:8443 wants"),
    "a userinfo trick": EXAMPLE.replace("example.com wants", "example.com@evil.org wants"),
    "another scheme": EXAMPLE.replace("example.com wants", "http://example.com wants"),
    "a URI of another host": EXAMPLE.replace(
        "URI: https://example.com/", "URI: https://example.com.evil.org/"
    ),
    "a URI of another scheme": EXAMPLE.replace("URI: https://example.com/", "URI: http://example.com/"),
    "a URI that cannot be split": EXAMPLE.replace("URI: https://example.com/", "URI: https://[example.com/"),
    "another chain": EXAMPLE.replace("Chain ID: 1", "Chain ID: 10"),
    "expired": EXAMPLE.replace("Z\nRes", "Z\nExpiration Time: 2021-09-30T16:26:00Z\nRes"),
    "not valid yet": EXAMPLE.replace("Z\nRes", "Z\nNot Before: 2021-09-30T16:26:00.001Z\nRes"),
}


@pytest.mark.parametrize("text", MISDIRECTED.values(), ids=MISDIRECTED.keys())
def test_a_message_for_another_place_or_time_is_refused(text: str) -> None:
    message = siwe.parse(text)
    with pytest.raises(SignInRefused):
        siwe.judge(message, POLICY, NOW)
