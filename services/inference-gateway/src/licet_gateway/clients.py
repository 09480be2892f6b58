"""The worker's side of `LeaseService.Session`: one stream, reconnected for ever, on which nothing asked is forgotten.

Requests are idempotent by id, so whatever is unanswered when a stream breaks is sent again on the next one. An ask that
was never sent is dropped once nobody waits for it; one that was may have been granted, and is repeated until answered,
because a lease whose reply was lost would otherwise be missing from its grant for a day.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import grpc.aio
from licet_kit.lifecycle import wait_or_stop
from licet_kit.logs import get_logger
from licet_schemas.licet.licensing.v1 import licensing_pb2 as pb
from licet_schemas.licet.licensing.v1.licensing_pb2_grpc import LeaseServiceStub

from licet_gateway.dataplane.clock import SECOND, now_ns
from licet_gateway.dataplane.leases import ASK_WAIT_NS
from licet_gateway.dataplane.pool import Ask
from licet_gateway.domain import LeaseTerms, Limits, Refusal

if TYPE_CHECKING:
    from licet_schemas.licet.licensing.v1.licensing_pb2_grpc import LeaseServiceAsyncStub

log = get_logger(__name__)

FIRST_BACKOFF_S: Final = 0.05
LONGEST_BACKOFF_S: Final = 2.0
CONNECT_TIMEOUT_S: Final = 2.0
# Requests kept for repetition; the oldest returns, which are only hints, give way first.
UNANSWERED_MAX: Final = 10_000
# After this licensing has suspended the lease of a lost reply anyway.
FORGOTTEN_AFTER_NS: Final = 600 * SECOND
# A stream on which an ask stays unanswered for so long is dead, whatever TCP says.
SILENCE_NS: Final = ASK_WAIT_NS


class Answers(Protocol):
    """Who is told of licensing's answers."""

    def granted(self, ask: Ask, terms: LeaseTerms) -> None: ...
    def denied(self, ask: Ask, refusal: Refusal) -> None: ...


@dataclass(slots=True)
class _Request:
    """Something asked of licensing; `ask` is None for a return."""

    message: pb.SessionRequest
    ask: Ask | None
    made_ns: int
    sent: bool = False


