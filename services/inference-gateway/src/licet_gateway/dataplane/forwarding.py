"""What Triton is sent: the head of a call, and its body in the client's own framing."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from licet_gateway.dataplane.http import RequestHead

if TYPE_CHECKING:
    from licet_gateway.dataplane.upstream import UpstreamConnection

_LAST_CHUNK: Final = b"0\r\n\r\n"


def call_head(head: RequestHead, target: bytes, *, authority: bytes, fields: bytes) -> bytes:
    """The head of a call of the pinned name; `fields` are the forwarded header lines, each with its end."""
    framing = b"Transfer-Encoding: chunked" if head.chunked else b"Content-Length: %d" % head.content_length
    return b"POST %s HTTP/1.1\r\nHost: %s\r\n%s%s\r\n\r\n" % (target, authority, fields, framing)


class Sent:
    """One request on its way to Triton."""

    __slots__ = ("_chunked", "_connection", "_hash", "_held")

    def __init__(self, connection: UpstreamConnection, name: str, *, chunked: bool) -> None:
        self._connection = connection
        self._chunked = chunked
        self._hash = hashlib.sha256(name.encode())
        # The whole body as it was sent, while it may have to be sent again.
        self._held: bytes | None = None

    @property
    def repeatable(self) -> bool:
        """Whether the whole request is still here."""
        return self._held is not None

    def begin(self, head: bytes, body: bytes, *, whole: bool) -> None:
        """Sends the head and what there is of the body, in one write where that is all."""
        if whole:
            self._hash.update(body)
            self._held = body if not self._chunked else _one_chunk(body)
            self._connection.write(head + self._held)
            self._connection.asked()
            return
        self._connection.write(head)
        if body:
            self.add(body)

    def add(self, data: bytes) -> None:
        """A further part of the body."""
        self._hash.update(data)
        self._connection.write(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        """The body is whole."""
        if self._chunked:
            self._connection.write(_LAST_CHUNK)
        self._connection.asked()

    def repeat(self, connection: UpstreamConnection, head: bytes) -> None:
        """Sends the same body again, under another head."""
        self._connection = connection
        connection.write(head + (self._held or b""))
        connection.asked()

    def commitment(self) -> bytes:
        """sha256(request id ‖ request body) of what was sent."""
        return self._hash.digest()


def _one_chunk(body: bytes) -> bytes:
    return (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + _LAST_CHUNK
