"""The vectors of what wallets sign are what EIP-712 says, encoded word by word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from licet_schemas import eip712
from licet_schemas.words import address_word, bytes32, keccak, uint_word

VECTORS = Path(__file__).resolve().parents[4] / "proto/vectors/signed.json"
DOMAIN = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
# List of the file, name of its domain, and its type.
TYPES = (
    (
        "credentials",
        "Licet Credential",
        "Credential(bytes32 assetId,address subject,uint8 class,uint16 jurisdiction,uint64 expiresAt,uint256 nonce)",
    ),
    (
        "orders",
        "Licet Order",
        "Order(address maker,uint8 side,uint8 standard,address token,uint256 tokenId,uint128 amount,"
        "address currency,uint128 startPrice,uint128 endPrice,uint64 startTime,uint64 endTime,address taker,"
        "uint256 nonce,uint64 epoch,bytes32 stateHash)",
    ),
    (
        "purchases",
        "Licet Purchase",
        "PurchaseIntent(uint256 planId,address recipient,uint128 maxPrice,uint64 deadline,uint256 nonce)",
    ),
    (
        "vouchers",
        "Licet Voucher",
        "Voucher(address payer,address operator,address token,bytes32 channel,uint128 cumulative)",
    ),
)


def _word(kind: str, value: Any) -> bytes:
    if kind == "address":
        return address_word(value)
    if kind == "bytes32":
        return bytes32(bytes.fromhex(value[2:]))
    return uint_word(int(value), int(kind.removeprefix("uint")))


def _digest(content: dict[str, Any], domain: str, type_: str, message: dict[str, Any]) -> bytes:
    name, _, fields = type_.removesuffix(")").partition("(")
    kinds = [field.split() for field in fields.split(",")]
    assert [title for _, title in kinds] == list(message), f"fields of {name} in their order"
    struct = keccak(keccak(type_.encode()) + b"".join(_word(kind, message[title]) for kind, title in kinds))
    place = content["domain"]
    words = (keccak(DOMAIN), keccak(domain.encode()), keccak(b"1"), uint_word(place["chainId"], 256))
    separator = keccak(b"".join(words) + address_word(place["verifyingContract"]))
    return keccak(b"\x19\x01" + separator + struct)


@pytest.mark.parametrize(("title", "domain", "type_"), TYPES)
def test_digests_and_signers_are_those_of_the_vectors(title: str, domain: str, type_: str) -> None:
    content = json.loads(VECTORS.read_text(encoding="utf-8"))
    assert len(content[title]) == 3
    for vector in content[title]:
        name = type_.partition("(")[0]
        digest = _digest(content, domain, type_, vector[name[0].lower() + name[1:]])
        assert "0x" + digest.hex() == vector["digest"]
        assert eip712.recover(digest, bytes.fromhex(vector["signature"][2:])) == vector["signer"]
        signature = eip712.sign(digest, keccak(vector["keyLabel"].encode()))
        assert "0x" + signature.hex() == vector["signature"]
