"""The answer to one call: Triton's, with the gateway's headers, handed to the client as it comes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from licet_gateway.dataplane.counting import COUNTED_MAX, BodyTokens, EventTokens, TokenCount
from licet_gateway.dataplane.events import LastEvent
from licet_gateway.dataplane.refusals import UNLOADED
from licet_gateway.dataplane.replies import CLOSE, own_headers
from licet_gateway.dataplane.routes import Operation
from licet_gateway.domain import Measure, Outcome

if TYPE_CHECKING:
    from licet_gateway.dataplane.http import ResponseHead
    from licet_gateway.dataplane.http_call import HttpCall
    from licet_gateway.dataplane.lease import Lease
    from licet_gateway.dataplane.tally import Tally

# An error of Triton is a line of text; what is longer is cut off.
ERROR_MAX: Final = 64 * 1024
_UNKNOWN_MODEL: Final = b'{"error":"Request for unknown model'


class Answer:
    """Collects an error whole, because it may have to be told in other words, and what is to be counted before it may
    leave; streams everything else."""

    __slots__ = (
        "_call",
        "_client",
        "_count",
        "_ended",
        "_ends_at",
        "_error",
        "_hash",
        "_head",
        "_held",
        "_last_event",
        "_lease",
        "_measure",
        "_name",
        "_operation",
        "_pending",
        "_received",
        "_starts_at",
        "_tally",
        "bytes_out",
        "started",
    )

    _head: ResponseHead

    def __init__(
        self, call: HttpCall, lease: Lease, name: str, tally: Tally, operation: Operation, measure: Measure
    ) -> None:
        self._call = call
        self._client = call.client
        self._lease = lease
        self._tally = tally
        self._operation = operation
        self._measure = measure
        self._count: TokenCount | None = None
        # The body, where all of it is needed to say what it costs.
        self._held: list[bytes] | None = None
        self._name = name.encode()
        self._hash = hashlib.sha256(self._name)
        self._error = b""
        # Where an error may follow a head that says 200.
        self._last_event = None if operation is Operation.INFER else LastEvent()
        # The rendered head, until there is a body to send it with.
        self._pending = b""
        # Where its body starts, and what was sent of it ends, in all that the client was ever sent.
        self._starts_at = self._ends_at = 0
        self._ended = False
        # Bytes of the body that Triton sent, and those that were handed on.
        self._received = 0
        self.bytes_out = 0
        # Whether the client was sent anything of it.
        self.started = False

    @property
    def ok(self) -> bool:
        return 200 <= self._head.status < 300

    def start(self, head: ResponseHead) -> None:
        self._head = head
        if not self.ok:
            return
        if self._measure.of_tokens:
            self._count_tokens(head)
        if self._held is None:
            self._pending = self._render_head(head)

    @property
    def failed(self) -> bool:
        """Whether what was begun as an answer ended with an error of Triton."""
        return self._last_event is not None and self._last_event.is_error

    @property
    def whole(self) -> bool:
        """Whether all of it has left for the client's socket."""
        return self._ended and self._ends_at <= self._client.handed()

    def charge(self, cut: Outcome = Outcome.CLIENT_GONE) -> tuple[Outcome, int]:
        """What the call costs by now: the share of its units that has left for the client's socket, rounded up.

        `cut` is the outcome of an answer that is not whole.
        """
        if self.whole:
            return Outcome.OK, self._tally.total
        handed = min(self._client.handed() - self._starts_at, self.bytes_out)
        if not self.started or handed <= 0:
            return cut, 0
        size = self._head.content_length or self._received
        return cut, self._tally.part(self._client.handed(), handed, size)

    def add(self, data: bytes, *, wanted: bool) -> None:
        """More of the body; not `wanted` where nobody is left to take it."""
        self._received += len(data)
        if not wanted:
            return
        self._hash.update(data)
        self.bytes_out += len(data)
        if not self.ok:
            self._error = (self._error + data)[:ERROR_MAX]
            return
        if self._last_event is not None:
            self._last_event.add(data)
        if self._count is not None:
            self._count.add(data)
        if self._held is None:
            self._hand_on(data)
        elif self._received <= COUNTED_MAX:
            self._held.append(data)

    def complete(self) -> bool:
        """The body has come to its end, and what it costs is known; false where it does not say that."""
        if self._held is not None and self._received > COUNTED_MAX:
            # Not all of it was kept: what there is would be taken for the whole.
            return False
        tokens = None
        if self._count is not None and not self.failed:
            tokens = self._count.tokens
            if tokens is None:
                return False
        self._tally.settle(tokens)
        if self._held is not None:
            held, self._held = self._held, None
            self._pending = self._render_head(self._head)
            if body := b"".join(held):
                self._hand_on(body)
        return True

    def end(self) -> None:
        """The answer is whole."""
        rest = b"0\r\n\r\n" if self._head.content_length is None else b""
        if self._pending:
            self._ends_at = self._client.written
            self.started = True
        if self._pending or rest:
            self._write(self._pending + rest)
            self._pending = b""
        self._ended = True
        self._client.answered()

    def send_error(self) -> None:
        """Triton refused the call: its own words, unless they only mean that the model is gone."""
        if self._error.startswith(_UNKNOWN_MODEL):
            self._client.refuse(UNLOADED, request_id=self._name.decode())
            return
        self._tally.total = 0
        headers = self._own_headers() + self._head.relayed
        self._client.reply(
            b"HTTP/1.1 %d %s\r\n%s%sContent-Length: %d\r\n\r\n%s"
            % (
                self._head.status,
                self._head.reason,
                headers,
                CLOSE if self._client.closes else b"",
                len(self._error),
                self._error,
            )
        )

    def commitment(self) -> bytes:
        """sha256(request id ‖ response body) of what was handed on."""
        return self._hash.digest()

    def _count_tokens(self, head: ResponseHead) -> None:
        if self._operation is Operation.INFER:
            self._count = BodyTokens(self._measure, head.json_bytes)
        else:
            self._count = EventTokens(self._measure)
        if not self._operation.streams:
            self._held = []

    def _hand_on(self, data: bytes) -> None:
        if self._head.content_length is None:
            data = b"%x\r\n%s\r\n" % (len(data), data)
        if self._pending:
            self._ends_at = self._client.written
            self._starts_at = self._ends_at + len(self._pending)
            data, self._pending = self._pending + data, b""
            self.started = True
        if self._operation.streams:
            self._tell_progress(self._ends_at + len(data))
        self._write(data)

    def _tell_progress(self, end: int) -> None:
        """Before they leave: what the bytes up to `end` cost, unless others wait before them."""
        if self._count is not None:
            self._tally.mark(end, self._count.tokens or 0)
        waits = self._client.handed() < self._ends_at
        self._call.progressed(self.charge()[1] if waits else self._tally.by_now())

    def _write(self, data: bytes) -> None:
        self._ends_at += len(data)
        self._client.write(data)

    @property
    def _unknown_yet(self) -> bool:
        """Whether the head leaves before it is known what the answer costs."""
        if self._measure is Measure.SECONDS:
            return True
        return self._count is not None and self._operation.streams

    def _render_head(self, head: ResponseHead) -> bytes:
        framing = (
            b"Transfer-Encoding: chunked"
            if head.content_length is None
            else b"Content-Length: %d" % head.content_length
        )
        return b"HTTP/1.1 %d %s\r\n%s%s%s%s\r\n\r\n" % (
            head.status,
            head.reason,
            head.relayed,
            self._own_headers(),
            CLOSE if self._client.closes else b"",
            framing,
        )

    def _own_headers(self) -> bytes:
        return own_headers(self._lease, self._name, None if self._unknown_yet else self._tally.total)
