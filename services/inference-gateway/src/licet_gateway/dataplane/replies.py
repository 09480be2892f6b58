"""What the gateway says itself: refusals and errors to clients, and its own head lines to Triton."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from licet_gateway.domain import Refusal

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


def render_refusal(refusal: Refusal, *, request_id: str = "", close: bool = False) -> bytes:
    """A refusal on a KServe route: Triton's `error`, with the code and what to do about it."""
    body = {"error": refusal.message, "code": refusal.code, "remedy": refusal.remedy}
    headers = [f"x-licet-request-id: {request_id or uuid.uuid4().hex}\r\n"]
    if refusal.decision_id:
        headers.append(f"x-licet-decision-id: {token(refusal.decision_id)}\r\n")
    if refusal.retry_after_ms:
        headers.append(f"Retry-After: {-(-refusal.retry_after_ms // 1000)}\r\n")
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers.append("WWW-Authenticate: Bearer\r\n")
    return _render(refusal.status, json.dumps(body).encode(), "".join(headers).encode(), close=close)


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
