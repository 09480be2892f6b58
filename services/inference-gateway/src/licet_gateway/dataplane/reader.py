"""The request side of a connection without I/O: bytes in any split → head, body, end; one request at a time.

Pipelined requests are served serially: behind a request's end the reader holds what follows until `next_request`.
"""

from __future__ import annotations

from typing import Final, Protocol

from licet_gateway.dataplane.framing import BodyDecoder, ChunkedDecoder, LengthDecoder
from licet_gateway.dataplane.http import RequestHead, find_head_end, parse_request_head

# Bytes of pipelined requests that wait here before the connection stops reading.
BACKLOG_MAX: Final = 64 * 1024


class RequestSink(Protocol):
    """Who acts on what is read."""

    def on_head(self, head: RequestHead) -> None: ...
    def on_body(self, data: bytes) -> None: ...
    def on_end(self) -> None: ...


class RequestReader:
    """Feeds a sink. Raises HttpError from `feed` and `next_request`; the connection is then unusable.

    A client repeats its head byte for byte on one connection, so the last head is compared before it is parsed.
    """

    __slots__ = ("_busy", "_decoder", "_held", "_known", "_known_bytes", "_running", "_sink")

    def __init__(self, sink: RequestSink) -> None:
        self._sink = sink
        self._held = b""
        self._decoder: BodyDecoder | None = None
        self._busy = False
        self._running = False
        self._known_bytes = b""
        self._known: RequestHead | None = None

    @property
    def backlog(self) -> int:
        """Bytes held: an incomplete head, or requests behind the one being served."""
        return len(self._held)

    @property
    def idle(self) -> bool:
        """Between requests, with nothing of the next one read."""
        return not self._busy and self._decoder is None and not self._held

    def feed(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        self._run(data)

    def next_request(self) -> None:
        """The request whose end was told is answered: goes on with what waits behind it."""
        self._busy = False
        # Answered while it was being read: the loop below goes on by itself, at the same depth.
        if not self._running:
            data, self._held = self._held, b""
            self._run(data)

    def _run(self, data: bytes) -> None:
        self._running = True
        try:
            self._read(data)
        finally:
            self._running = False

    def _read(self, data: bytes) -> None:
        while data:
            if self._busy:
                self._held = data
                return
            if self._decoder is None:
                rest = self._take_head(data)
                if rest is None:
                    self._held = data
                    return
                data = rest
                continue
            payload, behind = self._decoder.feed(data)
            if payload:
                self._sink.on_body(payload)
            if behind is None:
                return
            self._finish()
            data = behind

    def _take_head(self, data: bytes) -> bytes | None:
        # An empty line before a request line is allowed (RFC 9112 §2.2); one is enough for old clients.
        start = 2 if data.startswith(b"\r\n") else 0
        if start:
            data = data[2:]
        end = find_head_end(data)
        if not end:
            return None
        raw = data[:end]
        if self._known is None or raw != self._known_bytes:
            self._known = parse_request_head(raw)
            self._known_bytes = raw
        head = self._known
        if head.chunked:
            self._decoder = ChunkedDecoder()
        elif head.content_length:
            self._decoder = LengthDecoder(head.content_length)
        self._sink.on_head(head)
        if self._decoder is None:
            self._finish()
        return data[end:]

    def _finish(self) -> None:
        self._decoder = None
        self._busy = True
        self._sink.on_end()
