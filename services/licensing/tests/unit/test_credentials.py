"""The written form of API keys and session tokens."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_licensing.domain.credentials import (
    format_api_key,
    format_session_token,
    parse_api_key,
    parse_session_token,
)
from licet_licensing.domain.errors import CredentialInvalid

# Worked out by a separate program; the gateway checks the same ones.
VECTORS = (
    (
        bytes(range(32)),
        "licet_live_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf_3X7Nvi",
        "c4e1ecdf8ad2fb1ae702957278efb5da45df957a04dfcc2275d1553a4d6a4114",
    ),
    (
        b"\xff" * 32,
        "licet_live_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1_1I15yg",
        "c1bbe98d7e74bdd1ca6f34b85de39897ea8572d7483e34273e06740a6c35749e",
    ),
    (
        bytes(32),
        "licet_live_0000000000000000000000000000000000000000000_4MBWU2",
        "87e2658ef0df3e9b19873e31535a223ad890d2e7b656c895ca3a319e33b5143e",
    ),
)


@pytest.mark.parametrize(("secret", "key", "digest"), VECTORS)
def test_keys_are_written_and_hashed_as_the_vectors_say(secret: bytes, key: str, digest: str) -> None:
    assert format_api_key(secret) == key
    assert parse_api_key(key).hex() == digest


@given(st.binary(min_size=32, max_size=32))
def test_every_secret_makes_a_key_that_parses(secret: bytes) -> None:
    key = format_api_key(secret)
    assert len(key) == 61
    assert parse_api_key(key) == hashlib.sha256(key.encode()).digest()


@given(st.binary(min_size=32, max_size=32), st.integers(0, 60), st.sampled_from("0Zz_!é "))
def test_a_key_with_one_changed_character_is_refused(secret: bytes, position: int, char: str) -> None:
    key = format_api_key(secret)
    changed = key[:position] + char + key[position + 1 :]
    if changed != key:
        with pytest.raises(CredentialInvalid):
            parse_api_key(changed)


@pytest.mark.parametrize(
    "text", ["", "_", "licet_live_", "licet_live__", "licet_test_" + "0" * 43 + "_4MBWU2"]
)
def test_text_that_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(CredentialInvalid):
        parse_api_key(text)


def test_session_tokens_parse_and_keys_are_no_sessions() -> None:
    token = format_session_token(bytes(range(32)))
    assert token == "licet_session_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf"
    assert parse_session_token(token) == hashlib.sha256(token.encode()).digest()
    for text in (VECTORS[0][1], token + "0", token[:-1], "licet_session_" + "é" * 43):
        with pytest.raises(CredentialInvalid):
            parse_session_token(text)
