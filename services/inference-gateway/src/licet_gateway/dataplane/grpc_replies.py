"""What the gateway says itself over gRPC: heads of answers, refusals and errors, as encoded header blocks."""

from __future__ import annotations

import uuid
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from licet_gateway.dataplane.h2 import blocks
from licet_gateway.dataplane.replies import token
from licet_gateway.domain import Refusal

if TYPE_CHECKING:
    from licet_gateway.dataplane.lease import Lease

OK: Final = 0
INVALID_ARGUMENT: Final = 3
DEADLINE_EXCEEDED: Final = 4
NOT_FOUND: Final = 5
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
UNAVAILABLE: Final = 14
UNAUTHENTICATED: Final = 16

# From the HTTP status of a refusal (docs/architecture/interfaces.md), or of an error that is nobody's decision.
_STATUS: Final = {
    400: INVALID_ARGUMENT,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: NOT_FOUND,
    413: RESOURCE_EXHAUSTED,
    429: RESOURCE_EXHAUSTED,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: DEADLINE_EXCEEDED,
}


def status_of(http_status: int) -> int:
    """The gRPC status of what would have this one over HTTP."""
    return _STATUS.get(http_status, UNAVAILABLE)


def refusal_fields(refusal: Refusal, name: str = "") -> blocks.Fields:
    """What a refusal says beside its message."""
    fields = [
        (b"x-licet-request-id", (name or uuid.uuid4().hex).encode()),
        (b"x-licet-code", refusal.code.encode()),
        (b"x-licet-remedy", blocks.percent_encode(refusal.remedy)),
    ]
    if refusal.decision_id:
        fields.append((b"x-licet-decision-id", token(refusal.decision_id).encode()))
    if refusal.retry_after_ms:
        fields.append((b"retry-after", b"%d" % -(-refusal.retry_after_ms // 1000)))
    return tuple(fields)


def _literal(name: bytes) -> bytes:
    """The beginning of a field without indexing: its value's length and its value follow (RFC 7541, section 6.2.2)."""
    return b"\0%c%s" % (len(name), name)


_REQUEST_ID: Final = _literal(b"x-licet-request-id")
_RECEIPT_ID: Final = _literal(b"x-licet-receipt-id")
_UNITS: Final = _literal(b"x-licet-units")
_REMAINING: Final = _literal(b"x-licet-units-remaining")


@lru_cache(maxsize=4096)
def _decision(decision_id: str) -> bytes:
    return blocks.response_head(((b"x-licet-decision-id", token(decision_id).encode()),))


def answer_head(lease: Lease, name: bytes, units: int | None) -> bytes:
    """The head of an answer; `units` where they are known by now. Names and numbers are shorter than 127 bytes."""
    size = len(name)
    remaining = b"%d" % (lease.units_remaining + lease.available)
    block = b"%s%s%c%s%s%c%s%s%c%s" % (
        _decision(lease.terms.decision_id),
        _REQUEST_ID,
        size,
        name,
        _RECEIPT_ID,
        size,
        name,
        _REMAINING,
        len(remaining),
        remaining,
    )
    if units is None:
        return block
    stated = b"%d" % units
    return b"%s%s%c%s" % (block, _UNITS, len(stated), stated)
