"""What is recorded of a call when it ends."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from licet_gateway.domain import CallRecord, Outcome

if TYPE_CHECKING:
    from licet_gateway.dataplane.answer import Answer
    from licet_gateway.dataplane.forwarding import Sent


def ended_call(
    outcome: Outcome,
    units: int,
    *,
    name: str,
    sequence: int,
    started_ns: int,
    bytes_in: int,
    request: Sent | None,
    answer: Answer | None,
) -> CallRecord:
    """The record of a call that ends now; without an answer it commits to nothing but its own name."""
    nothing = hashlib.sha256(name.encode()).digest()
    return CallRecord(
        sequence=sequence,
        units=units,
        outcome=outcome,
        last=False,
        started_ns=started_ns,
        ended_ns=time.time_ns(),
        bytes_in=bytes_in,
        bytes_out=answer.bytes_out if answer is not None else 0,
        request_commitment=request.commitment() if request is not None else nothing,
        response_commitment=answer.commitment() if answer is not None else nothing,
    )
