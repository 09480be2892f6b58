"""A header block that comes in several frames."""

from __future__ import annotations

from licet_gateway.dataplane.clock import now_ns
from licet_gateway.dataplane.h2.limits import BLOCK_MAX, CONTINUATIONS_MAX
from licet_gateway.dataplane.h2.wire import Code, ConnectionFault


class HeaderBlock:
    """Gathers the pieces, as long as they are few and short."""

    __slots__ = ("_count", "_pieces", "_size", "begun_ns", "end", "stream_id")

    def __init__(self) -> None:
        # The stream whose block is not whole; 0 where none is.
        self.stream_id = 0
        # Whether the stream ends with it.
        self.end = False
        self.begun_ns = 0
        self._pieces: list[bytes] = []
        self._count = self._size = 0

    def begin(self, stream_id: int, piece: bytes, end: bool) -> None:
        self.stream_id, self.end, self.begun_ns = stream_id, end, now_ns()
        self._pieces.clear()
        self._count = self._size = 0
        self._add(piece)

    def add(self, piece: bytes) -> None:
        self._count += 1
        if self._count > CONTINUATIONS_MAX:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many CONTINUATION frames")
        self._add(piece)

    def take(self) -> bytes:
        """The whole block."""
        self.stream_id = 0
        return b"".join(self._pieces)

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > BLOCK_MAX:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"a header block of more than {BLOCK_MAX} bytes")
        self._pieces.append(piece)
