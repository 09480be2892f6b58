"""A call that comes over gRPC: one message in, one message out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from licet_gateway.dataplane import grpc_replies, kserve, metering
from licet_gateway.dataplane.clock import now_ns
from licet_gateway.dataplane.commitments import Commitments
from licet_gateway.dataplane.h2 import blocks
from licet_gateway.dataplane.h2.messages import PREFIX_SIZE, MessageError, MessageReader, frame, size_in
from licet_gateway.dataplane.handover import Handover
from licet_gateway.dataplane.stage import Stage
from licet_gateway.dataplane.tally import Tally
from licet_gateway.dataplane.triton_call import INFER, TritonCall
from licet_gateway.domain import Credential, Measure, MeteringRule, Outcome, Refusal, TokenCaps

if TYPE_CHECKING:
    from licet_gateway.dataplane.h2.heads import RequestHead2
    from licet_gateway.dataplane.h2.server import ServerStream
    from licet_gateway.dataplane.plane import DataPlane

# Of an answer that its client does not take, so much is kept before Triton is held up.
KEPT_MAX: Final = 256 * 1024
# Triton's messages have no bound of ours; gRPC's own is this.
ANSWER_MAX: Final = 2**31 - 1


def units_of(
    rule: MeteringRule, caps: TokenCaps, request: kserve.InferRequest, size: int, longest_s: int
) -> int:
    """Units to hold for a request of so many bytes. Raises metering.NotMetered."""
    if rule.measure is Measure.REQUEST:
        return 1
    if rule.measure is Measure.SECONDS:
        return longest_s
    if rule.rows_of is not None:
        return metering.checked_rows(request.rows(rule.rows_of), rule.rows_of)
    if rule.measure.of_tokens:
        request.check_asks_for(rule.measure.value)
    return metering.bound(rule.measure, caps, size)


class GrpcCall(TritonCall):
    """What unary calls and those of a stream have in common: a message of the client, and its stream for the answer."""

    __slots__ = (
        "_message",
        "_own_deadline",
        "_request",
        "_stream",
        "_tally",
        "handover",
    )

    _tally: Tally

    def __init__(
        self,
        plane: DataPlane,
        stream: ServerStream,
        head: RequestHead2,
        slug: str,
        caller: Credential,
        message: bytes,
        request: kserve.InferRequest,
        handover: Handover,
    ) -> None:
        super().__init__(plane, slug, caller, head.fields)
        self._stream = stream
        self._message = message
        self._request = request
        self.handover = handover
        self._size = len(message)
        self._request_whole = True
        timeout = head.fields.get(b"grpc-timeout")
        allowed = None if timeout is None else blocks.timeout_ns(timeout)
        # Whether it is the client that has no more time: what it took by then is due, as if it had left.
        self._own_deadline = allowed is not None and now_ns() + allowed < self.deadline_ns
        if allowed is not None:
            self.deadline_ns = min(self.deadline_ns, now_ns() + allowed)

    def start(self) -> None:
        """Begins: its message is whole."""
        self._count()

    def _units(self, caps: TokenCaps) -> int | None:
        return units_of(self._rule, caps, self._request, self._size, self._plane.longest_s)

    def _hold_request(self) -> None:
        """It is whole already."""

    def _resume_request(self) -> None:
        """It is whole already."""

    def count_unsettled(self, change: int) -> None:
        """A lost HTTP/2 connection cuts whatever has not left."""

    def _request_bytes(self) -> bytes:
        message = self._message
        if self._commitments is None:
            self._commitments = Commitments(self._name, frame(message))
            self._tally = Tally(self._rule.measure, self._held_units)
        return frame(kserve.renamed(message, self._version.path.rpartition(b"/")[2]))

    def _hand_on(self, data: bytes) -> None:
        if self._commitments is not None:
            self._commitments.add(data)
        self.handover.send(data)
        if self._stream.buffered > KEPT_MAX and self._upstream is not None:
            self._upstream.pause()

    def on_data(self, data: bytes) -> None:
        if self._own_deadline and not self.answer_started and now_ns() >= self.deadline_ns:
            # Its client has given up by now, and would be charged for what it does not read.
            self.on_deadline()
        else:
            super().on_data(data)

    def _give_up_on_triton(self) -> None:
        if self._own_deadline:
            # That its client is in a hurry says nothing about the server.
            self._stop()
        else:
            super()._give_up_on_triton()

    def on_client_drained(self) -> None:
        self.handover.framed()
        if self._upstream is not None:
            self._upstream.resume()

    def on_client_gone(self) -> None:
        """Nobody is left to answer: Triton is told."""
        if self._client_gone:
            return
        self._client_gone = True
        if self.stage is Stage.RUNNING:
            self._stop()
            self._finish_handed()
        elif self.stage is not Stage.DONE:
            self._withdraw()

    def _worth_its_part(self) -> bool:
        return self._own_deadline or self.handover.handed() < self.handover.total


class UnaryCall(GrpcCall):
    """`ModelInfer`."""

    __slots__ = ("_begun", "_ended", "_held", "_prefix")

    def __init__(
        self,
        plane: DataPlane,
        stream: ServerStream,
        head: RequestHead2,
        slug: str,
        caller: Credential,
        message: bytes,
        request: kserve.InferRequest,
    ) -> None:
        super().__init__(plane, stream, head, slug, caller, message, request, Handover(stream))
        self._begun = self._ended = False
        # The beginning of the answer, which says how long it is.
        self._prefix = b""
        # The answer, where all of it is needed to say what it costs.
        self._held: list[bytes] | None = None

    # --- the answer

    @property
    def _path(self) -> bytes:
        return INFER

    @property
    def _may_run_twice(self) -> bool:
        # An inference changes nothing in the model. Of an answer that is held to be counted, a part may be there.
        return not self._held

    @property
    def answer_started(self) -> bool:
        return self._begun

    @property
    def settled(self) -> bool:
        return self.handover.lost or (self._ended and self.handover.handed() == self.handover.total)

    def _on_answer(self, data: bytes) -> None:
        if self._rule.measure.of_tokens:
            self._held = self._held or []
            self._held.append(data)
            return
        if len(self._prefix) < PREFIX_SIZE:
            self._prefix += data[:PREFIX_SIZE]
        self._begin_answer(self._held_units if self._rule.measure is not Measure.SECONDS else None)
        self._hand_on(data)

    def _begin_answer(self, units: int | None) -> None:
        if not self._begun:
            self._begun = True
            self._stream.send_head(grpc_replies.answer_head(self._lease, self._name.encode(), units))

    def _on_answered(self) -> None:
        tokens = None
        if self._rule.measure.of_tokens:
            tokens = self._count_tokens()
            if tokens is None:
                self._fail(502, "the inference server's answer does not tell what it costs")
                return
        self._tally.settle(tokens)
        self._begin_answer(self._tally.total)
        for data in self._held or ():
            self._hand_on(data)
        self._ended = True
        self.stage = Stage.DONE
        self._plane.settle_when_handed_over(self)
        self._stream.finish(blocks.trailers(grpc_replies.OK))

    def _count_tokens(self) -> int | None:
        try:
            messages = MessageReader(ANSWER_MAX).feed(b"".join(self._held or ()))
            name = self._rule.measure.value.encode()
            return kserve.tokens_of(messages[0], name) if len(messages) == 1 else None
        except (MessageError, kserve.Malformed):
            return None

    def _on_failed(self, status: int, message: str) -> None:
        self._finish(Outcome.UPSTREAM_ERROR, 0)
        self._end(status, message, ((b"x-licet-request-id", self._name.encode()),))

    # --- the end

    def _charge(self, cut: Outcome = Outcome.CLIENT_GONE) -> tuple[Outcome, int]:
        if not self._begun:
            return cut, 0
        handed, total = self.handover.handed(), self.handover.total
        if self._ended and handed == total:
            return Outcome.OK, self._tally.total
        # Of the whole answer, not of what Triton has sent of it.
        return cut, self._tally.part(handed, handed, max(total, size_in(self._prefix))) if handed else 0

    def _refuse(self, refusal: Refusal, name: str = "") -> None:
        self._plane.counters.refused(refusal.code)
        status = grpc_replies.status_of(refusal.status)
        self._end(status, refusal.message, grpc_replies.refusal_fields(refusal, name))

    def _tell_failure(self, status: int, reason: str) -> None:
        self._end(grpc_replies.status_of(status), reason, ())

    def _end(self, status: int, message: str, fields: blocks.Fields) -> None:
        if self._begun:
            self._stream.finish(blocks.trailers(status, message, fields))
        else:
            self._stream.refuse(blocks.trailers_only(status, message, fields))

    def _cut_answer(self) -> None:
        self.handover.cut()
