"""Which headers make a credential. The key's format and vectors are licensing's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licet_gateway.dataplane.credentials import read_credential
from licet_gateway.dataplane.refusals import CREDENTIAL_INVALID as INVALID
from licet_gateway.dataplane.refusals import CREDENTIAL_MISSING as MISSING
from licet_gateway.domain import Credential

KEYS = [
    (
        b"licet_live_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf_3X7Nvi",
        "c4e1ecdf8ad2fb1ae702957278efb5da45df957a04dfcc2275d1553a4d6a4114",
    ),
    (
        b"licet_live_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1_1I15yg",
        "c1bbe98d7e74bdd1ca6f34b85de39897ea8572d7483e34273e06740a6c35749e",
    ),
    (
        b"licet_live_0000000000000000000000000000000000000000000_4MBWU2",
        "87e2658ef0df3e9b19873e31535a223ad890d2e7b656c895ca3a319e33b5143e",
    ),
]


@pytest.mark.parametrize(("key", "digest"), KEYS)
def test_a_key_is_known_by_its_hash(key: bytes, digest: str) -> None:
    expected = Credential(api_key_hash=bytes.fromhex(digest))
    assert read_credential({b"authorization": b"Bearer " + key}) == expected
    assert read_credential({b"authorization": b"bearer  " + key}) == expected
    assert read_credential({b"x-api-key": key}) == expected
    assert read_credential({b"x-api-key": key, b"authorization": b"Bearer " + key}) == expected


@given(st.sampled_from([key for key, _ in KEYS]), st.integers(11, 60), st.sampled_from(b"0123456789ABCxyz"))
def test_a_key_with_one_wrong_character_is_refused_without_asking(key: bytes, place: int, wrong: int) -> None:
    forged = bytearray(key)
    forged[place] = wrong
    if bytes(forged) != key:
        assert read_credential({b"authorization": b"Bearer " + bytes(forged)}) == INVALID


def test_a_session_is_passed_on_whole() -> None:
    session = "licet_session_" + "a" * 43
    assert read_credential({b"authorization": b"Bearer " + session.encode()}) == Credential(session=session)
    assert "aaaa" not in repr(Credential(session=session))


def test_no_credential_is_told_apart_from_a_bad_one() -> None:
    assert read_credential({}) == MISSING
    for bad in (
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic dXNlcg==",
        b"Bearer licet_live_short_abcdef",
        b"Bearer a b",
    ):
        assert read_credential({b"authorization": bad}) == INVALID


def test_two_different_credentials_are_refused() -> None:
    fields = {b"authorization": b"Bearer " + KEYS[0][0], b"x-api-key": KEYS[1][0]}
    assert read_credential(fields) == INVALID
