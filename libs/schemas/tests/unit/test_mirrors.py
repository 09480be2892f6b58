"""Python hashes mirror statements and lineages as the vectors say."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from licet_schemas import eip712
from licet_schemas.mirrors import MirrorStatement, lineage_hash, mirror_digest, mirror_domain
from licet_schemas.words import keccak

VECTORS = Path(__file__).resolve().parents[4] / "proto/vectors/mirrors.json"


def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(VECTORS.read_text(encoding="utf-8"))
    return content


def _statement(vector: dict[str, Any]) -> MirrorStatement:
    return MirrorStatement(
        slug=vector["slug"],
        home_chain_id=int(vector["homeChainId"]),
        home_registry=vector["homeRegistry"],
        home_owner=vector["homeOwner"],
        epoch=int(vector["epoch"]),
        owner=vector["owner"],
        valid_until=int(vector["validUntil"]),
        nonce=int(vector["nonce"]),
    )


def test_statements_have_the_digests_and_signers_of_the_vectors() -> None:
    content = _content()
    domain = mirror_domain(content["domain"]["chainId"], content["domain"]["verifyingContract"])
    assert len(content["mirrors"]) == 3
    for vector in content["mirrors"]:
        digest = mirror_digest(domain, _statement(vector["mirror"]))
        assert "0x" + digest.hex() == vector["digest"]
        assert eip712.recover(digest, bytes.fromhex(vector["signature"][2:])) == vector["signer"]
        signature = eip712.sign(digest, keccak(vector["keyLabel"].encode()))
        assert "0x" + signature.hex() == vector["signature"]


def test_lineages_have_the_hashes_of_the_vectors() -> None:
    lineages = _content()["lineages"]
    assert [len(entry["parents"]) for entry in lineages] == [0, 1, 8]
    for entry in lineages:
        parents = tuple((bytes.fromhex(p["assetId"][2:]), p["royaltyBp"]) for p in entry["parents"])
        assert "0x" + lineage_hash(parents).hex() == entry["lineage"]


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(MirrorStatement)])
def test_every_field_is_signed(field: str) -> None:
    statement = _statement(_content()["mirrors"][0]["mirror"])
    domain = mirror_domain(1, "0x" + "11" * 20)
    value = getattr(statement, field)
    if isinstance(value, int):
        changed: int | str = value + 1
    else:
        changed = "0x" + "22" * 20 if value.startswith("0x") else value + "x"
    fields = dataclasses.asdict(statement) | {field: changed}
    other = MirrorStatement(**fields)
    assert mirror_digest(domain, other) != mirror_digest(domain, statement)
