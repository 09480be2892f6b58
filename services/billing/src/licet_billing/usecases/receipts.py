"""Verifies that an operator's certified replica signed a usage receipt."""

from __future__ import annotations

import functools

from licet_schemas import eip712, merkle

from licet_billing.domain.errors import ReceiptInvalid, ReceiptKeyUnknown
from licet_billing.domain.receipts import KeyIntervals, SignedSegment
from licet_billing.domain.usage import UsageRecord
from licet_billing.events import receipt

# One signature covers a segment of up to thousands of records, and one certificate all segments of a replica.
_RECOVERED = 4096


@functools.lru_cache(maxsize=_RECOVERED)
def _recover(digest: bytes, signature: bytes) -> str:
    return eip712.recover(digest, signature)


def verify(
    record: UsageRecord, segment: SignedSegment, *, domain: bytes, operator: str, keys: KeyIntervals
) -> bytes:
    """Returns the receipt's digest if its signatures lead to a key that `operator` states on chain.

    Raises ReceiptInvalid for a path, signature, certificate or time that does not fit, and ReceiptKeyUnknown
    where the key that signed the certificate is not on chain as far as billing has heard.
    """
    ended_s = record.ended_at_ms // 1000
    try:
        digest = eip712.receipt_digest(domain, receipt(record))
        _check_segment(record, segment, domain, digest)
        signer = _certificate_signer(segment, domain)
    except ValueError as error:  # a hash of another length, an address that is none, a signature of nobody
        raise ReceiptInvalid(record.request_id, str(error)) from error
    if segment.operator != operator:
        raise ReceiptInvalid(record.request_id, f"certified by {segment.operator}, served by {operator}")
    if not segment.valid_from <= ended_s < segment.valid_until:
        raise ReceiptInvalid(record.request_id, "the call lies outside the replica's certificate")
    if signer not in keys:
        raise ReceiptKeyUnknown(operator, signer)
    valid_from, valid_until = keys[signer]
    if not valid_from <= ended_s < valid_until:
        raise ReceiptInvalid(record.request_id, f"receipt key {signer} is not valid at the time of the call")
    return digest


def _check_segment(record: UsageRecord, segment: SignedSegment, domain: bytes, digest: bytes) -> None:
    if not merkle.verify(merkle.leaf(digest), segment.path, segment.root):
        raise ReceiptInvalid(record.request_id, "the receipt is not in the segment")
    signed = eip712.segment_digest(domain, eip712.Segment(segment.root, segment.receipts))
    if _recover(signed, segment.signature) != segment.replica:
        raise ReceiptInvalid(record.request_id, "the segment is not signed by the certified replica")


def _certificate_signer(segment: SignedSegment, domain: bytes) -> str:
    certificate = eip712.ReplicaCertificate(
        segment.operator, segment.replica, segment.valid_from, segment.valid_until
    )
    return _recover(eip712.certificate_digest(domain, certificate), segment.certificate_signature)
