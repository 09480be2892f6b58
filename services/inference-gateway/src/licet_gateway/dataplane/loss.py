"""Why an exchange with a replica ends without a whole answer, and in what words its client is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from licet_gateway.dataplane.refusals import NOT_READY, QUEUED_TOO_LONG
from licet_gateway.domain import Refusal


@dataclass(frozen=True, slots=True)
class Loss:
    """`refusal` is for a call that was not begun, `status` and `message` for one that was."""

    status: int
    message: str
    refusal: Refusal = NOT_READY
    # Another replica may do what this one could not.
    elsewhere: bool = False
    # Not a byte of the answer was heard: the request may be sent again where that is safe.
    silent: bool = False
    # This replica cannot have run it: it never had the whole request.
    untouched: bool = False


UNREACHABLE: Final = Loss(503, "the inference server cannot be reached", elsewhere=True)
WAITED: Final = Loss(503, QUEUED_TOO_LONG.message, QUEUED_TOO_LONG)
_CUT: Final = "the inference server closed the connection before its answer was complete"
CUT: Final = Loss(502, _CUT)
CUT_SILENT: Final = Loss(502, _CUT, silent=True)
CUT_UNTOUCHED: Final = Loss(502, _CUT, silent=True, untouched=True)
