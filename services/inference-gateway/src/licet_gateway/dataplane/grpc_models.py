"""Health, readiness and metadata over gRPC, answered without a lease: they say no more than the public catalogue.

Metadata is Triton's own under the name that the caller used: of a field that stands twice the last one holds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from licet_gateway.dataplane import grpc_replies, kserve
from licet_gateway.dataplane.h2 import blocks
from licet_gateway.dataplane.h2.messages import MessageError, MessageReader, frame
from licet_gateway.dataplane.keeping import OneMessage
from licet_gateway.dataplane.refusals import UNKNOWN, UNREACHABLE
from licet_gateway.domain import Refusal, slug_of

if TYPE_CHECKING:
    from licet_gateway.dataplane.h2.server import ServerStream
    from licet_gateway.dataplane.h2.upstream import UpstreamChannel
    from licet_gateway.dataplane.plane import DataPlane

_SERVICE: Final = b"/inference.GRPCInferenceService/"
_METADATA: Final = _SERVICE + b"ModelMetadata"
# A request holds a name and a version.
REQUEST_MAX: Final = 4096
METADATA_MAX: Final = 256 * 1024
CACHED_MAX: Final = 1024
_TRUE: Final = b"\x08\x01"
# ServerMetadataResponse: the name of what answers. It states no version and no extensions.
_SERVER: Final = b"\x0a\x05licet"


class GrpcModels:
    """One such question of a client."""

    __slots__ = ("_answer", "_message", "_plane", "_stream")

    def __init__(
        self, plane: DataPlane, stream: ServerStream, answer: Callable[[GrpcModels, bytes], None]
    ) -> None:
        self._plane = plane
        self._stream = stream
        self._answer = answer
        self._message = OneMessage(REQUEST_MAX, plane.keeping)

    @staticmethod
    def of(path: bytes) -> Callable[[DataPlane, ServerStream], GrpcModels] | None:
        """Who answers this path, if it is one of these."""
        answer = _ANSWERS.get(path)
        return None if answer is None else lambda plane, stream: GrpcModels(plane, stream, answer)

    def on_data(self, data: bytes) -> None:
        try:
            self._message.add(data)
        except MessageError as error:
            self._give_up(error.status, error.text)

    def sweep(self, now: int) -> None:
        """Ends a message that does not become whole."""
        if self._message.overdue(now):
            self._give_up(grpc_replies.DEADLINE_EXCEEDED, "the message came too slowly")

    def on_end(self) -> None:
        try:
            message = self._message.take()
        except MessageError as error:
            self._give_up(error.status, error.text)
        else:
            self._answer(self, message)

    def on_gone(self) -> None:
        """A question that Triton was asked is small: it is let be."""
        self._message.drop()

    def _give_up(self, status: int, text: str) -> None:
        self._message.drop()
        self._stream.refuse(blocks.trailers_only(status, text))

    def on_drained(self) -> None:
        """Answers are small."""

    def on_finished(self) -> None:
        """Nothing depends on it."""

    def say(self, message: bytes) -> None:
        """The whole answer."""
        if not self._stream.closed:
            self._stream.send_head(blocks.RESPONSE_HEAD)
            self._stream.send_data(frame(message))
            self._stream.finish(blocks.trailers(grpc_replies.OK))

    def refuse(self, refusal: Refusal) -> None:
        self._plane.counters.refused(refusal.code)
        status = grpc_replies.status_of(refusal.status)
        fields = grpc_replies.refusal_fields(refusal)
        self._stream.refuse(blocks.trailers_only(status, refusal.message, fields))

    def live(self, _: bytes) -> None:
        self.say(_TRUE)

    def ready(self, _: bytes) -> None:
        self.say(_TRUE if self._plane.ready else b"")

    def server(self, _: bytes) -> None:
        self.say(_SERVER)

    def model_ready(self, message: bytes) -> None:
        slug = self._slug(message)
        known = slug is not None and self._plane.versions.newest(slug) is not None
        self.say(_TRUE if known else b"")

    def metadata(self, message: bytes) -> None:
        slug = self._slug(message)
        version = None if slug is None else self._plane.versions.newest(slug)
        if version is None:
            self.refuse(UNKNOWN)
        else:
            self._plane.grpc_metadata.ask(self, version.path, version.slug.replace("/", ".").encode())

    @staticmethod
    def _slug(message: bytes) -> str | None:
        try:
            return slug_of(kserve.name_of(message))
        except kserve.Malformed:
            return None


_ANSWERS: Final = {
    _SERVICE + b"ServerLive": GrpcModels.live,
    _SERVICE + b"ServerReady": GrpcModels.ready,
    _SERVICE + b"ServerMetadata": GrpcModels.server,
    _SERVICE + b"ModelReady": GrpcModels.model_ready,
    _METADATA: GrpcModels.metadata,
}


class GrpcMetadata:
    """Triton's metadata of each pinned version, asked once."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._known: OrderedDict[bytes, bytes] = OrderedDict()

    def ask(self, asker: GrpcModels, path: bytes, name: bytes) -> None:
        known = self._known.get(path)
        if known is not None:
            asker.say(known)
            return
        question = _Question(self, asker, path, name)
        version = self._plane.versions.newest(slug_of(name) or "")
        pool = None if version is None else self._plane.replicas.pick(version)
        if pool is None or not self._plane.channels[pool.url].acquire(question):
            asker.refuse(UNREACHABLE)

    def learn(self, path: bytes, metadata: bytes) -> None:
        self._known[path] = metadata
        if len(self._known) > CACHED_MAX:
            self._known.popitem(last=False)


class _Question:
    """One question to Triton."""

    __slots__ = ("_asker", "_messages", "_metadata", "_name", "_path", "_reader")

    def __init__(self, metadata: GrpcMetadata, asker: GrpcModels, path: bytes, name: bytes) -> None:
        self._metadata = metadata
        self._asker = asker
        self._path = path
        self._name = name
        self._reader = MessageReader(METADATA_MAX)
        self._messages: list[bytes] = []

    def on_channel(self, channel: UpstreamChannel) -> None:
        pinned = self._path.rpartition(b"/")[2]
        stream = channel.open(self, blocks.request_head(b"triton", _METADATA))
        if stream is None:
            self._asker.refuse(UNREACHABLE)
        else:
            stream.send_data(frame(b"\x0a%c%s" % (len(pinned), pinned)), end=True)

    def on_unavailable(self, reason: str) -> None:
        self._asker.refuse(UNREACHABLE)

    def on_head(self, fields: Mapping[bytes, bytes]) -> None:
        """Its status follows in the trailers."""

    def on_data(self, data: bytes) -> None:
        try:
            self._messages += self._reader.feed(data)
        except MessageError:
            self._messages = []

    def on_trailers(self, fields: Mapping[bytes, bytes]) -> None:
        if fields.get(b"grpc-status") != b"0" or len(self._messages) != 1:
            self._asker.refuse(UNREACHABLE)
            return
        message = self._messages[0] + b"\x0a%c%s" % (len(self._name), self._name)
        self._metadata.learn(self._path, message)
        self._asker.say(message)

    def on_lost(self, reason: str, *, refused: bool) -> None:
        self._asker.refuse(UNREACHABLE)

    def on_drained(self) -> None:
        """The question is small."""
