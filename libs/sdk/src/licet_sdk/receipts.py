"""Verifies a receipt against the chain alone: no service's word is taken for anything.

The hashes are those of proto/vectors; the receipt key of the operator, the root of the batch and the amount drawn come
from the UsageEscrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from licet_schemas import eip712, merkle, settlement, sumtree
from web3 import Web3

from licet_sdk.chain import Chain
from licet_sdk.errors import VerificationFailed


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was proven, and by what."""

    name: str
    detail: str


def verify(answer: dict[str, Any], chain: Chain, request_id: str) -> list[Check]:
    """Checks signature, certificate, charge and settlement of billing's receipt answer for one request.

    Returns what was proven. Raises VerificationFailed at the first thing that does not hold, and when the receipt is
    still provisional, because then nothing is proven yet.
    """
    try:
        return _verify(answer, chain, request_id)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise VerificationFailed(
            "receipt_malformed", f"the answer is no receipt: {type(error).__name__}: {error}", "report it"
        ) from error


def _verify(answer: dict[str, Any], chain: Chain, request_id: str) -> list[Check]:
    if answer["receipt"]["request_id"] != request_id:
        raise VerificationFailed(
            "wrong_receipt", f"the answer is the receipt of {answer['receipt']['request_id']}", "report it"
        )
    if answer["chain_id"] != chain.chain_id or answer["escrow"] != chain.addresses["UsageEscrow"].lower():
        raise VerificationFailed(
            "wrong_chain", "the receipt names another chain or escrow", "use its chains file"
        )
    if answer["segment"] is None:
        raise VerificationFailed(
            "receipt_provisional", "its segment is not signed yet", "try again in some seconds"
        )
    domain = eip712.domain_separator(chain.chain_id, answer["escrow"])
    receipt_hash = eip712.receipt_digest(domain, _receipt(answer["receipt"]))
    checks = [_signature(answer, domain, receipt_hash), _certificate(answer, domain, chain)]
    if answer["charge"]["amount"] == "0":
        return [*checks, Check("charge", "covered by the license's included units, nothing drawn")]
    if answer["settlement"] is None:
        return [*checks, Check("charge", f"{answer['charge']['amount']} due, not settled yet")]
    return [*checks, *_settlement(answer, receipt_hash, chain)]


def _receipt(fields: dict[str, Any]) -> eip712.Receipt:
    raw = {
        name: _bytes(fields[name])
        for name in ("asset_id", "version_digest", "request_commitment", "response_commitment")
    }
    return eip712.Receipt(**{**fields, **raw})


def _signature(answer: dict[str, Any], domain: bytes, receipt_hash: bytes) -> Check:
    segment = answer["segment"]
    root = _bytes(segment["root"])
    if not merkle.verify(merkle.leaf(receipt_hash), [_bytes(p) for p in segment["path"]], root):
        raise VerificationFailed("receipt_altered", "the receipt is not in the segment that was signed")
    digest = eip712.segment_digest(domain, eip712.Segment(root, segment["receipts"]))
    signer = eip712.recover(digest, _bytes(segment["signature"]))
    if signer != segment["certificate"]["replica"]:
        raise VerificationFailed("signature_invalid", f"signed by {signer}, not by the certified replica")
    return Check("signature", f"replica {signer} signed the segment of {segment['receipts']} receipts")


def _certificate(answer: dict[str, Any], domain: bytes, chain: Chain) -> Check:
    given = answer["segment"]["certificate"]
    certificate = eip712.ReplicaCertificate(
        given["operator"], given["replica"], int(given["valid_from"]), int(given["valid_until"])
    )
    ended_s = int(answer["receipt"]["ended_at_ms"]) // 1000
    if not certificate.valid_from <= ended_s < certificate.valid_until:
        raise VerificationFailed("certificate_expired", "the call lies outside the replica's certificate")
    key = eip712.recover(eip712.certificate_digest(domain, certificate), _bytes(given["signature"]))
    operator = Web3.to_checksum_address(certificate.operator)
    if not chain.call("UsageEscrow", "isReceiptKeyValid", operator, Web3.to_checksum_address(key), ended_s):
        raise VerificationFailed(
            "certificate_invalid", f"{key} is no receipt key of operator {operator} at that time"
        )
    return Check("certificate", f"receipt key {key} of operator {operator}, read from the escrow")


def _settlement(answer: dict[str, Any], receipt_hash: bytes, chain: Chain) -> list[Check]:
    charge, settled = answer["charge"], answer["settlement"]
    item = _item(settled["item"])
    leaf = sumtree.Charge(
        receipt_hash, int(charge["amount"]), charge["currency"], charge["payer"], _bytes(charge["salt"])
    )
    steps = [sumtree.Step(_bytes(s["hash"]), int(s["sum"]), bool(s["left"])) for s in settled["steps"]]
    if not sumtree.verify(leaf, steps, item.payer_root, item.amount):
        raise VerificationFailed("charge_altered", "the charge is not a leaf of the payer's sum tree")
    operator = Web3.to_checksum_address(settled["operator"])
    _check_source(answer, item, chain)
    root = bytes(chain.call("UsageEscrow", "batchRootOf", operator, int(settled["batch"])))
    proof = [_bytes(p) for p in settled["item_proof"]]
    if not merkle.verify(settlement.item_leaf(item), proof, root):
        raise VerificationFailed("batch_altered", f"the item is not in batch {settled['batch']} on chain")
    return [
        Check("charge", f"{charge['amount']} is one leaf of {item.records} that sum to {item.amount}"),
        Check(
            "settlement", f"batch {settled['batch']}, root 0x{root.hex()} on chain, tx {settled['tx_hash']}"
        ),
    ]


def _check_source(answer: dict[str, Any], item: settlement.Item, chain: Chain) -> None:
    """The item draws from a deposit of the charge's payer, in its currency, at the operator that certified the call,
    and for the asset that was called."""
    payer, operator, token = chain.call("UsageEscrow", "depositOf", item.source)[:3]
    charge, certified = answer["charge"], answer["segment"]["certificate"]["operator"]
    stated = (charge["payer"], certified, charge["currency"], answer["receipt"]["asset_id"])
    settled_by = answer["settlement"]["operator"]
    found = (payer.lower(), operator.lower(), token.lower(), "0x" + item.asset_id.hex())
    if tuple(value.lower() for value in stated) != found or settled_by.lower() != operator.lower():
        raise VerificationFailed(
            "charge_misplaced", "the settled item is not of this payer, operator, currency and asset"
        )


def _item(fields: dict[str, Any]) -> settlement.Item:
    return settlement.Item(
        _bytes(fields["source"]),
        _bytes(fields["asset_id"]),
        int(fields["window"]),
        int(fields["amount"]),
        _bytes(fields["payer_root"]),
        int(fields["records"]),
    )


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
