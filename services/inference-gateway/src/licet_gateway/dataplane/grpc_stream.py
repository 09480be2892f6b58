"""`ModelStreamInfer`: each message of a client's stream is a call of its own, with its own lease, stream to Triton and
record. They run one after another, so that answers come in the order of the messages, as over Triton's own stream."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from licet_gateway.dataplane import grpc_replies, kserve
from licet_gateway.dataplane.clock import now_ns
from licet_gateway.dataplane.grpc_call import ANSWER_MAX, GrpcCall
from licet_gateway.dataplane.h2 import blocks
from licet_gateway.dataplane.h2.messages import PREFIX_SIZE, MessageError, MessageReader, frame
from licet_gateway.dataplane.handover import Handover
from licet_gateway.dataplane.keeping import SILENCE_NS
from licet_gateway.dataplane.metering import NotMetered
from licet_gateway.dataplane.refusals import UNKNOWN, revoked
from licet_gateway.dataplane.stage import Stage
from licet_gateway.dataplane.triton_call import STREAM_INFER
from licet_gateway.domain import Credential, Measure, Outcome, Refusal, slug_of

if TYPE_CHECKING:
    from licet_gateway.dataplane.h2.heads import RequestHead2
    from licet_gateway.dataplane.h2.server import ServerStream
    from licet_gateway.dataplane.plane import DataPlane

# Messages and bytes that wait behind the call that runs, before the client is asked to pause.
WAITING_MAX: Final = 8
WAITING_BYTES_MAX: Final = 256 * 1024
# Calls of a stream whose names its trailers tell.
NAMES_MAX: Final = 64


class ClientStream:
    """Handles one stream of a client."""

    __slots__ = (
        "_call",
        "_caller",
        "_ended",
        "_head",
        "_heard_ns",
        "_kept",
        "_names",
        "_over",
        "_plane",
        "_reader",
        "_requests",
        "_stream",
        "_waiting",
        "begun",
        "handover",
    )

    def __init__(
        self, plane: DataPlane, stream: ServerStream, head: RequestHead2, caller: Credential
    ) -> None:
        self._plane = plane
        self._stream = stream
        self._head = head
        self._caller = caller
        self._reader = MessageReader(plane.max_body_bytes)
        self._requests = kserve.RequestReader()
        self._waiting: deque[bytes] = deque()
        self._call: StreamedCall | None = None
        # Bytes of messages that wait or are not whole, as they are counted by the worker.
        self._kept = 0
        self._heard_ns = now_ns()
        # Whether the client has sent all, whether its head was answered, and whether its end was.
        self._ended = self.begun = self._over = False
        self._names: list[str] = []
        self.handover = Handover(stream)

    # --- what the connection tells

    def on_data(self, data: bytes) -> None:
        if self._over:
            return
        self._heard_ns = now_ns()
        try:
            self._waiting += self._reader.feed(data)
            self._keep()
        except MessageError as error:
            self._stop(error.status, error.text)
            return
        if self._call is not None and (len(self._waiting) > WAITING_MAX or self._kept > WAITING_BYTES_MAX):
            self._stream.pause()
        self._next()

    def sweep(self, now: int) -> None:
        """Ends a message that does not become whole; a stream without one may be silent."""
        if self._call is None and self._reader.held and now - self._heard_ns > SILENCE_NS:
            self._stop(grpc_replies.DEADLINE_EXCEEDED, "the message came too slowly")

    def on_end(self) -> None:
        self._ended = True
        self._next()

    def on_gone(self) -> None:
        self._forget()
        if self._call is not None:
            self._call.on_client_gone()

    def on_drained(self) -> None:
        self.handover.framed()
        if self._call is not None:
            self._call.on_client_drained()

    def on_finished(self) -> None:
        self.handover.framed()

    # --- what a call tells

    def begin_answer(self, head: bytes) -> None:
        """Answers the stream's head with what is known of its first call."""
        if not self.begun:
            self.begun = True
            self._stream.send_head(head)

    def call_over(self) -> None:
        """The call's answer is sent whole: the next message has its turn."""
        self._call = None
        # What came meanwhile does not count as silence.
        self._heard_ns = now_ns()
        self._next()

    def end(self, status: int, message: str, fields: blocks.Fields = ()) -> None:
        """Ends the stream with a refusal, or an error of Triton."""
        self._call = None
        self._stop(status, message, fields)

    def cut(self) -> None:
        self._call = None
        self._forget()
        self.handover.cut()

    # --- inside

    def _next(self) -> None:
        if self._call is not None or self._over:
            return
        self._stream.resume()
        if self._waiting:
            message = self._waiting.popleft()
            self._keep()
            self._start(message)
        elif self._ended:
            if self._reader.held:
                self._stop(grpc_replies.INVALID_ARGUMENT, "the last message is not whole")
            else:
                self._stop(grpc_replies.OK, "")

    def _start(self, message: bytes) -> None:
        try:
            request = self._requests.read(message)
        except NotMetered as error:
            self._stop(grpc_replies.INVALID_ARGUMENT, str(error))
            return
        slug = slug_of(request.model)
        refusal = UNKNOWN if slug is None else self._plane.admission(len(message))
        if slug is None or refusal is not None:
            refusal = refusal or UNKNOWN
            self._plane.counters.refused(refusal.code)
            status = grpc_replies.status_of(refusal.status)
            self._stop(status, refusal.message, grpc_replies.refusal_fields(refusal))
            return
        self._call = StreamedCall(
            self, self._plane, self._stream, self._head, slug, self._caller, message, request
        )
        self._call.start()

    def name(self, name: str) -> None:
        """A call of the stream has begun."""
        if len(self._names) < NAMES_MAX:
            self._names.append(name)

    def _stop(self, status: int, message: str, fields: blocks.Fields = ()) -> None:
        self._forget()
        if self._call is not None:
            call, self._call = self._call, None
            call.on_client_gone()
        if self._names and not any(name == b"x-licet-request-id" for name, _ in fields):
            fields = (*fields, (b"x-licet-request-id", ",".join(self._names).encode()))
        if self.begun:
            self._stream.finish(blocks.trailers(status, message, fields))
        else:
            # Also where all went well: a model may have nothing to say.
            self._stream.refuse(blocks.trailers_only(status, message, fields))

    def _keep(self) -> None:
        """Tells the worker what is kept. Raises MessageError where that is too much."""
        kept = self._reader.held + sum(map(len, self._waiting))
        change, self._kept = kept - self._kept, kept
        self._plane.keeping.change(change)

    def _forget(self) -> None:
        """Nothing more is read or started."""
        self._over = True
        self._waiting.clear()
        kept, self._kept = self._kept, 0
        self._plane.keeping.change(-kept)


