"""How much of what was sent on a client's HTTP/2 stream has left for its socket."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from licet_gateway.dataplane.h2.server import ServerStream


class Handover:
    """Counts bytes of payload. Where frames of several streams mix, what is not known to have left has not."""

    __slots__ = ("_cut", "_framed", "_marks", "_stream", "handed_before", "total")

    def __init__(self, stream: ServerStream) -> None:
        self._stream = stream
        self._cut = False
        # Bytes given to the stream, those of them that are framed, and those that are known to have left.
        self.total = self._framed = self.handed_before = 0
        # How much is framed at which offset of all that the connection wrote.
        self._marks: deque[tuple[int, int]] = deque()

    def send(self, data: bytes) -> None:
        self.total += len(data)
        self._stream.send_data(data)
        self.framed()

    def framed(self) -> None:
        """More of it was framed, perhaps; must be told before the stream forgets what it keeps."""
        stream = self._stream
        if stream.closed and stream.gone:
            return
        framed = self.total - stream.buffered
        if framed > self._framed:
            self._framed = framed
            self._marks.append((stream.sent_at, framed))

    def handed(self) -> int:
        """Bytes that have left for the socket."""
        marks = self._marks
        if marks:
            left = self._stream.connection.handed()
            while marks and marks[0][0] <= left:
                self.handed_before = marks.popleft()[1]
        return self.handed_before

    @property
    def lost(self) -> bool:
        """Whether nothing more will leave."""
        return self._cut or self._stream.gone or self._stream.connection.gone

    def cut(self) -> None:
        """Ends the stream: what it keeps never arrives."""
        self._cut = True
        self._stream.reset()
