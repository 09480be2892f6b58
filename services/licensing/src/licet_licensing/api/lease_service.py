"""LeaseService: gRPC messages in, one use case, gRPC messages out."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message as ProtobufMessage
from licet_kit.clock import Clock
from licet_kit.db import reading, transaction
from licet_kit.errors import LicetError, PermanentError
from licet_kit.kafka import Fate, fate_of
from licet_kit.lifecycle import Service
from licet_kit.logs import get_logger
from licet_schemas.licet.licensing.v1 import licensing_pb2 as pb
from licet_schemas.licet.licensing.v1 import licensing_pb2_grpc as stubs
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_licensing import telemetry
from licet_licensing.api.batching import Batcher, Overloaded
from licet_licensing.domain.credentials import MAX_ID_CHARS, is_id, parse_session_token
from licet_licensing.domain.errors import CredentialInvalid, InvalidRequest, NotFound, RequestReused
from licet_licensing.domain.grants import Source
from licet_licensing.domain.leases import MAX_UNITS
from licet_licensing.domain.scene import Ask, Policy
from licet_licensing.events import position_of, source_number
from licet_licensing.usecases.board import Need
from licet_licensing.usecases.explaining import Explanation, explain, explain_past
from licet_licensing.usecases.identity import identify
from licet_licensing.usecases.leasing import AnyAsk, Granted, LeaseAsk, RenewAsk, Reply, give_back

log = get_logger(__name__)

R = TypeVar("R")
if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]
    Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:  # grpc's own classes take no parameters
    Interceptor = grpc.aio.ServerInterceptor

HASH_BYTES = 32
# Requests of one stream in work at once; a worker that sends more waits for answers first.
STREAM_CONCURRENCY = 256
# Streams and calls get this long to end when the process stops.
DRAIN_S = 5.0

_STATUS = {
    CredentialInvalid: grpc.StatusCode.UNAUTHENTICATED,
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    RequestReused: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
}


@dataclass(slots=True)
class LeaseServicer(stubs.LeaseServiceServicer):
    """Lends to gateway workers. Requests of all workers meet in one batcher."""

    engine: AsyncEngine
    batcher: Batcher
    policy: Policy
    clock: Clock

    async def Lease(self, request: pb.LeaseRequest, context: Any) -> pb.LeaseReply:  # noqa: N802  gRPC's name
        return await self._unary(self._lease(request), context)

    async def Renew(self, request: pb.RenewRequest, context: Any) -> pb.LeaseReply:  # noqa: N802
        return await self._unary(self._renew(request), context)

    async def Return(self, request: pb.ReturnRequest, context: Any) -> pb.ReturnReply:  # noqa: N802
        return await self._unary(self._return(request), context)

    async def Explain(self, request: pb.ExplainRequest, context: Any) -> pb.ExplainReply:  # noqa: N802
        return await self._unary(self._explain(request), context)

    async def _unary(self, work: Awaitable[R], context: Any) -> R:
        try:
            return await work
        except LicetError as error:
            status = next((_STATUS[base] for base in type(error).__mro__ if base in _STATUS), None)
            fault = status or grpc.StatusCode.UNAVAILABLE, f"{error.code}: {error}"
        except Overloaded:
            fault = grpc.StatusCode.RESOURCE_EXHAUSTED, "overloaded: too many requests wait"
        except Exception as error:  # noqa: BLE001  edge: the worker learns that it may try again
            log.warning("rpc.failed", error=repr(error))
            fault = grpc.StatusCode.UNAVAILABLE, "licensing_unavailable: try again"
        await context.abort(*fault)
        raise AssertionError("abort raises")

    async def Session(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.SessionRequest], context: Any
    ) -> AsyncIterator[pb.SessionReply]:
        replies: asyncio.Queue[pb.SessionReply | None] = asyncio.Queue()
        reader = asyncio.create_task(self._read_session(request_iterator, replies))
        try:
            while (reply := await replies.get()) is not None:
                yield reply
            if reader.done() and reader.exception() is not None:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "licensing_unavailable: ask again")
        finally:
            reader.cancel()

    async def _read_session(
        self, requests: AsyncIterator[pb.SessionRequest], replies: asyncio.Queue[pb.SessionReply | None]
    ) -> None:
        slots = asyncio.Semaphore(STREAM_CONCURRENCY)
        try:
            async with asyncio.TaskGroup() as group:
                async for request in requests:
                    await slots.acquire()
                    task = group.create_task(self._reply(request, replies))
                    task.add_done_callback(lambda _: slots.release())
        finally:
            # Behind every reply; the reader of the queue looks at how this task ended.
            asyncio.get_running_loop().call_soon(replies.put_nowait, None)

    async def _reply(
        self, request: pb.SessionRequest, replies: asyncio.Queue[pb.SessionReply | None]
    ) -> None:
        """Answer one request of a stream. A fault of the request is a denial: the others on the stream live on.

        An absent database ends the stream: the worker asks again on the next one, by the same request ids, and so
        learns of a lease whose commit was in doubt. A denial would hide it. Any other fault would come again on every
        stream, and is denied to the one request that has it.
        """
        asked = getattr(request, request.WhichOneof("request") or "lease")
        try:
            reply = await self._session_reply(request)
        except PermanentError as error:
            reply = pb.SessionReply(lease=_failure(error.code, str(error)))
        except Overloaded:
            reply = pb.SessionReply(lease=_failure("overloaded", "too many requests wait"))
        except Exception as error:
            if fate_of(error) is Fate.WAIT:
                raise
            log.exception("request.failed", request_id=asked.request_id)
            reply = pb.SessionReply(
                lease=_failure("licensing_unavailable", "the request could not be answered")
            )
        reply.request_id = asked.request_id
        await replies.put(reply)

    async def _session_reply(self, request: pb.SessionRequest) -> pb.SessionReply:
        match request.WhichOneof("request"):
            case "lease":
                return pb.SessionReply(lease=await self._lease(request.lease))
            case "renew":
                return pb.SessionReply(lease=await self._renew(request.renew))
            case "return":
                given_back = await self._return(getattr(request, "return"))
                reply = pb.SessionReply()
                getattr(reply, "return").CopyFrom(given_back)
                return reply
            case _:
                raise InvalidRequest("the request is empty")

    async def _lease(self, request: pb.LeaseRequest) -> pb.LeaseReply:
        return await self._ask(_lease_ask(request))

    async def _renew(self, request: pb.RenewRequest) -> pb.LeaseReply:
        return await self._ask(_renew_ask(request))

    async def _ask(self, ask: AnyAsk) -> pb.LeaseReply:
        answer = await self.batcher.ask(ask)
        if isinstance(answer, RequestReused):
            raise answer
        reply = _lease_reply(answer, self.clock.now().timestamp())
        code = reply.denial.code if reply.WhichOneof("outcome") == "denial" else "ok"
        telemetry.DECISIONS.add(1, {telemetry.LABEL_CODE: code})
        return reply

    async def _return(self, request: pb.ReturnRequest) -> pb.ReturnReply:
        async with transaction(self.engine) as session:
            await give_back(session, request.lease_id, request.worker_id, self.clock.now())
        return pb.ReturnReply()

    async def _explain(self, request: pb.ExplainRequest) -> pb.ExplainReply:
        now = self.clock.now()
        async with reading(self.engine) as session:
            if not request.decision_id:
                need = _need(request.credential, request.asset_id, request.slug)
                return _explain_reply(await explain(session, need, self.policy, now))
            digest = _credential_hash(request.credential)
            account_id = await identify(session, digest or b"", now)
            return _explain_reply(await explain_past(session, account_id, request.decision_id))


def _id(text: str, field: str) -> str:
    if not is_id(text):
        raise InvalidRequest(f"{field} has 1 to {MAX_ID_CHARS} printable ASCII characters")
    return text


def _fingerprint(request: ProtobufMessage) -> bytes:
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


def _need(credential: pb.Credential, asset_id: str, slug: str) -> Need:
    if not asset_id and not slug:
        raise InvalidRequest("asset_id or slug is needed")
    return Need(_credential_hash(credential), asset_id.lower(), slug)


def _credential_hash(credential: pb.Credential) -> bytes | None:
    """The hash that the credential is stored under; None when it cannot be one, which is decided too."""
    if credential.WhichOneof("kind") == "api_key_hash":
        return credential.api_key_hash if len(credential.api_key_hash) == HASH_BYTES else None
    try:
        return parse_session_token(credential.session)
    except CredentialInvalid:
        return None


def _lease_ask(request: pb.LeaseRequest) -> LeaseAsk:
    return LeaseAsk(
        request_id=_id(request.request_id, "request_id"),
        fingerprint=_fingerprint(request),
        worker_id=_id(request.worker_id, "worker_id"),
        need=_need(request.credential, request.asset_id, request.slug),
        ask=Ask(request.units_wanted, request.min_units, request.min_block),
    )


def _renew_ask(request: pb.RenewRequest) -> RenewAsk:
    return RenewAsk(
        request_id=_id(request.request_id, "request_id"),
        fingerprint=_fingerprint(request),
        worker_id=_id(request.worker_id, "worker_id"),
        lease_id=_id(request.lease_id, "lease_id"),
        wanted=request.units_wanted,
    )


def _lease_reply(reply: Reply, now: float) -> pb.LeaseReply:
    if isinstance(reply, Granted):
        return pb.LeaseReply(grant=_grant(reply, now))
    return pb.LeaseReply(
        denial=pb.Denial(
            code=reply.code,
            message=reply.message,
            remedy=reply.remedy,
            retry_after_ms=reply.retry_after_ms,
            decision_id=reply.decision_id,
        )
    )


def _grant(reply: Granted, now: float) -> pb.Grant:
    requires = []
    if reply.requires_grant_id:
        requires = [pb.RequiredGrant(grant_id=reply.requires_grant_id, generation=reply.requires_generation)]
    return pb.Grant(
        lease_id=reply.lease_id,
        grant_id=reply.grant_id,
        generation=reply.generation,
        account_id=reply.account_id,
        account_lease=reply.account_lease,
        source=source_number(Source(reply.source)),
        plan_id=reply.plan_key.rpartition(":")[2],
        asset_id=reply.asset_id,
        version_digest=reply.version_digest,
        units=reply.units,
        max_amount=str(reply.max_amount),
        # What is left of it: a reply that is repeated must not make the lease live longer.
        ttl_ms=max(0, int((reply.expires_at - now) * 1000)),
        price_book_version=reply.plan_key,
        metering_rule=reply.metering_rule,
        limits=pb.Limits(
            requests_per_s=reply.requests_per_s,
            concurrency=reply.concurrency,
            max_request_units=reply.units,
            max_calls=reply.max_calls,
        ),
        decision_id=reply.decision_id,
        position=position_of(reply.chain_id, reply.block_number, reply.block_hash),
        requires=requires,
        slug=reply.slug,
        # Of a deposit in small coins it may be any number; it is approximate, and clamped to what the field holds.
        units_remaining=min(reply.units_remaining, MAX_UNITS),
    )


def _failure(code: str, message: str) -> pb.LeaseReply:
    return pb.LeaseReply(denial=pb.Denial(code=code, message=message, remedy="ask again"))


def _explain_reply(found: Explanation) -> pb.ExplainReply:
    return pb.ExplainReply(
        decision_id=found.decision_id,
        code=found.code.value,
        message=found.message,
        steps=[
            pb.ExplainStep(subject=step.subject, usable=step.usable, code=step.code.value, detail=step.detail)
            for step in found.steps
        ],
    )


class WorkerToken(Interceptor):
    """Refuses every call without `authorization: Bearer <worker token>`."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        metadata = dict(handler_call_details.invocation_metadata or ())
        shown = str(metadata.get("authorization", "")).encode()
        handler = await continuation(handler_call_details)
        if hmac.compare_digest(shown, self._expected) or handler is None:
            return handler
        return _refusing(handler)


def _refusing(handler: Handler) -> Handler:
    async def refuse(_request: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "credential_invalid: not a worker's token")

    async def refuse_stream(_requests: Any, context: Any) -> AsyncIterator[Any]:
        await refuse(None, context)
        yield  # pragma: no cover  a generator, which abort has ended

    if handler.request_streaming:
        return grpc.stream_stream_rpc_method_handler(refuse_stream)
    return grpc.unary_unary_rpc_method_handler(refuse)


def serve_leases(servicer: LeaseServicer, token: str, host: str, port: int) -> Service:
    """The gRPC server as a part of the process. Raises when it cannot listen."""

    async def serve(stop: asyncio.Event) -> None:
        # Two processes on one port would each get some of the workers.
        server = grpc.aio.server(interceptors=[WorkerToken(token)], options=[("grpc.so_reuseport", 0)])
        stubs.add_LeaseServiceServicer_to_server(servicer, server)
        server.add_insecure_port(f"{host}:{port}")
        await server.start()
        try:
            await stop.wait()
        finally:
            await server.stop(DRAIN_S)

    return serve
