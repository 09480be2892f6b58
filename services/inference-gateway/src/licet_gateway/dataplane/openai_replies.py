"""Heads of answers, refusals and errors on OpenAI's routes."""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING

from licet_gateway.dataplane.openai import errors
from licet_gateway.dataplane.openai.answers import CONTENT_TYPE_STREAM
from licet_gateway.dataplane.replies import CLOSE, own_headers, refusal_headers
from licet_gateway.domain import Refusal

if TYPE_CHECKING:
    from licet_gateway.dataplane.lease import Lease


def render(rendered: errors.Rendered, *, headers: bytes = b"", request_id: str = "", close: bool) -> bytes:
    """A whole answer of an error's."""
    own = b"".join(b"%s: %s\r\n" % pair for pair in rendered.headers)
    name = (request_id or uuid.uuid4().hex).encode() if not headers else b""
    ids = b"x-licet-request-id: %s\r\nx-request-id: %s\r\n" % (name, name) if name else b""
    return b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n%s%s%s%sContent-Length: %d\r\n\r\n%s" % (
        rendered.status,
        HTTPStatus(rendered.status).phrase.encode(),
        own,
        headers,
        ids,
        CLOSE if close else b"",
        len(rendered.body),
        rendered.body,
    )


def render_refusal(refusal: Refusal, *, request_id: str, close: bool) -> bytes:
    """A refusal in OpenAI's shape, with the headers that every refusal has."""
    name = request_id or uuid.uuid4().hex
    headers = refusal_headers(refusal, name) + b"x-request-id: %s\r\n" % name.encode()
    return render(errors.refused(refusal), headers=headers, close=close)


def render_error(status: int, message: str, *, close: bool) -> bytes:
    """An error that is nobody's decision."""
    return render(errors.plain(status, message), close=close)


def whole_head(lease: Lease, name: str, units: int, length: int, closes: bool) -> bytes:
    """The head of an answer that is no stream."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%s%sContent-Length: %d\r\n\r\n" % (
        _headers(lease, name, units),
        CLOSE if closes else b"",
        length,
    )


def stream_head(lease: Lease, name: str, units: int | None, closes: bool) -> bytes:
    """The head of a stream of events; its units are told by its receipt where they are not known before."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nCache-Control: no-cache\r\n%s%s"
        b"Transfer-Encoding: chunked\r\n\r\n"
        % (CONTENT_TYPE_STREAM, _headers(lease, name, units), CLOSE if closes else b"")
    )


def _headers(lease: Lease, name: str, units: int | None) -> bytes:
    headers = own_headers(lease, name.encode(), units) + b"x-request-id: %s\r\n" % name.encode()
    rate = lease.limits.requests_per_s
    if not rate:
        return headers
    return headers + b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\n" % (
        rate,
        lease.share.tokens_left(),
    )
