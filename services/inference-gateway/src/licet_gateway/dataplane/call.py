"""One inference call, from its head to its usage record.

GATHERING → (units known) → LEASING → CONNECTING → OPENING → RUNNING → DONE. Nothing goes upstream before the open entry
is on disk, and every way out gives back what was held. A body that fits HOLD_MAX is sent when it is whole, so that a
slow or vanishing client never occupies Triton; a longer one is spliced as it comes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from licet_gateway.dataplane import metering
from licet_gateway.dataplane.answer import Answer
from licet_gateway.dataplane.clock import now_ns
from licet_gateway.dataplane.ending import ended_call
from licet_gateway.dataplane.forwarding import Sent, call_head
from licet_gateway.dataplane.gathering import Gathered
from licet_gateway.dataplane.lease import Lease
from licet_gateway.dataplane.refusals import (
    LEASE_DIED,
    LOG_FULL,
    NOT_READY,
    RULE_DIFFERS,
    UPSTREAM_FULL,
    body_too_large,
    revoked,
)
from licet_gateway.dataplane.replies import CONTINUE, render_fields
from licet_gateway.dataplane.routes import Route
from licet_gateway.dataplane.stage import Stage
from licet_gateway.domain import Credential, MeteringRule, Outcome, Refusal, request_id
from licet_gateway.telemetry import end_refused_span, end_span, traceparent_of

if TYPE_CHECKING:
    from licet_gateway.dataplane.client import ClientConnection
    from licet_gateway.dataplane.http import RequestHead, ResponseHead
    from licet_gateway.dataplane.plane import DataPlane
    from licet_gateway.dataplane.upstream import UpstreamConnection, UpstreamPool
    from licet_gateway.dataplane.versions import PinnedVersion

# A lease that died, or whose version went, between two steps of one call is replaced so often; then the call fails.
RESTARTS_MAX: Final = 2


class Call:
    """Acts for one request. The client connection feeds it; the lease book, the pool and Triton answer it."""

    __slots__ = (
        "_answer",
        "_client_gone",
        "_connection",
        "_credential",
        "_gathered",
        "_head",
        "_held_units",
        "_lease",
        "_plane",
        "_pool",
        "_request_whole",
        "_restarts",
        "_route",
        "_rule",
        "_sent",
        "_sequence",
        "_size",
        "_span",
        "_started_ns",
        "_version",
        "client",
        "deadline_ns",
        "stage",
    )

    _pool: UpstreamPool
    _connection: UpstreamConnection
    _version: PinnedVersion
    _lease: Lease

    def __init__(
        self, plane: DataPlane, client: ClientConnection, head: RequestHead, route: Route, caller: Credential
    ) -> None:
        self._plane = plane
        self.client = client
        self._head = head
        self._route = route
        self._credential = caller
        self.stage = Stage.GATHERING
        self._gathered = Gathered(head.fields, route.operation)
        self._size = 0
        self._request_whole = False
        self._client_gone = False
        self._restarts = 0
        self._held_units = 0
        self._sequence = 0
        self._sent: Sent | None = None
        self._answer: Answer | None = None
        newest = plane.versions.newest(route.slug)
        # An unknown model still gets licensing's answer first; the rule then does not matter.
        self._rule = MeteringRule("request", None) if newest is None else newest.rule
        self._span = plane.tracer.start(head.fields, route.slug)
        self.deadline_ns = now_ns() + plane.call_timeout_ns
        if head.expects_continue:
            client.write(CONTINUE)

    @property
    def answer_started(self) -> bool:
        """Whether the client was sent a part of the answer."""
        return self._answer is not None and self._answer.started

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
                self.client.pause_reading()
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
            self._connection.abort()
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
            self._connection.abort()
            self._finish(Outcome.ABORTED, 0)
            self._refuse_begun(refusal)
        elif self.stage is not Stage.DONE:
            self._withdraw()
            self.client.refuse(refusal)

    # --- units and lease

    def _count(self) -> None:
        try:
            units = self._gathered.units(self._rule, whole=self._request_whole)
        except metering.NotMetered as error:
            self.stage = Stage.DONE
            self.client.fail(400, str(error))
            return
        if units is None:
            return
        self._held_units = units
        self.stage = Stage.LEASING
        taken = self._plane.book.reserve(self._credential, self._route.slug, units, self)
        if isinstance(taken, Refusal):
            self.refused(taken)
        elif taken is not None:
            self.leased(taken)
        elif not self._request_whole:
            self.client.pause_reading()

    def refused(self, refusal: Refusal) -> None:
        """The lease book's answer to a call that waited, or licensing's."""
        self.stage = Stage.DONE
        if self._span is not None:
            end_refused_span(self._span, refusal.code)
        self.client.refuse(refusal)

    def leased(self, lease: Lease) -> None:
        """Units are held: from here on every way out gives them back or records them."""
        self._lease = lease
        terms = lease.terms
        version = self._plane.versions.find(self._route.slug, terms.version_digest)
        if version is None:
            # Perhaps the active version changed after this lease was made: then a new lease names the new one.
            lease.renewable = False
            lease.retired = True
            self._give_up_or_restart(NOT_READY)
        elif version.rule.text != terms.metering_rule:
            self._give_up(RULE_DIFFERS)
        elif version.rule != self._rule:
            self._rule = version.rule
            self._give_up_or_restart(RULE_DIFFERS)
        else:
            self._version = version
            self._connect()

    def _give_up_or_restart(self, refusal: Refusal) -> None:
        if self._restarts >= RESTARTS_MAX or self._plane.versions.newest(self._route.slug) is None:
            self._give_up(refusal)
            return
        self._restarts += 1
        self._plane.book.release(self._lease, self._held_units)
        self.stage = Stage.GATHERING
        # The other rule may need bytes that were not read while the call waited.
        self.client.resume_reading()
        self._count()

    def _give_up(self, refusal: Refusal) -> None:
        self._plane.book.release(self._lease, self._held_units)
        self.refused(refusal)

    def _withdraw(self) -> None:
        """Leaves whatever queue the call stands in."""
        if self.stage is Stage.LEASING:
            self._plane.book.stop_waiting(self._credential, self._route.slug, self)
        elif self.stage is Stage.CONNECTING:
            self._pool.stop_waiting(self)
            self._plane.book.release(self._lease, self._held_units)
        elif self.stage is Stage.OPENING:
            self._client_gone = True
            return
        self.stage = Stage.DONE

    # --- upstream

    def _connect(self) -> None:
        self.stage = Stage.CONNECTING
        self._pool = self._plane.pick_pool(self._version)
        if not self._pool.acquire(self):
            self._give_up(UPSTREAM_FULL)

    def on_connected(self, connection: UpstreamConnection) -> None:
        self._started_ns = time.time_ns()
        sequence = self._plane.book.begin(self._lease, self._started_ns)
        if sequence is None:
            connection.pool.release(connection)
            self._give_up_or_restart(LEASE_DIED)
            return
        self._sequence = sequence
        self._connection = connection
        self.stage = Stage.OPENING
        connection.begin(self)
        self._plane.start_when_written(self)

    def opened(self, *, written: bool) -> None:
        """The open entry is on disk, or the disk refused it: only now may the first byte leave."""
        if self.stage is not Stage.OPENING:
            return
        if not written or self._client_gone or not self._lease.alive(now_ns()):
            self._connection.unused()
            outcome = Outcome.CLIENT_GONE if self._client_gone else Outcome.ABORTED
            self._finish(outcome, 0)
            if not self._client_gone:
                self._refuse_begun(LEASE_DIED if written else LOG_FULL)
            return
        self.stage = Stage.RUNNING
        self._answer = Answer(
            self.client, self._lease, self._sequence, self._held_units, self._route.operation
        )
        self._sent = Sent(self._connection, self._name, chunked=self._head.chunked)
        self._sent.begin(self._upstream_head(), self._gathered.take(), whole=self._request_whole)
        if self._head.chunked or not self._request_whole:
            self.client.resume_reading()

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
            # The right fell while its stream ran.
            self._connection.abort()
            self._finish(*self._answer.charge(Outcome.CANCELLED))
            self._refuse_begun(revoked(self._lease.dead_code))
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
            self._connection.abort()
            self.client.close_after_answer()
        if self._client_gone:
            self._finish_handed()
        elif not answer.ok:
            self._finish(Outcome.UPSTREAM_ERROR, 0)
            answer.send_error()
        elif answer.failed:
            self._finish(Outcome.UPSTREAM_ERROR, 0)
            answer.end()
        else:
            self.stage = Stage.DONE
            self._plane.settle_when_handed_over(self)
            answer.end()

    def settle(self) -> bool:
        """Records the call if its whole answer is with the client's socket, or never will be."""
        if settled := self.client.gone or (self._answer is not None and self._answer.whole):
            self._finish_handed()
        return settled

    def on_lost(self, reason: str) -> None:
        """The connection to Triton failed, or could not be made."""
        if self.stage is Stage.CONNECTING:
            self._give_up(NOT_READY)
        elif self.stage is Stage.OPENING:
            # The entry is about to be written: `opened` sees the broken connection no more, so close it here.
            self._finish(Outcome.ABORTED, 0)
            self._refuse_begun(NOT_READY)
        elif self.stage is Stage.RUNNING:
            self._fail(502, reason)

    def on_deadline(self) -> None:
        """The call took longer than the gateway allows."""
        if self.stage is Stage.RUNNING:
            self._connection.abort()
            # What was taken of a stream was worth it, whoever was slow.
            taken = self._route.operation.streams or self.client.handed() < self.client.written
            self._fail(504, "the inference server did not answer in time", due=self.answer_started and taken)
        elif self.stage is Stage.DONE:
            self.client.abort()
        elif self.stage is Stage.CONNECTING:
            self._withdraw()
            self.client.refuse(NOT_READY)

    def _refuse_begun(self, refusal: Refusal) -> None:
        """Refuses a call that has a name already; one that was answered in part is cut instead."""
        if self.answer_started:
            self.client.abort()
        else:
            self.client.refuse(refusal, request_id=self._name)

    def _fail(self, status: int, reason: str, *, due: bool = False) -> None:
        """Free, unless the client left, or what it took is `due`."""
        if self._client_gone or due:
            self._finish_handed()
        else:
            self._finish(Outcome.UPSTREAM_ERROR, 0)
        if self.answer_started:
            self.client.abort()
        elif not self._client_gone:
            self.client.fail(status, reason)

    @property
    def _name(self) -> str:
        return request_id(self._lease.terms.lease_id, self._sequence)

    def _finish_handed(self) -> None:
        if self._answer is not None:
            self._finish(*self._answer.charge())

    def _finish(self, outcome: Outcome, units: int) -> None:
        self.stage = Stage.DONE
        record = ended_call(
            outcome,
            units,
            name=self._name,
            sequence=self._sequence,
            started_ns=self._started_ns,
            bytes_in=self._size,
            request=self._sent,
            answer=self._answer,
        )
        if self._span is not None:
            end_span(self._span, self._lease.terms, record)
        self._plane.record(self, self._lease, self._held_units, record)
