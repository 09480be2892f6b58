"""One client's connection: reads requests, answers them in order, and stops reading where nobody can take more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from licet_gateway.dataplane import openai_replies, replies
from licet_gateway.dataplane.acknowledged import acknowledged_bytes, stop_sending
from licet_gateway.dataplane.beginning import begin_call
from licet_gateway.dataplane.clock import SECOND, now_ns
from licet_gateway.dataplane.http import HttpError, RequestHead
from licet_gateway.dataplane.http_call import HttpCall
from licet_gateway.dataplane.known_head import KnownHead
from licet_gateway.dataplane.openai_call import OpenAiCall
from licet_gateway.dataplane.reader import BACKLOG_MAX, RequestReader
from licet_gateway.dataplane.refusals import TOO_MANY_CLIENTS
from licet_gateway.dataplane.routes import INFERENCE, OPENAI_PREFIX, find_route
from licet_gateway.dataplane.stage import Stage
from licet_gateway.domain import Refusal

if TYPE_CHECKING:
    from licet_gateway.dataplane.plane import DataPlane

HEAD_TIMEOUT_NS: Final = 10 * SECOND
BODY_TIMEOUT_NS: Final = 30 * SECOND
IDLE_TIMEOUT_NS: Final = 75 * SECOND
# After an answer that came before the whole request: so long and so much is read and thrown away, so that the client
# reads the answer instead of a reset.
LINGER_NS: Final = 1 * SECOND
LINGER_MAX: Final = 1024 * 1024
# A refused request's body of this size is read to keep the connection; a longer one costs the connection.
DISCARD_MAX: Final = 64 * 1024
WRITE_HIGH_WATER: Final = 256 * 1024
# Stages of a call in which only its connection knows that it waits.
WAITING_STAGES: Final = frozenset({Stage.GATHERING, Stage.HOLDING, Stage.CONNECTING})


class ClientConnection(asyncio.Protocol):
    """Owns the socket. A call lives until its record is written, which can be after the client is gone."""

    __slots__ = (
        "_answered",
        "_call",
        "_closing",
        "_discarded",
        "_handed",
        "_head",
        "_head_ns",
        "_held_back",
        "_known",
        "_lingering",
        "_looks",
        "_paused",
        "_plane",
        "_read_ns",
        "_reader",
        "_request_whole",
        "_speaks_openai",
        "_transport",
        "_write_full_ns",
        "gone",
        "unsettled",
        "written",
    )

    _transport: asyncio.Transport
    _head: RequestHead

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._reader = RequestReader(self)
        self._call: HttpCall | OpenAiCall | None = None
        # Whether the current request is answered, and whether it was read to its end.
        self._answered = self._request_whole = True
        self._closing = self._lingering = self._paused = False
        self._discarded = 0
        # When bytes came last, and when the head that is being read began.
        self._read_ns = self._head_ns = now_ns()
        self._write_full_ns = 0
        self._known = KnownHead()
        # Whether the current request has OpenAI's shapes.
        self._speaks_openai = False
        # The next request waits until the socket has taken the last answer, and whether that is looked at soon.
        self._held_back = self._looks = False
        # Bytes written, those that are known to have left for the socket, and whether no more will leave.
        self.written, self._handed, self.gone = 0, 0, False
        # Metered answers that are written and not yet charged: at most one.
        self.unsettled = 0

    # --- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do everything of asyncio.Transport without being one.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        if len(self._plane.connections) >= self._plane.client_connections:
            # One more would take a descriptor that a call to Triton needs.
            self._closing = True
            self._plane.counters.refused(TOO_MANY_CLIENTS.code)
            self.write(replies.render_refusal(TOO_MANY_CLIENTS, close=True))
            self._transport.close()
            return
        self._plane.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._plane.connections.discard(self)
        if not self.gone:
            # After a failure the loop has dropped what it held, and forgotten how much that was.
            took = self.written if exc is None else min(acknowledged_bytes(self._transport), self.written)
            self._handed, self.gone = max(self._handed, took), True
        self._leave_call()

    def eof_received(self) -> bool:
        # A client that stops sending while it waits is taken to be gone, as nginx does: a close looks like this.
        if not self._transport.get_write_buffer_size():
            self._handed, self.gone = self.written, True
        elif self.unsettled or (self._call is not None and self._call.answer_started):
            # What nobody is charged for must not arrive either; a plain close would still send it.
            self._cut()
        self._leave_call()
        return False

    def data_received(self, data: bytes) -> None:
        if self._closing:
            self._discard(data)
            return
        self._read_ns = now_ns()
        if self._reader.idle:
            self._head_ns = self._read_ns
        try:
            self._reader.feed(data)
        except HttpError as error:
            self._reject(error)
        if self._held_back:
            self._next_request()
        if self._reader.backlog > BACKLOG_MAX:
            self.pause_reading()

    def pause_writing(self) -> None:
        self._write_full_ns = now_ns()
        if self._call is not None:
            self._call.on_client_full()

    def resume_writing(self) -> None:
        self._write_full_ns = 0
        self.handed()
        if self._call is not None:
            self._call.on_client_drained()
            return
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER)
        if self.unsettled:
            self._plane.settle_soon()
        self._next_request()

    # --- what the reader tells

    def on_head(self, head: RequestHead) -> None:
        self._head = head
        self._answered = self._request_whole = False
        self._discarded = 0
        self._speaks_openai = head.target.startswith(OPENAI_PREFIX)
        route = find_route(head.method, head.target)
        if head.method in (b"GET", b"HEAD") and (head.chunked or head.content_length):
            self.fail(400, "a request without a body was expected")
        elif route is None:
            self._not_found(head)
        elif route.action in INFERENCE:
            self._call = begin_call(self._plane, self, head, route, self._known.credential(head))
        else:
            self._plane.inform(self, route)

    def on_body(self, data: bytes) -> None:
        if self._call is not None:
            self._call.on_body(data)
        else:
            self._discard(data)

    def on_end(self) -> None:
        self._request_whole = True
        if self._call is not None:
            self._call.on_end()
        self._next_request()

    # --- what a call tells

    @property
    def closes(self) -> bool:
        """Whether the connection ends with this answer."""
        return self._closing or not self._head.keep_alive or self._plane.draining

    @property
    def forwarded_fields(self) -> bytes:
        """The only client headers that Triton sees, rendered anew."""
        return self._known.forwarded_fields(self._head)

    def handed(self) -> int:
        """Bytes of those written that have left for the socket."""
        if not self.gone and not self._ending:
            self._handed = self.written - self._transport.get_write_buffer_size()
        return self._handed

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self.written += len(data)
            self._transport.write(data)

    def answered(self) -> None:
        """The answer to the current request is written."""
        self._answered = True
        self._call = None
        self._closing = self.closes
        self._next_request()

    def reply(self, data: bytes) -> None:
        """A whole answer at once."""
        self.write(data)
        self.answered()

    def refuse(self, refusal: Refusal, *, request_id: str = "") -> None:
        self._plane.counters.refused(refusal.code)
        self._cut_long_body()
        render = openai_replies.render_refusal if self._speaks_openai else replies.render_refusal
        self.reply(render(refusal, request_id=request_id, close=self.closes))

    def fail(self, status: int, message: str) -> None:
        self._cut_long_body()
        render = openai_replies.render_error if self._speaks_openai else replies.render_error
        self.reply(render(status, message, close=self.closes))

    def close_after_answer(self) -> None:
        self._closing = True

    def abort(self) -> None:
        """The answer cannot be completed: the client must not take it for whole."""
        self._call = None
        self._cut()

    def pause_reading(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    # --- time

    def sweep(self, now: int) -> None:
        """Ends what stalls: half a head, half a body, an answer nobody reads, a connection nobody uses, a call that
        waits too long for a connection to Triton."""
        call = self._call
        if call is not None and call.stage in WAITING_STAGES and now >= call.deadline_ns:
            self._end_waiting(call)
        if self._write_full_ns and now - self._write_full_ns > BODY_TIMEOUT_NS:
            self._cut()
        elif self._lingering:
            if now - self._read_ns > LINGER_NS:
                self._transport.close()
        elif self._answered and self._request_whole:
            self._sweep_between_requests(now)
        elif not self._request_whole and not self._paused and now - self._read_ns > BODY_TIMEOUT_NS:
            self._reject(HttpError(408, "the request body stopped coming"))

    def _end_waiting(self, call: HttpCall | OpenAiCall) -> None:
        if call.stage is Stage.GATHERING:
            self._reject(HttpError(408, "the request body came too slowly"))
        else:
            call.on_deadline()

    def _sweep_between_requests(self, now: int) -> None:
        if self._held_back:
            self._next_request()
        idle = self._reader.idle
        # A head counts from its first byte: one that trickles in would keep the connection for days.
        since = self._read_ns if idle or self._held_back else self._head_ns
        if now - since > (IDLE_TIMEOUT_NS if idle else HEAD_TIMEOUT_NS):
            self._closing = True
            self._transport.close()

    def close_if_idle(self) -> None:
        """The gateway leaves; a busy connection is closed after its answer."""
        if self._held_back:
            self._next_request()
        if self._answered and self._reader.idle:
            self._closing = True
            self._transport.close()

    # --- inside

    def _not_found(self, head: RequestHead) -> None:
        if head.method == b"HEAD":
            # An answer to HEAD has no body; what its length would have been is nobody's concern.
            self._closing = True
            self.reply(replies.render_empty(404, close=True))
            return
        self.fail(404, "Not Found")

    def _next_request(self) -> None:
        if not self._answered:
            return
        self._held_back = False
        if self._closing:
            self._end()
        elif self._request_whole and self._transport.get_write_buffer_size():
            # Answers that nobody reads would pile up otherwise, and of several in one buffer nobody could say which
            # of them left before a client reset the connection. The loop sends what is written at the end of its turn.
            self._held_back = True
            self._look_soon()
        elif self._request_whole:
            self._read_ns = self._head_ns = now_ns()
            self.resume_reading()
            try:
                self._reader.next_request()
            except HttpError as error:
                self._reject(error)
            if self._held_back:
                self._look_soon()

    def _look_soon(self) -> None:
        """Where a request waits behind an answer: looks in the next turn whether the socket has taken that."""
        if self._reader.backlog and not self._looks and not self._write_full_ns:
            self._looks = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._looks = False
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size():
            # The client does not take its answer: `resume_writing` follows when it has.
            self._transport.set_write_buffer_limits(high=0)
        else:
            self._next_request()

    @property
    def _ending(self) -> bool:
        """Whether all that was written has left, or was dropped after a failure: `connection_lost` is about to tell."""
        return self._transport.is_closing() and not self._transport.get_write_buffer_size()

    def _cut(self) -> None:
        """Ends the connection at once; what the socket has not taken never arrives."""
        acknowledged = acknowledged_bytes(self._transport) if self._ending and not self.gone else 0
        stop_sending(self._transport)
        self._handed, self.gone = max(self.handed(), min(acknowledged, self.written)), True
        self._transport.abort()

    def _end(self) -> None:
        """Closes after the answer; a client that is still sending is heard out for a moment first."""
        if self._request_whole:
            self._transport.close()
        elif not self._lingering:
            self._lingering = True
            self._read_ns = now_ns()
            self.resume_reading()

    def _cut_long_body(self) -> None:
        if not self._request_whole and (self._head.chunked or self._head.content_length > DISCARD_MAX):
            self._closing = True

    def _discard(self, data: bytes) -> None:
        self._discarded += len(data)
        if self._discarded > LINGER_MAX:
            self._transport.close()

    def _reject(self, error: HttpError) -> None:
        """What was sent is not HTTP: the answer is the last thing on this connection."""
        call, self._call = self._call, None
        started = call is not None and call.answer_started
        if call is not None:
            call.on_client_gone()
        self._closing = True
        self._read_ns = now_ns()
        if started:
            self._cut()
        elif self._answered and not self._request_whole:
            # The rest of a request that was refused: it has its answer.
            self._transport.close()
        elif not self._lingering:
            self.write(replies.render_error(error.status, error.message, close=True))
            self._answered = True
            self._lingering = True

    def _leave_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.on_client_gone()
