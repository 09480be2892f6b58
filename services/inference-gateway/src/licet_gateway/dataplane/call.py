"""One inference call, from its units to its usage record, whatever protocols its two sides speak.

GATHERING → (units known) → LEASING → CONNECTING → OPENING → RUNNING → DONE. Nothing goes upstream before the open entry
is on disk, and every way out gives back what was held.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from licet_gateway.dataplane import metering
from licet_gateway.dataplane.clock import MS, now_ns
from licet_gateway.dataplane.counters import Event
from licet_gateway.dataplane.lease import Lease
from licet_gateway.dataplane.refusals import LEASE_DIED, LOG_FULL, NOT_READY, QUEUED_TOO_LONG, RULE_DIFFERS
from licet_gateway.dataplane.stage import Stage
from licet_gateway.domain import (
    NO_CAPS,
    REQUEST_RULE,
    CallRecord,
    Credential,
    MeteringRule,
    Outcome,
    Refusal,
    TokenCaps,
    request_id,
)
from licet_gateway.telemetry import end_refused_span, end_span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span

    from licet_gateway.dataplane.plane import DataPlane
    from licet_gateway.dataplane.versions import PinnedVersion

# A lease that died, or whose version went, between two steps of one call is replaced so often; then the call fails.
RESTARTS_MAX: Final = 2
# What a stream has come to cost is written down when it grew by so much, or after so long.
PROGRESS_UNITS: Final = 16
PROGRESS_NS: Final = 100 * MS


class Call:
    """Acts for one request: its protocol's side of it is a subclass. The lease book, the pool and Triton answer it."""

    __slots__ = (
        "_caller",
        "_caps",
        "_client_gone",
        "_held_units",
        "_lease",
        "_plane",
        "_request_whole",
        "_restarts",
        "_rule",
        "_sequence",
        "_size",
        "_slug",
        "_span",
        "_started_ns",
        "_streams",
        "_told_ns",
        "_told_units",
        "_version",
        "deadline_ns",
        "held_until_ns",
        "stage",
    )

    _version: PinnedVersion
    _lease: Lease

    def __init__(
        self, plane: DataPlane, slug: str, caller: Credential, traced: Mapping[bytes, bytes]
    ) -> None:
        self._plane = plane
        self._slug = slug
        self._caller = caller
        self.stage = Stage.GATHERING
        # Bytes of the request's body so far.
        self._size = 0
        self._request_whole = False
        self._client_gone = False
        self._restarts = 0
        self.held_until_ns = 0
        self._held_units = 0
        self._sequence = 0
        self._told_ns = self._told_units = 0
        self._rule: MeteringRule = REQUEST_RULE
        self._caps: TokenCaps = NO_CAPS
        # Whether its answer is worth something before it is whole, and has begun.
        self._streams = False
        self._span: Span | None = None
        if slug:
            self._identify(slug, traced)
        self.deadline_ns = now_ns() + plane.call_timeout_ns

    def _identify(self, slug: str, traced: Mapping[bytes, bytes]) -> None:
        """The model is known that the call names."""
        self._slug = slug
        newest = self._plane.versions.newest(slug)
        # An unknown model still gets licensing's answer first; the rule then does not matter.
        if newest is not None:
            self._rule, self._caps = newest.rule, newest.caps
        self._span = self._plane.tracer.start(traced, slug)

    # --- what a protocol supplies

    @property
    def answer_started(self) -> bool:
        """Whether the client was sent a part of the answer."""
        raise NotImplementedError

    @property
    def settled(self) -> bool:
        """Whether it is certain what of the answer was handed over."""
        raise NotImplementedError

    def count_unsettled(self, change: int) -> None:
        """The client's connection holds one more answer, or one fewer, that is written and not yet charged."""
        raise NotImplementedError

    def _units(self, caps: TokenCaps) -> int | None:
        """Units to hold by the rule, by what is read; None while that does not tell. Raises NotMetered."""
        raise NotImplementedError

    def _hold_request(self) -> None:
        """The call waits: no more of the request is wanted."""
        raise NotImplementedError

    def _resume_request(self) -> None:
        """More of the request is wanted."""
        raise NotImplementedError

    def _acquire(self) -> Refusal | None:
        """Asks for a place at Triton, given by `_placed`; a refusal where there is none to be had."""
        raise NotImplementedError

    def _stop_acquiring(self) -> None:
        """Leaves the queue for a place."""
        raise NotImplementedError

    def _put_back(self) -> None:
        """The place is not used."""
        raise NotImplementedError

    def _run(self) -> None:
        """The open entry is on disk: the request leaves."""
        raise NotImplementedError

    def _stop(self) -> None:
        """What Triton would still say belongs to nobody."""
        raise NotImplementedError

    def _give_up_on_triton(self) -> None:
        """As `_stop`, because it took too long."""
        raise NotImplementedError

    def _refuse(self, refusal: Refusal, name: str = "") -> None:
        """Tells the client; the call may have a name already."""
        raise NotImplementedError

    def _tell_failure(self, status: int, reason: str) -> None:
        raise NotImplementedError

    def _cut_answer(self) -> None:
        """The answer cannot be completed: the client must not take it for whole."""
        raise NotImplementedError

    def _charge(self, cut: Outcome = Outcome.CLIENT_GONE) -> tuple[Outcome, int]:
        """What the call costs by now; `cut` is the outcome of an answer that is not whole."""
        raise NotImplementedError

    def _record(self, outcome: Outcome, units: int) -> CallRecord:
        raise NotImplementedError

    def _worth_its_part(self) -> bool:
        """Whether a part of the answer is due although it took too long."""
        raise NotImplementedError

    # --- units and lease

    def _count(self) -> None:
        try:
            units = self._units(self._caps)
        except metering.NotMetered as error:
            self.stage = Stage.DONE
            self._tell_failure(400, str(error))
            return
        if units is None:
            return
        self._held_units = units
        self.stage = Stage.LEASING
        taken = self._plane.book.reserve(self._caller, self._slug, units, self)
        if isinstance(taken, Refusal):
            self.refused(taken)
        elif taken is not None:
            self.leased(taken)
        elif not self._request_whole:
            self._hold_request()

    def refused(self, refusal: Refusal) -> None:
        """The lease book's answer to a call that waited, or licensing's."""
        self.stage = Stage.DONE
        if self._span is not None:
            end_refused_span(self._span, refusal.code)
        self._refuse(refusal)

    def leased(self, lease: Lease) -> None:
        """Units are held: from here on every way out gives them back or records them."""
        self._lease = lease
        terms = lease.terms
        version = self._plane.versions.find(self._slug, terms.version_digest)
        if version is None:
            # Perhaps the active version changed after this lease was made: then a new lease names the new one.
            lease.renewable = False
            lease.retired = True
            self._restart_or_hold()
        elif version.rule.text != terms.metering_rule:
            self._give_up(RULE_DIFFERS)
        elif version.rule != self._rule or (version.rule.measure.of_tokens and version.caps != self._caps):
            # Units were counted for another version, which may read or write less.
            self._rule, self._caps = version.rule, version.caps
            self._give_up_or_restart(RULE_DIFFERS)
        else:
            self._version = version
            self.stage = Stage.CONNECTING
            refusal = self._acquire()
            if refusal is not None:
                self._give_up(refusal)

    def _give_up_or_restart(self, refusal: Refusal) -> None:
        if self._restarts >= RESTARTS_MAX:
            self._give_up(refusal)
            return
        self._plane.book.release(self._lease, self._held_units)
        self.go_on()

    def _restart_or_hold(self) -> None:
        """Its version is not ready. No units are held while it waits: the lease of then may name another."""
        self._plane.book.release(self._lease, self._held_units)
        if self._restarts < RESTARTS_MAX and self._plane.versions.newest(self._slug) is not None:
            self.go_on()
            return
        self._restarts = 0
        self.stage = Stage.HOLDING
        if self._plane.holding.add(self, self._slug, now_ns()):
            self._plane.counters.count(Event.HELD)
        else:
            self.gave_up()

    def gave_up(self) -> None:
        """The version was not announced in time."""
        self.refused(NOT_READY)

    def go_on(self) -> None:
        """Begins anew, with another lease."""
        self._restarts += 1
        self.stage = Stage.GATHERING
        # The other rule may need bytes that were not read while the call waited.
        self._resume_request()
        self._count()

    def _give_up(self, refusal: Refusal) -> None:
        self._plane.book.release(self._lease, self._held_units)
        self.refused(refusal)

    def _withdraw(self) -> None:
        """Leaves whatever queue the call stands in."""
        if self.stage is Stage.LEASING:
            self._plane.book.stop_waiting(self._caller, self._slug, self)
        elif self.stage is Stage.CONNECTING:
            self._stop_acquiring()
            self._plane.book.release(self._lease, self._held_units)
        elif self.stage is Stage.HOLDING:
            self._plane.holding.remove(self, self._slug)
        elif self.stage is Stage.RESENDING:
            self._stop_acquiring()
            self._finish(Outcome.CLIENT_GONE, 0)
        elif self.stage is Stage.OPENING:
            self._client_gone = True
            return
        self.stage = Stage.DONE

    # --- upstream

    def _placed(self) -> None:
        """There is a place at Triton: the call gets its name, and waits until that is written down."""
        self._started_ns = time.time_ns()
        sequence = self._plane.book.begin(self._lease, self._started_ns)
        if sequence is None:
            self._put_back()
            self._give_up_or_restart(LEASE_DIED)
            return
        self._sequence = sequence
        self.stage = Stage.OPENING
        self._plane.start_when_written(self)

    def opened(self, *, written: bool) -> None:
        """The open entry is on disk, or the disk refused it: only now may the first byte leave."""
        if self.stage is not Stage.OPENING:
            return
        if written and not self._client_gone and self._lease.alive(now_ns()):
            self.stage = Stage.RUNNING
            self._run()
            return
        self._put_back()
        self._finish(Outcome.CLIENT_GONE if self._client_gone else Outcome.ABORTED, 0)
        if not self._client_gone:
            self._refuse_begun(LEASE_DIED if written else LOG_FULL)

    # --- the end

    def progressed(self, units: int) -> None:
        """A part of a streamed answer leaves: what it has come to cost outlives this process."""
        self._streams = True
        if units <= self._told_units:
            return
        now = now_ns()
        if units - self._told_units >= PROGRESS_UNITS or now - self._told_ns >= PROGRESS_NS:
            self._told_units, self._told_ns = units, now
            self._plane.book.progress(self._lease, self._sequence, units)

    def sweep_progress(self) -> None:
        """Tells what was too little, or waited for its client, when it was streamed."""
        if self._streams and self.stage is Stage.RUNNING:
            self.progressed(self._charge()[1])

    def settle(self) -> bool:
        """Records the call if its whole answer is with the client's socket, or never will be."""
        if settled := self.settled:
            self._finish_handed()
        return settled

    def on_deadline(self) -> None:
        """The call took longer than the gateway allows."""
        if self.stage is Stage.RUNNING:
            self._give_up_on_triton()
            due = self.answer_started and self._worth_its_part()
            self._fail(504, self._plane.took_too_long, due=due)
        elif self.stage is Stage.RESENDING:
            self._stop_acquiring()
            self._fail(504, self._plane.took_too_long)
        elif self.stage is Stage.DONE:
            self._cut_answer()
        elif self.stage is Stage.CONNECTING:
            self._withdraw()
            self._refuse(QUEUED_TOO_LONG)

    def _cut_short(self, refusal: Refusal) -> None:
        """The right fell while its answer was streamed."""
        self._stop()
        self._finish(*self._charge(Outcome.CANCELLED))
        self._refuse_begun(refusal)

    def _refuse_begun(self, refusal: Refusal) -> None:
        """Refuses a call that has a name already; one that was answered in part is cut instead."""
        if self.answer_started:
            self._cut_answer()
        else:
            self._refuse(refusal, self._name)

    def _fail(self, status: int, reason: str, *, due: bool = False) -> None:
        """Free, unless the client left, or what it took is `due`."""
        if self._client_gone or due:
            self._finish_handed()
        else:
            self._finish(Outcome.UPSTREAM_ERROR, 0)
        if self.answer_started:
            self._cut_answer()
        elif not self._client_gone:
            self._tell_failure(status, reason)

    @property
    def _name(self) -> str:
        return request_id(self._lease.terms.lease_id, self._sequence)

    def _finish_handed(self) -> None:
        self._finish(*self._charge())

    def _finish(self, outcome: Outcome, units: int) -> None:
        self.stage = Stage.DONE
        record = self._record(outcome, units)
        if self._span is not None:
            end_span(self._span, self._lease.terms, record)
        self._plane.record(self, self._lease, self._held_units, record)
