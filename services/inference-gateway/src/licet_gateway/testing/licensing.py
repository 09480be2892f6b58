"""A scripted LeaseService: the fault injector in licensing's place. It speaks the real protocol on a real socket.

It lends, denies, holds its answers back and breaks streams as told; the real service is tested with the gateway in e2e.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import grpc.aio
from licet_schemas.licet.licensing.v1 import licensing_pb2 as pb

TOKEN = "test-worker-token-0123456789"


@dataclass(slots=True)
class Right:
    """What one caller may do with one model; tests change it while the gateway runs."""

    slug: str
    version_digest: str
    metering_rule: str = "request"
    free: int = 1_000_000
    # No lease is larger, unless the call that waits needs more.
    lease_units: int = 1_000
    ttl_ms: int = 10_000
    generation: int = 1
    grant_id: str = "31337:0x00000000000000000000000000000000000000aa:1:0"
    requires: tuple[tuple[str, int], ...] = ()
    requests_per_s: int = 0
    units_per_s: int = 0
    concurrency: int = 0
    denial: pb.Denial | None = None
    # Set to keep what is lent back: it is told with a later answer, once this is no longer set.
    late: bool = False


@dataclass(slots=True)
class Lent:
    """A lease as this double knows it."""

    right: Right
    units: int
    ordinal: int
    terms: pb.Grant
    # On this process's monotonic clock: when its time limit has passed for everyone.
    until_s: float
    # Its records have come, or it was fenced: there is nothing to renew.
    closed: bool = False


@dataclass
class ScriptedLicensing:
    """The whole state is public: tests read and change it."""

    rights: dict[tuple[bytes | str, str], Right] = field(default_factory=dict)
    leases: dict[str, Lent] = field(default_factory=dict)
    requests: list[pb.SessionRequest] = field(default_factory=list)
    returns: list[pb.ReturnRequest] = field(default_factory=list)
    # Clear to hold every answer back.
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    # Streams that showed another token.
    turned_away: int = 0
    # Streams that were let in.
    streams: int = 0
    _broken: asyncio.Event = field(default_factory=asyncio.Event)
    _answers: dict[str, pb.SessionReply] = field(default_factory=dict)
    _server: grpc.aio.Server | None = None

    async def serve(self) -> None:
        """Listens: on a free port, or where it did before."""
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((_handlers(self),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def leave(self) -> None:
        """Nobody listens any more; what was lent stays known."""
        if self._server is not None:
            await self._server.stop(None)

    def allow(self, credential: bytes | str, right: Right) -> Right:
        """Gives a caller (key hash or session) a right."""
        self.rights[credential, right.slug] = right
        return right

    @property
    def asks(self) -> list[pb.LeaseRequest]:
        """Lease requests so far, repeats included."""
        return [request.lease for request in self.requests if request.HasField("lease")]

    async def session(
        self,
        request_iterator: AsyncIterator[pb.SessionRequest],
        context: grpc.aio.ServicerContext[pb.SessionRequest, pb.SessionReply],
    ) -> AsyncIterator[pb.SessionReply]:
        if ("authorization", f"Bearer {TOKEN}") not in (context.invocation_metadata() or ()):
            self.turned_away += 1
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong worker token")
        self.streams += 1
        broken = self._broken
        kept: list[pb.SessionReply] = []
        async for request in request_iterator:
            self.requests.append(request)
            # Decided when it was asked, told when the test allows: so a reply can be overtaken.
            reply = self._reply(request)
            if self._is_late(reply):
                kept.append(reply)
                continue
            await self._may_answer(broken)
            if broken.is_set():
                await context.abort(grpc.StatusCode.UNAVAILABLE, "broken by the test")
            yield reply
            for each in [each for each in kept if not self._is_late(each)]:
                kept.remove(each)
                yield each

    def _is_late(self, reply: pb.SessionReply) -> bool:
        return reply.lease.HasField("grant") and self.leases[reply.lease.grant.lease_id].right.late

    def break_streams(self) -> None:
        """Ends every stream that is open now, with what it still owed."""
        self._broken.set()
        self._broken = asyncio.Event()

    async def _may_answer(self, broken: asyncio.Event) -> None:
        waiting = [asyncio.ensure_future(self.answering.wait()), asyncio.ensure_future(broken.wait())]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    def _reply(self, request: pb.SessionRequest) -> pb.SessionReply:
        match request.WhichOneof("request"):
            case "lease":
                name, answer = request.lease.request_id, self._lend
            case "renew":
                name, answer = request.renew.request_id, self._renew
            case _:
                returned = getattr(request, "return")
                self.returns.append(returned)
                reply = pb.SessionReply(request_id=returned.request_id)
                getattr(reply, "return").SetInParent()
                return reply
        if name not in self._answers:
            self._answers[name] = pb.SessionReply(request_id=name, lease=answer(request))
        return self._answers[name]

    def _lend(self, request: pb.SessionRequest) -> pb.LeaseReply:
        lease = request.lease
        credential = lease.credential.api_key_hash or lease.credential.session
        right = self.rights.get((credential, lease.slug))
        if right is None:
            return _denial("license_missing", "no license for this model", decision_id="decision-none")
        if right.denial is not None:
            return pb.LeaseReply(denial=right.denial)
        units = min(lease.units_wanted, max(right.lease_units, lease.min_units), right.free)
        if units < max(lease.min_units, 1):
            return _denial("quota_exhausted", "no units are left", decision_id="decision-quota")
        right.free -= units
        lease_id = uuid.uuid4().hex
        terms = self._grant(right, lease_id, units, ordinal=len(self.leases) + 1)
        until_s = time.monotonic() + right.ttl_ms / 1000
        self.leases[lease_id] = Lent(right, units, len(self.leases) + 1, terms, until_s)
        return pb.LeaseReply(grant=terms)

    def _renew(self, request: pb.SessionRequest) -> pb.LeaseReply:
        lent = self.leases[request.renew.lease_id]
        right = lent.right
        if right.denial is not None:
            return pb.LeaseReply(denial=right.denial)
        if lent.closed:
            return _denial("quota_exhausted", "the lease is over", decision_id="decision-over")
        units = min(request.renew.units_wanted, right.lease_units, right.free)
        # As the real one: where no units are free, a lease is renewed in time alone.
        right.free -= units
        lent.units += units
        lent.until_s = time.monotonic() + right.ttl_ms / 1000
        terms = self._grant(right, request.renew.lease_id, lent.units, ordinal=lent.ordinal)
        return pb.LeaseReply(grant=terms)

    def _grant(self, right: Right, lease_id: str, units: int, *, ordinal: int) -> pb.Grant:
        return pb.Grant(
            lease_id=lease_id,
            grant_id=right.grant_id,
            generation=right.generation,
            account_id="account-1",
            account_lease=ordinal,
            source=pb.GRANT_SOURCE_LICENSE,
            plan_id="7",
            asset_id="0x" + "ab" * 32,
            version_digest=right.version_digest,
            units=units,
            max_amount="0",
            ttl_ms=right.ttl_ms,
            price_book_version="31337:0x00000000000000000000000000000000000000bb:7",
            metering_rule=right.metering_rule,
            limits=pb.Limits(
                requests_per_s=right.requests_per_s,
                units_per_s=right.units_per_s,
                concurrency=right.concurrency,
            ),
            decision_id="decision-1",
            requires=[pb.RequiredGrant(grant_id=g, generation=n) for g, n in right.requires],
            slug=right.slug,
            units_remaining=right.free,
        )


def _denial(code: str, message: str, *, decision_id: str) -> pb.LeaseReply:
    denial = pb.Denial(code=code, message=message, remedy="a remedy", decision_id=decision_id)
    return pb.LeaseReply(denial=denial)


def _handlers(double: ScriptedLicensing) -> grpc.GenericRpcHandler[pb.SessionRequest, pb.SessionReply]:
    """The one method of the service that gateways use."""
    method = grpc.stream_stream_rpc_method_handler(
        double.session,
        request_deserializer=pb.SessionRequest.FromString,
        response_serializer=pb.SessionReply.SerializeToString,
    )
    return grpc.method_handlers_generic_handler("licet.licensing.v1.LeaseService", {"Session": method})


@asynccontextmanager
async def scripted_licensing(port: int = 0) -> AsyncIterator[ScriptedLicensing]:
    """Serves a double on loopback."""
    double = ScriptedLicensing()
    double.answering.set()
    double.port = port
    await double.serve()
    try:
        yield double
    finally:
        double.answering.set()
        await double.leave()
