"""The gRPC side of the port: KServe's inference service, as far as it is on the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from licet_gateway.dataplane import grpc_replies, kserve
from licet_gateway.dataplane.credentials import read_credential
from licet_gateway.dataplane.grpc_call import UnaryCall
from licet_gateway.dataplane.grpc_models import GrpcModels
from licet_gateway.dataplane.grpc_stream import ClientStream
from licet_gateway.dataplane.h2 import blocks
from licet_gateway.dataplane.h2.messages import MessageError
from licet_gateway.dataplane.h2.server import ServerConnection
from licet_gateway.dataplane.keeping import OneMessage
from licet_gateway.dataplane.metering import NotMetered
from licet_gateway.dataplane.refusals import TOO_MANY_CLIENTS, UNKNOWN
from licet_gateway.dataplane.triton_call import INFER, STREAM_INFER
from licet_gateway.domain import Credential, Refusal, slug_of

if TYPE_CHECKING:
    import asyncio

    from licet_gateway.dataplane.h2.heads import RequestHead2
    from licet_gateway.dataplane.h2.server import ServerStream, StreamHandler
    from licet_gateway.dataplane.plane import DataPlane

_GRPC: Final = b"application/grpc"


class GrpcConnection(ServerConnection):
    """One client's connection, and what of its requests is remembered."""

    __slots__ = ("_credential", "_credential_head", "_plane", "requests")

    def __init__(self, plane: DataPlane) -> None:
        super().__init__(_Front(plane))
        self._plane = plane
        self.requests = kserve.RequestReader()
        self._credential: Credential | Refusal | None = None
        self._credential_head: RequestHead2 | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self._plane.connections) >= self._plane.client_connections:
            self._plane.counters.refused(TOO_MANY_CLIENTS.code)
            self.shut_down()
            self.finish()
            return
        self._plane.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._plane.connections.discard(self)
        super().connection_lost(exc)

    def credential(self, head: RequestHead2) -> Credential | Refusal:
        """Who calls, or why that is not said; the same head is the same object."""
        if self._credential is None or self._credential_head is not head:
            self._credential, self._credential_head = read_credential(head.fields), head
        return self._credential

    def sweep(self, now: int) -> None:
        super().sweep(now)
        for stream in list(self.streams.values()):
            if isinstance(stream.handler, _Unary | ClientStream | GrpcModels):
                stream.handler.sweep(now)

    def close_if_idle(self) -> None:
        """The gateway leaves; the client is asked to as well."""
        self.shut_down()

    def abort(self) -> None:
        self.cut()
        self.leave("the gateway is stopping")


class _Front:
    """Chooses who handles a stream."""

    __slots__ = ("_plane",)

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def open(self, stream: ServerStream, head: RequestHead2) -> StreamHandler:
        connection = stream.connection
        if head.method != b"POST" or not head.fields.get(b"content-type", b"").startswith(_GRPC):
            return _refused(stream, grpc_replies.UNIMPLEMENTED, "only gRPC is served here")
        if head.fields.get(b"grpc-encoding", b"identity") != b"identity":
            return _refused(stream, grpc_replies.UNIMPLEMENTED, "compressed messages are not served")
        models = GrpcModels.of(head.path)
        if models is not None:
            return models(self._plane, stream)
        if head.path not in (INFER, STREAM_INFER) or not isinstance(connection, GrpcConnection):
            return _refused(stream, grpc_replies.UNIMPLEMENTED, "no such method is served here")
        caller = connection.credential(head)
        refusal = caller if isinstance(caller, Refusal) else self._plane.admission(0)
        if refusal is not None or isinstance(caller, Refusal):
            return _refuse(self._plane, stream, refusal or UNKNOWN)
        if head.path == STREAM_INFER:
            return ClientStream(self._plane, stream, head, caller)
        return _Unary(self._plane, stream, head, caller, connection.requests)


class _Unary:
    """Handles the stream of a unary call: collects its one message."""

    __slots__ = ("_call", "_caller", "_head", "_message", "_plane", "_requests", "_stream")

    def __init__(
        self,
        plane: DataPlane,
        stream: ServerStream,
        head: RequestHead2,
        caller: Credential,
        requests: kserve.RequestReader,
    ) -> None:
        self._plane = plane
        self._stream = stream
        self._head = head
        self._caller = caller
        self._requests = requests
        self._message = OneMessage(plane.max_body_bytes, plane.keeping)
        self._call: UnaryCall | None = None

    def on_data(self, data: bytes) -> None:
        try:
            self._message.add(data)
        except MessageError as error:
            self._message.drop()
            _refused(self._stream, error.status, error.text)

    def sweep(self, now: int) -> None:
        """Ends a message that does not become whole."""
        if self._message.overdue(now):
            self._message.drop()
            _refused(self._stream, grpc_replies.DEADLINE_EXCEEDED, "the message came too slowly")

    def on_end(self) -> None:
        try:
            message = self._message.take()
            request = self._requests.read(message)
        except MessageError as error:
            _refused(self._stream, error.status, error.text)
            return
        except NotMetered as error:
            _refused(self._stream, grpc_replies.INVALID_ARGUMENT, str(error))
            return
        slug = slug_of(request.model)
        if slug is None:
            _refuse(self._plane, self._stream, UNKNOWN)
            return
        self._call = UnaryCall(self._plane, self._stream, self._head, slug, self._caller, message, request)
        self._call.start()

    def on_gone(self) -> None:
        self._message.drop()
        if self._call is not None:
            self._call.on_client_gone()

    def on_drained(self) -> None:
        if self._call is not None:
            self._call.on_client_drained()

    def on_finished(self) -> None:
        if self._call is not None:
            self._call.handover.framed()


class _Over:
    """Handles what is answered already."""

    __slots__ = ()

    def on_data(self, data: bytes) -> None:
        """Nobody reads it."""

    def on_end(self) -> None:
        """See on_data."""

    def on_gone(self) -> None:
        """See on_data."""

    def on_drained(self) -> None:
        """See on_data."""

    def on_finished(self) -> None:
        """See on_data."""


_OVER: Final = _Over()


def _refused(stream: ServerStream, status: int, message: str) -> StreamHandler:
    stream.handler = _OVER
    stream.refuse(blocks.trailers_only(status, message))
    return _OVER


def _refuse(plane: DataPlane, stream: ServerStream, refusal: Refusal) -> StreamHandler:
    plane.counters.refused(refusal.code)
    stream.handler = _OVER
    fields = grpc_replies.refusal_fields(refusal)
    stream.refuse(blocks.trailers_only(grpc_replies.status_of(refusal.status), refusal.message, fields))
    return _OVER
