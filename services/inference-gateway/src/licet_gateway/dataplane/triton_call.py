"""A call that goes to Triton over gRPC, on a stream of its own of a connection that many share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from licet_gateway.dataplane.call import Call
from licet_gateway.dataplane.h2 import blocks
from licet_gateway.dataplane.refusals import UNLOADED
from licet_gateway.dataplane.stage import Stage
from licet_gateway.domain import Outcome
from licet_gateway.telemetry import traceparent_of

if TYPE_CHECKING:
    from licet_gateway.dataplane.h2.channels import UpstreamChannels
    from licet_gateway.dataplane.h2.upstream import UpstreamChannel, UpstreamStream

INFER: Final = b"/inference.GRPCInferenceService/ModelInfer"
STREAM_INFER: Final = b"/inference.GRPCInferenceService/ModelStreamInfer"
_OK: Final = b"0"
_UNKNOWN_MODEL: Final = "Request for unknown model"
_NOT_STATED: Final = 2  # gRPC's UNKNOWN
_TRACED: Final = (b"traceparent", b"tracestate")


class TritonCall(Call):
    """What a protocol adds: `_path`, `_request_bytes`, `_on_answer`, `_on_answered` and `_on_failed`."""

    __slots__ = ("_channel", "_channels", "_traced", "_upstream")

    _channels: UpstreamChannels
    _channel: UpstreamChannel
    _upstream: UpstreamStream | None
    _traced: Mapping[bytes, bytes]

    # --- what a protocol supplies

    @property
    def _path(self) -> bytes:
        raise NotImplementedError

    def _request_bytes(self) -> bytes:
        """The one message that is sent, with its prefix."""
        raise NotImplementedError

    def _on_answer(self, data: bytes) -> None:
        """More of the answer: messages with their prefixes, cut anywhere."""
        raise NotImplementedError

    def _on_answered(self) -> None:
        """Triton has said that all went well."""
        raise NotImplementedError

    def _on_failed(self, status: int, message: str) -> None:
        """Triton refused or failed the call, in its words."""
        raise NotImplementedError

    # --- a place

    def _acquire(self) -> bool:
        self._upstream = None
        self._channels = self._plane.pick_channels(self._version)
        self._plane.connecting.add(self)
        return self._channels.acquire(self)

    def _stop_acquiring(self) -> None:
        self._plane.connecting.discard(self)
        self._channels.stop_waiting(self)

    def on_channel(self, channel: UpstreamChannel) -> None:
        if self.stage is Stage.CONNECTING:
            self._plane.connecting.discard(self)
            self._channel = channel
            self._placed()
        elif self.stage is Stage.RUNNING:
            self._open_on(channel)

    def on_unavailable(self, reason: str) -> None:
        self._plane.connecting.discard(self)
        self._displaced(reason)

    def _put_back(self) -> None:
        """Room on a channel is not kept for anybody."""

    def _run(self) -> None:
        self._open_on(self._channel)

    def _open_on(self, channel: UpstreamChannel) -> None:
        extra = tuple((name, self._traced[name]) for name in _TRACED if name in self._traced)
        if self._span is not None:
            extra = ((b"traceparent", traceparent_of(self._span)),)
        head = blocks.request_head(self._channels.authority, self._path, extra)
        self._upstream = channel.open(self, head)
        if self._upstream is not None:
            self._upstream.send_data(self._request_bytes(), end=True)
        elif not self._channels.acquire(self):
            # The room was taken while the open entry was written.
            self._fail(503, "the inference server's queue is full")

    def _stop(self) -> None:
        if self._upstream is None:
            self._channels.stop_waiting(self)
        else:
            self._upstream.reset()

    # --- what Triton says

    def on_head(self, fields: Mapping[bytes, bytes]) -> None:
        """Its status follows in the trailers."""

    def on_data(self, data: bytes) -> None:
        if self.stage is Stage.RUNNING:
            self._on_answer(data)

    def on_trailers(self, fields: Mapping[bytes, bytes]) -> None:
        if self.stage is not Stage.RUNNING:
            return
        status = fields.get(b"grpc-status", b"")
        if status == _OK:
            self._on_answered()
            return
        message = unquote_to_bytes(fields.get(b"grpc-message", b"")).decode("utf-8", "replace")
        if message.startswith(_UNKNOWN_MODEL):
            # The caller is not at fault: it named a model, and the gateway its version.
            self._finish(Outcome.UPSTREAM_ERROR, 0)
            self._refuse_begun(UNLOADED)
        else:
            self._on_failed(int(status) if status.isdigit() else _NOT_STATED, message)

    def on_lost(self, reason: str, *, refused: bool) -> None:
        self._displaced(reason)

    def on_drained(self) -> None:
        """The request is sent as a whole, however slowly Triton takes it."""
