"""Python agrees with the vectors, which other implementations wrote."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from licet_schemas import eip712, merkle, settlement, sumtree
from licet_schemas.words import keccak

VECTORS = Path(__file__).resolve().parents[4] / "proto/vectors"


def load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def raw(value: str) -> bytes:
    return bytes.fromhex(value[2:])


def receipt(v: dict[str, Any]) -> eip712.Receipt:
    return eip712.Receipt(
        request_id=v["requestId"],
        account_id=v["accountId"],
        account_lease=int(v["accountLease"]),
        sequence=int(v["sequence"]),
        last=v["last"],
        grant_id=v["grantId"],
        asset_id=raw(v["assetId"]),
        version_digest=raw(v["versionDigest"]),
        plan_id=int(v["planId"]),
        metering_rule=v["meteringRule"],
        units=int(v["units"]),
        price_book_version=v["priceBookVersion"],
        outcome=v["outcome"],
        started_at_ms=int(v["startedAtMs"]),
        ended_at_ms=int(v["endedAtMs"]),
        request_commitment=raw(v["requestCommitment"]),
        response_commitment=raw(v["responseCommitment"]),
    )


def charge(v: dict[str, Any]) -> sumtree.Charge:
    salt = raw(v["salt"])
    return sumtree.Charge(raw(v["receiptHash"]), int(v["amount"]), v["currency"], v["payer"], salt)


def step(v: dict[str, Any]) -> sumtree.Step:
    return sumtree.Step(raw(v["hash"]), int(v["sum"]), v["left"])


def item(v: dict[str, Any]) -> settlement.Item:
    return settlement.Item(
        payer=v["payer"],
        authority=raw(v["authority"]),
        window=v["window"],
        amount=int(v["amount"]),
        payer_root=raw(v["payerRoot"]),
        records=v["records"],
    )


def group(v: dict[str, Any]) -> settlement.Group:
    return settlement.Group(raw(v["assetId"]), v["token"], tuple(item(i) for i in v["items"]))


def domain() -> bytes:
    where = load("receipts")["domain"]
    return eip712.domain_separator(where["chainId"], where["verifyingContract"])


def assert_signed(vector: dict[str, Any], digest: bytes) -> None:
    key = keccak(vector["keyLabel"].encode())
    assert digest == raw(vector["digest"])
    assert eip712.address_of(key) == vector["signer"]
    assert eip712.sign(digest, key) == raw(vector["signature"])
    assert eip712.recover(digest, raw(vector["signature"])) == vector["signer"]


def test_receipts_hash_and_sign_as_the_vectors_say() -> None:
    vectors = load("receipts")["receipts"]
    assert len(vectors) == 6
    for vector in vectors:
        assert_signed(vector, eip712.receipt_digest(domain(), receipt(vector["receipt"])))


def test_certificates_hash_and_sign_as_the_vectors_say() -> None:
    vectors = load("receipts")["certificates"]
    assert len(vectors) == 2
    for vector in vectors:
        v = vector["replicaCertificate"]
        certificate = eip712.ReplicaCertificate(
            v["operator"], v["replica"], int(v["validFrom"]), int(v["validUntil"])
        )
        assert_signed(vector, eip712.certificate_digest(domain(), certificate))


def test_segments_hash_and_sign_as_the_vectors_say() -> None:
    vectors = load("receipts")["segments"]
    assert len(vectors) == 2
    for vector in vectors:
        segment = eip712.Segment(raw(vector["segment"]["root"]), vector["segment"]["receipts"])
        assert_signed(vector, eip712.segment_digest(domain(), segment))


def test_merkle_trees_equal_openzeppelins() -> None:
    vectors = load("merkle")["trees"]
    assert [len(v["payloads"]) for v in vectors] == [1, 2, 3, 4, 5, 7, 8, 13, 32, 33]
    for vector in vectors:
        leaves = [merkle.leaf(raw(payload)) for payload in vector["payloads"]]
        assert leaves == [raw(x) for x in vector["leaves"]]
        tree = merkle.tree(leaves)
        assert tree.root == raw(vector["root"])
        for i, proof in enumerate(vector["proofs"]):
            assert tree.proof(i) == [raw(x) for x in proof]
            assert merkle.verify(leaves[i], tree.proof(i), tree.root)


@pytest.mark.parametrize("vector", load("sumtree")["trees"], ids=lambda v: f"{len(v['charges'])}-{v['sum']}")
def test_sum_trees_equal_the_vectors(vector: dict[str, Any]) -> None:
    charges = [charge(c) for c in vector["charges"]]
    assert [sumtree.leaf_hash(c) for c in charges] == [raw(x) for x in vector["leaves"]]
    tree = sumtree.build(charges)
    assert (tree.root, tree.sum) == (raw(vector["root"]), int(vector["sum"]))
    for i, proof in enumerate(vector["proofs"]):
        steps = [step(s) for s in proof]
        assert tree.proof(i) == steps
        assert sumtree.verify(charges[i], steps, tree.root, tree.sum)


def test_batches_equal_the_vectors() -> None:
    for vector in load("settlement")["batches"]:
        lines = settlement.lines_of([group(v) for v in vector["groups"]])
        assert [settlement.line_leaf(line) for line in lines] == [raw(x) for x in vector["leaves"]]
        tree = settlement.batch_tree(lines)
        assert tree.root == raw(vector["root"])
        for i, line in enumerate(lines):
            payers = sumtree.build([charge(c) for c in vector["trees"][i]["charges"]])
            leaves = len(payers.levels[0])
            stated = (line.item.payer_root, line.item.amount, line.item.records)
            assert (payers.root, payers.sum, leaves) == stated
            assert merkle.verify(settlement.line_leaf(line), tree.proof(i), tree.root)


def test_the_vectors_are_what_their_generator_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("vector_generator", VECTORS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    monkeypatch.setattr(generator, "HERE", tmp_path)
    generator.main()
    written = sorted(path.name for path in tmp_path.iterdir())
    rest = ("settlement.json", "signed.json", "sumtree.json")
    assert written == ["mandates.json", "mirrors.json", "receipts.json", *rest]
    for name in written:
        assert (tmp_path / name).read_bytes() == (VECTORS / name).read_bytes()
