"""Our EIP-712 path equals eth-account's general one on any input."""

from __future__ import annotations

from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import _hash_eip191_message, encode_typed_data
from hypothesis import given
from hypothesis import strategies as st
from licet_schemas import eip712

WORDS = st.binary(min_size=32, max_size=32)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
UINT64 = st.integers(0, 2**64 - 1)
ADDRESSES = st.binary(min_size=20, max_size=20).map(lambda b: "0x" + b.hex())
KEYS = st.integers(1, 2**255).map(lambda n: n.to_bytes(32, "big"))

RECEIPT_FIELDS = [
    ("requestId", "string", TEXTS),
    ("accountId", "string", TEXTS),
    ("accountLease", "uint64", UINT64),
    ("sequence", "uint64", UINT64),
    ("last", "bool", st.booleans()),
    ("grantId", "string", TEXTS),
    ("assetId", "bytes32", WORDS),
    ("versionDigest", "bytes32", WORDS),
    ("planId", "uint256", st.integers(0, 2**256 - 1)),
    ("meteringRule", "string", TEXTS),
    ("units", "uint64", UINT64),
    ("priceBookVersion", "string", TEXTS),
    ("outcome", "uint8", st.integers(0, 255)),
    ("startedAtMs", "uint64", UINT64),
    ("endedAtMs", "uint64", UINT64),
    ("requestCommitment", "bytes32", WORDS),
    ("responseCommitment", "bytes32", WORDS),
]
CERTIFICATE_FIELDS = [
    ("operator", "address", ADDRESSES),
    ("replica", "address", ADDRESSES),
    ("validFrom", "uint64", UINT64),
    ("validUntil", "uint64", UINT64),
]
SEGMENT_FIELDS = [("root", "bytes32", WORDS), ("receipts", "uint32", st.integers(0, 2**32 - 1))]

Field = tuple[str, str, st.SearchStrategy[Any]]


def generic(chain_id: int, escrow: str, name: str, fields: list[Field], values: tuple[Any, ...]) -> Any:
    """The message as eth-account encodes typed data."""
    domain = {"name": "Licet Receipt", "version": "1", "chainId": chain_id, "verifyingContract": escrow}
    types = {name: [{"name": field, "type": kind} for field, kind, _ in fields]}
    message = {field: value for (field, _, _), value in zip(fields, values, strict=True)}
    return encode_typed_data(domain_data=domain, message_types=types, message_data=message)


def values_of(fields: list[Field]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(*(strategy for _, _, strategy in fields))


@given(chain_id=st.integers(1, 2**256 - 1), escrow=ADDRESSES, values=values_of(RECEIPT_FIELDS))
def test_receipt_digest_equals_eth_account(chain_id: int, escrow: str, values: tuple[Any, ...]) -> None:
    ours = eip712.receipt_digest(eip712.domain_separator(chain_id, escrow), eip712.Receipt(*values))
    assert ours == _hash_eip191_message(generic(chain_id, escrow, "Receipt", RECEIPT_FIELDS, values))


@given(escrow=ADDRESSES, values=values_of(CERTIFICATE_FIELDS))
def test_certificate_digest_equals_eth_account(escrow: str, values: tuple[Any, ...]) -> None:
    domain = eip712.domain_separator(31337, escrow)
    ours = eip712.certificate_digest(domain, eip712.ReplicaCertificate(*values))
    theirs = generic(31337, escrow, "ReplicaCertificate", CERTIFICATE_FIELDS, values)
    assert ours == _hash_eip191_message(theirs)


@given(escrow=ADDRESSES, values=values_of(SEGMENT_FIELDS))
def test_segment_digest_equals_eth_account(escrow: str, values: tuple[Any, ...]) -> None:
    domain = eip712.domain_separator(31337, escrow)
    ours = eip712.segment_digest(domain, eip712.Segment(*values))
    assert ours == _hash_eip191_message(generic(31337, escrow, "Segment", SEGMENT_FIELDS, values))


@given(key=KEYS, values=values_of(SEGMENT_FIELDS))
def test_signature_equals_eth_account(key: bytes, values: tuple[Any, ...]) -> None:
    escrow = "0x" + "ab" * 20
    digest = eip712.segment_digest(eip712.domain_separator(1, escrow), eip712.Segment(*values))
    theirs = Account.from_key(key).sign_message(generic(1, escrow, "Segment", SEGMENT_FIELDS, values))
    assert eip712.sign(digest, key) == bytes(theirs.signature)
    assert eip712.recover(digest, bytes(theirs.signature)) == Account.from_key(key).address.lower()


@given(digest=WORDS, junk=st.binary(max_size=70))
def test_recover_answers_any_bytes_with_an_address_or_signature_invalid(digest: bytes, junk: bytes) -> None:
    try:
        address = eip712.recover(digest, junk)
    except eip712.SignatureInvalid:
        return
    assert len(address) == 42


@given(digest=WORDS, key=KEYS, body=st.binary(min_size=64, max_size=64), v=st.sampled_from([27, 28]))
def test_a_forged_signature_never_recovers_the_signer(digest: bytes, key: bytes, body: bytes, v: int) -> None:
    try:
        assert eip712.recover(digest, body + bytes([v])) != eip712.address_of(key)
    except eip712.SignatureInvalid:
        return


def test_the_malleable_twin_of_a_signature_is_refused() -> None:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    digest, key = eip712.keccak(b"digest"), eip712.keccak(b"key")
    good = eip712.sign(digest, key)
    s = (order - int.from_bytes(good[32:64], "big")).to_bytes(32, "big")
    twin = good[:32] + s + bytes([55 - good[64]])
    with pytest.raises(eip712.SignatureInvalid, match="upper half"):
        eip712.recover(digest, twin)


def test_another_chain_or_escrow_is_another_digest() -> None:
    segment = eip712.Segment(bytes(32), 1)
    here = eip712.segment_digest(eip712.domain_separator(1, "0x" + "11" * 20), segment)
    assert here != eip712.segment_digest(eip712.domain_separator(2, "0x" + "11" * 20), segment)
    assert here != eip712.segment_digest(eip712.domain_separator(1, "0x" + "12" * 20), segment)


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        (eip712.Segment(bytes(31), 1), "31 bytes are no bytes32"),
        (eip712.Segment(bytes(32), -1), "-1 is no uint32"),
        (eip712.Segment(bytes(32), 2**32), "4294967296 is no uint32"),
    ],
)
def test_a_value_outside_its_type_is_refused(segment: eip712.Segment, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        eip712.segment_digest(bytes(32), segment)