class LicensingSession:
    """Sends asks and returns, delivers replies. Lives on the data plane's loop."""

    def __init__(self, target: str, token: str, worker_id: str) -> None:
        self._target = target
        self._token = token
        self._worker_id = worker_id
        self._answers: Answers | None = None
        self._unanswered: dict[str, _Request] = {}
        self._wake = asyncio.Event()
        self._all_answered = asyncio.Event()
        self.connected = False
        # Ordinal of the stream in use. gRPC leaves the request iterator of a broken stream waiting.
        self._stream = 0

    def deliver_to(self, answers: Answers) -> None:
        self._answers = answers

    def ask(self, ask: Ask) -> None:
        self._add(ask.request_id, _Request(_ask_message(ask, self._worker_id), ask, ask.asked_ns))

    def give_back(self, lease_id: str, spent: int, last_sequence: int) -> None:
        request_id = uuid.uuid4().hex
        message = pb.ReturnRequest(
            request_id=request_id,
            worker_id=self._worker_id,
            lease_id=lease_id,
            spent_units=spent,
            last_sequence=last_sequence,
        )
        request = pb.SessionRequest()
        # The field's name is a keyword of Python.
        getattr(request, "return").CopyFrom(message)
        self._add(request_id, _Request(request, None, now_ns()))

    async def run(self, stop: asyncio.Event) -> None:
        """Keeps a session open until `stop` is set."""
        backoff_s = FIRST_BACKOFF_S
        async with grpc.aio.insecure_channel(self._target, options=_CHANNEL_OPTIONS) as channel:
            while not stop.is_set():
                try:
                    # Only what is sent over a connection may have been granted; the rest may be forgotten.
                    async with asyncio.timeout(CONNECT_TIMEOUT_S):
                        await channel.channel_ready()
                    answered = await self._session(LeaseServiceStub(channel), stop)
                except (grpc.aio.AioRpcError, OSError, TimeoutError) as error:
                    answered = 0
                    log.warning("licensing.session_lost", error=_reason(error), retry_in_s=backoff_s)
                    self._forget_old()
                finally:
                    self.connected = False
                backoff_s = FIRST_BACKOFF_S if answered else min(backoff_s * 2, LONGEST_BACKOFF_S)
                await wait_or_stop(stop, backoff_s)

    async def flush(self, deadline_s: float) -> None:
        """Waits until everything asked is answered, or the deadline."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                if self._unanswered:
                    await self._all_answered.wait()

    def _add(self, request_id: str, request: _Request) -> None:
        if len(self._unanswered) >= UNANSWERED_MAX:
            self._drop_one()
        self._unanswered[request_id] = request
        self._all_answered.clear()
        self._wake.set()

    def _drop_one(self) -> None:
        oldest_return = next((key for key, request in self._unanswered.items() if request.ask is None), None)
        self._unanswered.pop(oldest_return or next(iter(self._unanswered)))

    def _forget_old(self) -> None:
        now = now_ns()
        for key, request in list(self._unanswered.items()):
            limit = FORGOTTEN_AFTER_NS if request.sent or request.ask is None else ASK_WAIT_NS
            if now - request.made_ns > limit:
                del self._unanswered[key]
        if not self._unanswered:
            self._all_answered.set()

    async def _session(self, stub: LeaseServiceAsyncStub, stop: asyncio.Event) -> int:
        """One stream; the number of replies that came on it."""
        repeated = list(self._unanswered.values())
        started_ns = now_ns()
        self._stream += 1
        call = stub.Session(
            self._requests(repeated, self._stream), metadata=(("authorization", f"Bearer {self._token}"),)
        )
        self.connected = True
        answered = 0
        watching = asyncio.ensure_future(self._watch(call, started_ns, stop))
        try:
            async for reply in call:
                answered += 1
                self._take(reply)
        except asyncio.CancelledError:
            if not watching.done():
                raise
        finally:
            watching.cancel()
            call.cancel()
        return answered

    async def _requests(self, repeated: list[_Request], stream: int) -> AsyncIterator[pb.SessionRequest]:
        for request in repeated:
            request.sent = True
            yield request.message
        # The iterator of an earlier stream would take requests, and send them nowhere.
        while stream == self._stream:
            fresh = [request for request in self._unanswered.values() if not request.sent]
            for request in fresh:
                if stream != self._stream:
                    return
                request.sent = True
                yield request.message
            if not fresh:
                self._wake.clear()
                await self._wake.wait()

    async def _watch(
        self,
        call: grpc.aio.StreamStreamCall[pb.SessionRequest, pb.SessionReply],
        started_ns: int,
        stop: asyncio.Event,
    ) -> None:
        """Cuts a stream that has gone silent, and the last one when the worker stops."""
        while not await wait_or_stop(stop, SILENCE_NS / SECOND / 4):
            asked = [
                max(r.made_ns, started_ns) for r in self._unanswered.values() if r.sent and r.ask is not None
            ]
            if asked and now_ns() - min(asked) > SILENCE_NS:
                log.warning("licensing.session_silent", unanswered=len(asked))
                break
        call.cancel()

    def _take(self, reply: pb.SessionReply) -> None:
        request = self._unanswered.pop(reply.request_id, None)
        if not self._unanswered:
            self._all_answered.set()
        if request is None or request.ask is None or self._answers is None:
            return
        outcome = reply.lease
        if outcome.HasField("grant"):
            self._answers.granted(request.ask, terms_of(outcome.grant))
        else:
            self._answers.denied(request.ask, refusal_of(outcome.denial))


# The stream idles between leases; a broken peer is found by silence, not by pings that servers punish.
_CHANNEL_OPTIONS: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


def _ask_message(ask: Ask, worker_id: str) -> pb.SessionRequest:
    if ask.renewed is not None:
        renew = pb.RenewRequest(
            request_id=ask.request_id,
            worker_id=worker_id,
            lease_id=ask.renewed.terms.lease_id,
            units_wanted=ask.units_wanted,
        )
        return pb.SessionRequest(renew=renew)
    credential = ask.credential
    lease = pb.LeaseRequest(
        request_id=ask.request_id,
        worker_id=worker_id,
        credential=pb.Credential(session=credential.session)
        if credential.session
        else pb.Credential(api_key_hash=credential.api_key_hash),
        units_wanted=ask.units_wanted,
        min_units=ask.min_units,
        slug=ask.slug,
    )
    return pb.SessionRequest(lease=lease)


def terms_of(grant: pb.Grant) -> LeaseTerms:
    """The lease that a grant message states."""
    return LeaseTerms(
        lease_id=grant.lease_id,
        grant_id=grant.grant_id,
        generation=grant.generation,
        account_id=grant.account_id,
        account_lease=grant.account_lease,
        plan_id=grant.plan_id,
        asset_id=grant.asset_id,
        version_digest=grant.version_digest,
        units=grant.units,
        ttl_ms=grant.ttl_ms,
        price_book_version=grant.price_book_version,
        metering_rule=grant.metering_rule,
        decision_id=grant.decision_id,
        slug=grant.slug,
        units_remaining=grant.units_remaining,
        limits=Limits(
            requests_per_s=grant.limits.requests_per_s,
            concurrency=grant.limits.concurrency,
            max_request_units=grant.limits.max_request_units,
            max_calls=grant.limits.max_calls,
            units_per_s=grant.limits.units_per_s,
        ),
        requires=tuple((required.grant_id, required.generation) for required in grant.requires),
    )


def refusal_of(denial: pb.Denial) -> Refusal:
    """The refusal that a denial message states; an empty answer is nobody's fault but the service's."""
    return Refusal(
        code=denial.code or "licensing_unavailable",
        message=denial.message or "licensing refused the call without a reason",
        remedy=denial.remedy or "try again",
        retry_after_ms=denial.retry_after_ms,
        decision_id=denial.decision_id,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return repr(error)
