"""Python hashes mandates as the vectors say, and as eth-account's general path does."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
from eth_account.messages import _hash_eip191_message, encode_typed_data
from hypothesis import given
from hypothesis import strategies as st
from licet_schemas import eip712
from licet_schemas.mandates import Mandate, mandate_digest, mandate_domain
from licet_schemas.words import keccak

VECTORS = Path(__file__).resolve().parents[4] / "proto/vectors/mandates.json"
# In the order of the dataclass and of the type.
FIELDS = [
    ("payer", "address"),
    ("operator", "address"),
    ("token", "address"),
    ("windowAmount", "uint128"),
    ("totalAmount", "uint128"),
    ("inFlightCap", "uint128"),
    ("windowLength", "uint32"),
    ("windowRecords", "uint32"),
    ("grace", "uint32"),
    ("validFrom", "uint64"),
    ("validUntil", "uint64"),
    ("assets", "bytes32[]"),
    ("nonce", "uint256"),
]
WORDS = st.binary(min_size=32, max_size=32)


def values(kind: str) -> st.SearchStrategy[Any]:
    if kind == "address":
        return st.binary(min_size=20, max_size=20).map(lambda b: "0x" + b.hex())
    if kind == "bytes32[]":
        return st.lists(WORDS, max_size=16).map(tuple)
    return st.integers(0, 2 ** int(kind.removeprefix("uint")) - 1)


MANDATES = st.tuples(*(values(kind) for _, kind in FIELDS)).map(lambda fields: Mandate(*fields))


def read(name: str, kind: str, vector: dict[str, Any]) -> Any:
    if kind == "bytes32[]":
        return tuple(bytes.fromhex(asset[2:]) for asset in vector[name])
    return vector[name] if kind == "address" else int(vector[name])


def test_vectors() -> None:
    content = json.loads(VECTORS.read_text(encoding="utf-8"))
    domain = mandate_domain(content["domain"]["chainId"], content["domain"]["verifyingContract"])
    assert len(content["mandates"]) == 4
    for vector in content["mandates"]:
        mandate = Mandate(*(read(name, kind, vector["mandate"]) for name, kind in FIELDS))
        digest = mandate_digest(domain, mandate)
        assert "0x" + digest.hex() == vector["digest"]
        signature = bytes.fromhex(vector["signature"][2:])
        assert eip712.recover(digest, signature) == vector["signer"]
        assert eip712.sign(digest, keccak(vector["keyLabel"].encode())) == signature


@given(chain_id=st.integers(1, 2**256 - 1), escrow=values("address"), mandate=MANDATES)
def test_digest_equals_eth_account(chain_id: int, escrow: str, mandate: Mandate) -> None:
    domain = {"name": "Licet Mandate", "version": "1", "chainId": chain_id, "verifyingContract": escrow}
    types = {"Mandate": [{"name": name, "type": kind} for name, kind in FIELDS]}
    message = {name: value for (name, _), value in zip(FIELDS, astuple(mandate), strict=True)}
    message["assets"] = list(mandate.assets)
    theirs = _hash_eip191_message(encode_typed_data(domain, types, message))
    assert mandate_digest(mandate_domain(chain_id, escrow), mandate) == theirs


def test_an_asset_of_another_length_is_refused() -> None:
    address = "0x" + "11" * 20
    with pytest.raises(ValueError, match="31 bytes"):
        mandate_digest(
            b"\0" * 32, Mandate(address, address, address, 1, 1, 1, 60, 1, 0, 1, 2, (b"\1" * 31,), 1)
        )
