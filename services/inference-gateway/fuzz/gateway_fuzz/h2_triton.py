"""A Triton that speaks gRPC over the h2 library, which refuses what HTTP/2 forbids."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from tritonclient.grpc import service_pb2

from gateway_fuzz.engine import WrongError
from gateway_fuzz.turning import Pipe

_HEAD: Final = [(b":status", b"200"), (b"content-type", b"application/grpc")]
METADATA: Final = b"/inference.GRPCInferenceService/ModelMetadata"


@dataclass
class Called:
    """One call that reached it."""

    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    whole: bool = False
    reset: bool = False

    def field(self, name: bytes) -> bytes | None:
        found = [value for given, value in self.headers if given == name]
        if len(found) > 1:
            raise WrongError(f"repeated field: {name!r} passed")
        return found[0] if found else None


def refuses(called: Called) -> bool:
    """Whether this Triton answers with an error: always, where a message is none to protobuf."""
    if called.field(b":path") == METADATA:
        return False
    try:
        service_pb2.ModelInferRequest.FromString(called.body[5:])
    except DecodeError:
        return True
    return zlib.crc32(called.body) % 8 == 0


class GrpcTriton(Pipe):
    """The server's end of one channel. Raises WrongError out of `write` at anything that h2 does not take."""

    calls: list[Called]

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        super().__init__(loop, protocol)
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._h2.initiate_connection()
        self._open: dict[int, Called] = {}
        self._send()

    def heard(self, data: bytes) -> None:
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as error:
            raise WrongError(f"malformed frames: {type(error).__name__}: {error}") from None
        for event in events:
            self._on(event)
        self._send()

    def _on(self, event: Event) -> None:
        match event:
            case RequestReceived(stream_id=int(number), headers=headers):
                called = self._open[number] = Called([(bytes(n), bytes(v)) for n, v in headers or ()])
                self.calls.append(called)
            case DataReceived(stream_id=int(number), data=data, flow_controlled_length=size):
                self._open[number].body += bytes(data or b"")
                self._h2.acknowledge_received_data(size or 0, number)
            case StreamEnded(stream_id=int(number)):
                self._open[number].whole = True
                self._loop.call_soon(self._answer, number)
            case StreamReset(stream_id=int(number), error_code=code):
                called = self._open.pop(number, Called([]))
                called.reset = True
                if code not in (ErrorCodes.NO_ERROR, ErrorCodes.CANCEL):
                    raise WrongError(f"a fault of ours: Triton's stream was reset with {code}")

    def _answer(self, number: int) -> None:
        called = self._open.pop(number, None)
        if called is None or self._closing:
            return
        self._h2.send_headers(number, _HEAD)
        if refuses(called):
            self._h2.send_headers(
                number, [(b"grpc-status", b"3"), (b"grpc-message", b"unexpected")], end_stream=True
            )
        else:
            message = service_pb2.ModelInferResponse(model_name="pinned").SerializeToString()
            if called.field(b":path") == b"/inference.GRPCInferenceService/ModelStreamInfer":
                message = b"\x12%c%s" % (len(message), message)
            answer = b"\0" + len(message).to_bytes(4, "big") + message
            self._h2.send_data(number, answer[:3])
            self._h2.send_data(number, answer[3:])
            self._h2.send_headers(number, [(b"grpc-status", b"0")], end_stream=True)
        self._send()

    def _send(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self._loop.call_soon(self.say, data)
