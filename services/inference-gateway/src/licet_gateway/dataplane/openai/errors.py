"""OpenAI's error shape for everything that this gateway refuses.

`code` and `type` are OpenAI's, which its clients act on; the code of this system is beside them as `licet_code`, and
what a caller can do about it as `remedy`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from licet_gateway.domain import Refusal

INVALID: Final = "invalid_request_error"
SERVER: Final = "server_error"
# What the platform's runners put before the reason of a refusal; anything else is a fault of the model.
RUNNER_CODES: Final = frozenset({"context_length_exceeded", "invalid_value"})
_BY_CODE: Final[dict[str, tuple[str, str]]] = {
    "credential_missing": (INVALID, "invalid_api_key"),
    "credential_invalid": (INVALID, "invalid_api_key"),
    "model_unknown": (INVALID, "model_not_found"),
    "request_too_large": (INVALID, "request_too_large"),
    "quota_exhausted": ("insufficient_quota", "insufficient_quota"),
    "rate_limited": ("requests", "rate_limit_exceeded"),
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """An answer that refuses: its status, its JSON body, and headers for OpenAI's clients."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class BadRequest(Exception):
    """The request cannot be served as it is; `param` names the field at fault."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message, self.param, self.code = message, param, code

    def rendered(self) -> Rendered:
        """The answer to it."""
        return Rendered(400, _body(self.message, INVALID, self.param, self.code))


def refused(refusal: Refusal) -> Rendered:
    """The answer to a refusal of licensing's or the gateway's.

    An exhausted quota shares its status with a rate limit; the header keeps clients from trying it again in vain.
    """
    kind, code = _BY_CODE.get(refusal.code, (_kind(refusal.status), refusal.code))
    body = _body(
        refusal.message,
        kind,
        "model" if refusal.code == "model_unknown" else None,
        code,
        licet_code=refusal.code,
        remedy=refusal.remedy,
        **({"decision_id": refusal.decision_id} if refusal.decision_id else {}),
    )
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if refusal.code == "quota_exhausted":
        headers = ((b"x-should-retry", b"false"),)
    return Rendered(refusal.status, body, headers)


def failed(message: str) -> Rendered:
    """The answer to an error of Triton's, in its words where the runner refused the caller's values."""
    code, found, reason = message.partition(": ")
    if found and code in RUNNER_CODES:
        return Rendered(400, _body(reason, INVALID, None, code))
    # Words of Triton's own may name files and pinned models.
    return Rendered(502, _body("the model failed; nothing was charged", SERVER, None, "model_failed"))


def plain(status: int, message: str) -> Rendered:
    """The answer to what cannot be understood, or what failed on the way."""
    return Rendered(status, _body(message, _kind(status), None, None))


def event(rendered: Rendered) -> bytes:
    """The same as an event of a stream that has begun already."""
    return b"data: " + rendered.body + b"\n\n"


def _kind(status: int) -> str:
    if status == 403:
        return "permission_error"
    return SERVER if status >= 500 else INVALID


def _body(message: str, kind: str, param: str | None, code: str | None, **more: Any) -> bytes:
    error = {"message": message, "type": kind, "param": param, "code": code, **more}
    return json.dumps({"error": error}, separators=(",", ":")).encode()
