"""What is recorded of a call when it ends."""

from __future__ import annotations

import hashlib
import time

from licet_gateway.domain import CallRecord, Outcome


def ended(
    outcome: Outcome,
    units: int,
    *,
    name: str,
    sequence: int,
    started_ns: int,
    bytes_in: int,
    bytes_out: int,
    commitments: tuple[bytes | None, bytes | None],
) -> CallRecord:
    """The record of a call that ends now. `commitments` are to its request and its answer: what is None of them becomes
    one to nothing but the call's own name."""
    request, response = commitments
    nothing = b"" if request and response else hashlib.sha256(name.encode()).digest()
    return CallRecord(
        sequence=sequence,
        units=units,
        outcome=outcome,
        last=False,
        started_ns=started_ns,
        ended_ns=time.time_ns(),
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        request_commitment=request or nothing,
        response_commitment=response or nothing,
    )
