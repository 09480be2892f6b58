"""What Triton is sent: the head of an inference request, and its body in the client's own framing."""

from __future__ import annotations

from typing import Final

from licet_gateway.dataplane.http import RequestHead

LAST_CHUNK: Final = b"0\r\n\r\n"


def infer_head(head: RequestHead, *, path: bytes, authority: bytes, fields: bytes) -> bytes:
    """The head under the pinned name; `fields` are the forwarded header lines, each with its end."""
    framing = b"Transfer-Encoding: chunked" if head.chunked else b"Content-Length: %d" % head.content_length
    return b"POST %s/infer HTTP/1.1\r\nHost: %s\r\n%s%s\r\n\r\n" % (path, authority, fields, framing)


def framed(data: bytes, *, chunked: bool) -> bytes:
    """A part of the body as it travels."""
    return b"%x\r\n%s\r\n" % (len(data), data) if chunked else data
