"""What signs a receipt: the segment that holds it, and the certificate of the replica that signed the segment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SignedSegment:
    """A receipt's path to its segment's root, the replica's signature, and the replica's certificate.

    Validity times are Unix seconds, `valid_from <= t < valid_until`; addresses are lowercase.
    """

    root: bytes
    receipts: int
    path: tuple[bytes, ...]
    signature: bytes
    operator: str
    replica: str
    valid_from: int
    valid_until: int
    certificate_signature: bytes


@dataclass(frozen=True, slots=True)
class OperatorKey:
    """A receipt key of an operator, valid while `valid_from <= t < valid_until` (Unix seconds)."""

    position_id: str
    chain_id: int
    operator: str
    receipt_key: str
    valid_from: int
    valid_until: int
    block_number: int
    log_index: int


# Receipt key to the interval in which the operator's chain states it as valid.
KeyIntervals = Mapping[str, tuple[int, int]]
