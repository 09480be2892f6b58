"""What the gateway says itself: refusals and errors to clients, and its own head lines to Triton."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from licet_gateway.domain import Refusal

if TYPE_CHECKING:
    from licet_gateway.dataplane.lease import Lease

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE: Final = b"Connection: close\r\n"


_FORWARDED: Final = (
    (b"content-type", b"Content-Type: %s\r\n"),
    (b"inference-header-content-length", b"Inference-Header-Content-Length: %s\r\n"),
    (b"traceparent", b"traceparent: %s\r\n"),
    (b"tracestate", b"tracestate: %s\r\n"),
)


def render_fields(fields: Mapping[bytes, bytes]) -> bytes:
    """The header lines that Triton gets of a client's."""
    return b"".join(line % fields[name] for name, line in _FORWARDED if name in fields)


def own_headers(lease: Lease, name: bytes, units: int | None) -> bytes:
    """What every answer says of its call; `units` where they are known by now."""
    headers = (
        b"x-licet-request-id: %s\r\nx-licet-decision-id: %s\r\nx-licet-receipt-id: %s\r\n"
        b"x-licet-units-remaining: %d\r\n"
        % (name, lease.terms.decision_id.encode(), name, lease.units_remaining + lease.available)
    )
    if units is not None:
        headers += b"x-licet-units: %d\r\n" % units
    rate = lease.limits.requests_per_s
    if not rate:
        return headers
    return headers + b'RateLimit-Policy: "requests";q=%d;w=1\r\nRateLimit: "requests";r=%d;t=1\r\n' % (
        rate,
        lease.share.tokens_left(),
    )


def render_refusal(refusal: Refusal, *, request_id: str = "", close: bool = False) -> bytes:
    """A refusal on a KServe route: Triton's `error`, with the code and what to do about it."""
    body = {"error": refusal.message, "code": refusal.code, "remedy": refusal.remedy}
    headers = refusal_headers(refusal, request_id or uuid.uuid4().hex)
    return _render(refusal.status, json.dumps(body).encode(), headers, close=close)


def refusal_headers(refusal: Refusal, request_id: str) -> bytes:
    """What a refusal says outside of its body."""
    headers = [f"x-licet-request-id: {request_id}\r\n"]
    if refusal.decision_id:
        headers.append(f"x-licet-decision-id: {token(refusal.decision_id)}\r\n")
    if refusal.retry_after_ms:
        headers.append(f"Retry-After: {-(-refusal.retry_after_ms // 1000)}\r\n")
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers.append("WWW-Authenticate: Bearer\r\n")
    return "".join(headers).encode()


def render_error(status: int, message: str, *, headers: bytes = b"", close: bool = False) -> bytes:
    """An error that is nobody's decision, in Triton's shape."""
    return _render(status, json.dumps({"error": message}).encode(), headers, close=close)


def render_json(body: bytes, *, close: bool = False) -> bytes:
    return _render(200, body, b"", close=close)


def render_empty(status: int, *, close: bool = False) -> bytes:
    return _render(status, b"", b"", close=close)


def _render(status: int, body: bytes, headers: bytes, *, close: bool) -> bytes:
    return b"HTTP/1.1 %d %s\r\n%s%s%sContent-Length: %d\r\n\r\n%s" % (
        status,
        HTTPStatus(status).phrase.encode(),
        b"Content-Type: application/json\r\n" if body else b"",
        headers,
        CLOSE if close else b"",
        len(body),
        body,
    )


def token(text: str) -> str:
    """Text that another service chose, made safe for a header line."""
    return "".join(c for c in text if "\x21" <= c <= "\x7e")[:128]
