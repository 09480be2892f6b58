"""A call that comes over HTTP/1.1 and goes to Triton as the bytes it is.

A body that fits HOLD_MAX is sent when it is whole, so that a slow or vanishing client never occupies Triton; a longer
one is spliced as it comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from licet_gateway.dataplane.answer import Answer
from licet_gateway.dataplane.ending import ended
from licet_gateway.dataplane.forwarding import Sent, call_head
from licet_gateway.dataplane.gathering import Gathered
from licet_gateway.dataplane.passage import Passage
from licet_gateway.dataplane.refusals import body_too_large, revoked
from licet_gateway.dataplane.replies import CONTINUE, render_fields
from licet_gateway.dataplane.routes import Route
from licet_gateway.dataplane.stage import Stage
from licet_gateway.dataplane.tally import Tally
from licet_gateway.domain import CallRecord, Credential, Outcome, Refusal, TokenCaps
from licet_gateway.telemetry import traceparent_of

if TYPE_CHECKING:
    from licet_gateway.dataplane.client import ClientConnection
    from licet_gateway.dataplane.http import RequestHead, ResponseHead
    from licet_gateway.dataplane.plane import DataPlane


class HttpCall(Passage):
    """The client connection feeds it the request, an upstream connection the answer."""

    __slots__ = ("_answer", "_gathered", "_head", "client")

    def __init__(
        self, plane: DataPlane, client: ClientConnection, head: RequestHead, route: Route, caller: Credential
    ) -> None:
        super().__init__(plane, route.slug, caller, head.fields)
        self.client = client
        self._head = head
        self._route = route
        length = None if head.chunked else head.content_length
        self._gathered = Gathered(head.fields, route.operation, length, plane.longest_s)
        self._answer: Answer | None = None
        if head.expects_continue:
            client.write(CONTINUE)

    @property
    def answer_started(self) -> bool:
        return self._answer is not None and self._answer.started

    @property
    def settled(self) -> bool:
        return self.client.gone or (self._answer is not None and self._answer.whole)

    def count_unsettled(self, change: int) -> None:
        self.client.unsettled += change

    # --- the request

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._plane.max_body_bytes:
            self._too_large()
        elif self._sent is not None and self.stage is Stage.RUNNING:
            self._sent.add(data)
        elif self.stage is not Stage.DONE:
            enough = self._gathered.add(data)
            if self.stage is not Stage.GATHERING:
                self._hold_request()
            elif enough:
                self._count()

    def on_end(self) -> None:
        self._request_whole = True
        if self._sent is not None and self.stage is Stage.RUNNING:
            self._sent.end()
        elif self.stage is Stage.GATHERING:
            self._count()

    def on_client_gone(self) -> None:
        """Nobody is left to answer. What Triton has whole it may finish, unless it streams."""
        self._client_gone = True
        if self.stage is not Stage.RUNNING:
            self._withdraw()
        elif self._request_whole and not self._route.operation.streams:
            self._connection.resume_reading()
        else:
            self._stop()
            self._finish_handed()

    def on_client_full(self) -> None:
        if self.stage is Stage.RUNNING:
            self._connection.pause_reading()

    def on_client_drained(self) -> None:
        if self.stage is Stage.RUNNING:
            self._connection.resume_reading()

    def _too_large(self) -> None:
        refusal = body_too_large(self._plane.max_body_bytes)
        if self.stage is Stage.RUNNING:
            self._stop()
            self._finish(Outcome.ABORTED, 0)
            self._refuse_begun(refusal)
        elif self.stage is not Stage.DONE:
            self._withdraw()
            self._refuse(refusal)

    def _units(self, caps: TokenCaps) -> int | None:
        return self._gathered.units(self._rule, caps, whole=self._request_whole)

    def _hold_request(self) -> None:
        self.client.pause_reading()

    def _resume_request(self) -> None:
        self.client.resume_reading()

    # --- upstream

    def _run(self) -> None:
        tally = Tally(self._rule.measure, self._held_units)
        self._answer = Answer(self, self._lease, self._name, tally, self._route.operation, self._rule.measure)
        self._sent = Sent(self._connection, self._name, chunked=self._head.chunked)
        self._sent.begin(self._upstream_head(), self._gathered.take(), whole=self._request_whole)
        if self._head.chunked or not self._request_whole:
            self.client.resume_reading()
        if self._lost is not None:
            self.on_lost(self._lost)

    def _upstream_head(self) -> bytes:
        fields = self.client.forwarded_fields
        if self._span is not None:
            fields = render_fields({**self._head.fields, b"traceparent": traceparent_of(self._span)})
        target = self._version.path + self._route.operation.value
        return call_head(self._head, target, authority=self._connection.pool.authority, fields=fields)

    def on_upstream_full(self) -> None:
        self.client.pause_reading()

    def on_upstream_drained(self) -> None:
        self.client.resume_reading()

    # --- the response

    def on_response_head(self, head: ResponseHead) -> None:
        if self._answer is not None:
            self._answer.start(head)

    def on_response_body(self, data: bytes) -> None:
        if self._answer is None:
            return
        if self._route.operation.streams and self._lease.dead_code is not None:
            self._cut_short(revoked(self._lease.dead_code))
        else:
            self._answer.add(data, wanted=not self._client_gone)

    def on_response_end(self) -> None:
        answer = self._answer
        if answer is None or self.stage is not Stage.RUNNING:
            return
        if self._request_whole:
            self._connection.pool.release(self._connection)
        else:
            # Triton answered before it had the whole request: the rest of it would be read as the next one.
            self._stop()
            self.client.close_after_answer()
        if self._client_gone:
            self._finish_handed()
        elif not answer.ok:
            self._finish(Outcome.UPSTREAM_ERROR, 0)
            answer.send_error()
        elif not answer.complete():
            self._fail(502, "the inference server's answer does not tell what it costs")
        elif answer.failed:
            self._finish(Outcome.UPSTREAM_ERROR, 0)
            answer.end()
        else:
            self.stage = Stage.DONE
            self._plane.settle_when_handed_over(self)
            answer.end()

    # --- the end

    def _refuse(self, refusal: Refusal, name: str = "") -> None:
        self.client.refuse(refusal, request_id=name)

    def _tell_failure(self, status: int, reason: str) -> None:
        self.client.fail(status, reason)

    def _cut_answer(self) -> None:
        self.client.abort()

    def _worth_its_part(self) -> bool:
        # What was taken of a stream was worth it, whoever was slow.
        return self._route.operation.streams or self.client.handed() < self.client.written

    def _charge(self, cut: Outcome = Outcome.CLIENT_GONE) -> tuple[Outcome, int]:
        return (cut, 0) if self._answer is None else self._answer.charge(cut)

    def _record(self, outcome: Outcome, units: int) -> CallRecord:
        sent, answer = self._sent, self._answer
        return ended(
            outcome,
            units,
            name=self._name,
            sequence=self._sequence,
            started_ns=self._started_ns,
            bytes_in=self._size,
            bytes_out=0 if answer is None else answer.bytes_out,
            commitments=(
                None if sent is None else sent.commitment(),
                None if answer is None else answer.commitment(),
            ),
        )
