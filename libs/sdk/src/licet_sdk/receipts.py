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


def line_of(answer: dict[str, Any]) -> settlement.Line:
    """The line of the batch that the charge was settled with; `_settlement` proves it."""
    fields = answer["settlement"]["line"]
    item = settlement.Item(
        Web3.to_checksum_address(fields["payer"]),
        _bytes(fields["authority"]),
        int(fields["window"]),
        int(fields["amount"]),
        _bytes(fields["payer_root"]),
        int(fields["records"]),
    )
    token = Web3.to_checksum_address(fields["token"])
    return settlement.Line(int(fields["index"]), _bytes(fields["asset_id"]), token, item)


def steps_of(answer: dict[str, Any]) -> list[sumtree.Step]:
    """From the charge to its line's root."""
    steps = answer["settlement"]["steps"]
    return [sumtree.Step(_bytes(s["hash"]), int(s["sum"]), bool(s["left"])) for s in steps]


def proof_of(answer: dict[str, Any]) -> list[bytes]:
    """From the line to its batch's root."""
    return [_bytes(sibling) for sibling in answer["settlement"]["line_proof"]]


def _settlement(answer: dict[str, Any], receipt_hash: bytes, chain: Chain) -> list[Check]:
    charge, settled = answer["charge"], answer["settlement"]
    line = line_of(answer)
    item = line.item
    leaf = sumtree.Charge(
        receipt_hash, int(charge["amount"]), charge["currency"], charge["payer"], _bytes(charge["salt"])
    )
    if not sumtree.verify(leaf, steps_of(answer), item.payer_root, item.amount):
        raise VerificationFailed("charge_altered", "the charge is not a leaf of the payer's sum tree")
    _check_line(answer, line)
    operator = Web3.to_checksum_address(settled["operator"])
    root = bytes(chain.call("UsageEscrow", "batchRootOf", operator, int(settled["batch"])))
    if not merkle.verify(settlement.line_leaf(line), proof_of(answer), root):
        raise VerificationFailed("batch_altered", f"the line is not in batch {settled['batch']} on chain")
    by = "" if item.authority == settlement.DIRECT else f" by 0x{item.authority.hex()}"
    return [
        Check("charge", f"{charge['amount']} is one leaf of {item.records} that sum to {item.amount}"),
        Check(
            "settlement",
            f"batch {settled['batch']}{by}, root 0x{root.hex()} on chain, tx {settled['tx_hash']}",
        ),
    ]


def _check_line(answer: dict[str, Any], line: settlement.Line) -> None:
    """The line is of the charge's payer, in its currency, by the operator that certified the call, and for the asset
    that was called."""
    charge, certified = answer["charge"], answer["segment"]["certificate"]["operator"]
    stated = (charge["payer"], certified, charge["currency"], answer["receipt"]["asset_id"])
    found = (line.item.payer, answer["settlement"]["operator"], line.token, "0x" + line.asset_id.hex())
    if [value.lower() for value in stated] != [value.lower() for value in found]:
        raise VerificationFailed(
            "charge_misplaced", "the settled line is not of this payer, operator, currency and asset"
        )


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