class StreamedCall(GrpcCall):
    """One message of a stream, and its answers."""

    __slots__ = ("_begins_at", "_client", "_ended", "_ends_at", "_failed", "_reader")

    def __init__(
        self,
        client: ClientStream,
        plane: DataPlane,
        stream: ServerStream,
        head: RequestHead2,
        slug: str,
        caller: Credential,
        message: bytes,
        request: kserve.InferRequest,
    ) -> None:
        super().__init__(plane, stream, head, slug, caller, message, request, client.handover)
        self._client = client
        self._reader = MessageReader(ANSWER_MAX)
        # Of the answers, in all that the stream was sent.
        self._begins_at = self._ends_at = 0
        # Whether all answers came, and whether the last one was an error.
        self._ended = self._failed = False

    @property
    def _path(self) -> bytes:
        return STREAM_INFER

    @property
    def _may_run_twice(self) -> bool:
        return False

    def _request_bytes(self) -> bytes:
        if self._commitments is None:
            self._client.name(self._name)
            self._begins_at = self._ends_at = self.handover.total
        return super()._request_bytes()

    @property
    def answer_started(self) -> bool:
        return self._commitments is not None and self._commitments.bytes_out > 0

    @property
    def settled(self) -> bool:
        return self.handover.lost or (self._ended and self.handover.handed() >= self._ends_at)

    def _worth_its_part(self) -> bool:
        # What was taken of a stream was worth it, whoever was slow.
        return True

    def _on_answer(self, data: bytes) -> None:
        if self._lease.dead_code is not None:
            self._cut_short(revoked(self._lease.dead_code))
            return
        try:
            for message in self._reader.feed(data):
                if self.stage is Stage.RUNNING:
                    self._pass_on(message)
        except (MessageError, kserve.Malformed):
            self._stop()
            self._fail(502, "the inference server's answer cannot be read")

    def _pass_on(self, message: bytes) -> None:
        response = kserve.read_stream_response(message)
        if response.is_error:
            self._failed = True
        elif kserve.has_outputs(message, response.start, response.end):
            # A response of none only says that it is the last one, also behind an error.
            self._failed = False
            self._count_tokens(message, response)
            if self.stage is not Stage.RUNNING:
                return
        data = frame(message)
        self._ends_at = self.handover.total + len(data)
        waits = self.handover.handed() < self.handover.total
        measure = self._rule.measure
        known = None if measure.of_tokens or measure is Measure.SECONDS else self._held_units
        self._client.begin_answer(grpc_replies.answer_head(self._lease, self._name.encode(), known))
        if not self._failed:
            self.progressed(self._charge()[1] if waits else self._tally.by_now())
        self._hand_on(data)

    def _count_tokens(self, message: bytes, response: kserve.StreamResponse) -> None:
        """Of a response that is about to be sent; what tells no count is not sent."""
        measure = self._rule.measure
        if not measure.of_tokens:
            return
        tokens = kserve.tokens_of(message, measure.value.encode(), response.start, response.end)
        if tokens is None:
            self._stop()
            self._fail(502, "the inference server's answer does not tell what it costs")
        else:
            self._tally.mark(self.handover.total + len(message) + PREFIX_SIZE, tokens)

    def _on_answered(self) -> None:
        self._ended = True
        if self._failed:
            self._finish(Outcome.UPSTREAM_ERROR, 0)
        else:
            self._tally.settle(None)
            self.stage = Stage.DONE
            self._plane.settle_when_handed_over(self)
        self._client.call_over()

    def _on_failed(self, status: int, message: str) -> None:
        self._finish(Outcome.UPSTREAM_ERROR, 0)
        self._client.end(status, message)

    def _charge(self, cut: Outcome = Outcome.CLIENT_GONE) -> tuple[Outcome, int]:
        handed = self.handover.handed()
        if self._ended and handed >= self._ends_at:
            return Outcome.OK, self._tally.total
        size = self._ends_at - self._begins_at
        part = handed - self._begins_at
        return cut, self._tally.part(handed, part, size) if part > 0 and size else 0

    def _refuse(self, refusal: Refusal, name: str = "") -> None:
        self._plane.counters.refused(refusal.code)
        status = grpc_replies.status_of(refusal.status)
        self._client.end(status, refusal.message, grpc_replies.refusal_fields(refusal, name))

    def _refuse_begun(self, refusal: Refusal) -> None:
        """The stream's end can say why, also behind a part of the answer."""
        self._refuse(refusal, self._name)

    def _tell_failure(self, status: int, reason: str) -> None:
        self._client.end(grpc_replies.status_of(status), reason)

    def _cut_answer(self) -> None:
        self._client.cut()
