"""A call that goes to Triton over gRPC, on a stream of its own of a connection that many share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from licet_gateway.dataplane.call import Call
from licet_gateway.dataplane.clock import now_ns
from licet_gateway.dataplane.commitments import Commitments
from licet_gateway.dataplane.counters import Event
from licet_gateway.dataplane.ending import ended
from licet_gateway.dataplane.h2 import blocks
from licet_gateway.dataplane.refusals import NOT_READY, QUEUED_TOO_LONG, UNLOADED
from licet_gateway.dataplane.stage import Stage
from licet_gateway.domain import CallRecord, Credential, Outcome, Refusal
from licet_gateway.telemetry import traceparent_of

if TYPE_CHECKING:
    from licet_gateway.dataplane.h2.channels import UpstreamChannels
    from licet_gateway.dataplane.h2.upstream import UpstreamChannel, UpstreamStream
    from licet_gateway.dataplane.plane import DataPlane
    from licet_gateway.dataplane.upstream import UpstreamPool

INFER: Final = b"/inference.GRPCInferenceService/ModelInfer"
STREAM_INFER: Final = b"/inference.GRPCInferenceService/ModelStreamInfer"
_OK: Final = b"0"
_UNKNOWN_MODEL: Final = "Request for unknown model"
_NOT_STATED: Final = 2  # gRPC's UNKNOWN
_TRACED: Final = (b"traceparent", b"tracestate")


class TritonCall(Call):
    """What a protocol adds: `_path`, `_request_bytes`, `_on_answer`, `_on_answered` and `_on_failed`."""

    __slots__ = (
        "_awaited_ns",
        "_channel",
        "_channels",
        "_commitments",
        "_pool",
        "_repeated",
        "_traced",
        "_tried",
        "_upstream",
    )

    _pool: UpstreamPool
    _tried: tuple[UpstreamPool, ...]
    # Since when bytes of the answer are due, by the pool's coarse clock.
    _awaited_ns: int
    _repeated: bool

    _channels: UpstreamChannels
    _channel: UpstreamChannel
    _upstream: UpstreamStream | None
    # Once the request has left.
    _commitments: Commitments | None
    _traced: Mapping[bytes, bytes]

    def __init__(
        self, plane: DataPlane, slug: str, caller: Credential, traced: Mapping[bytes, bytes]
    ) -> None:
        super().__init__(plane, slug, caller, traced)
        self._traced = traced
        self._commitments = None

    # --- what a protocol supplies

    @property
    def _path(self) -> bytes:
        raise NotImplementedError

    def _request_bytes(self) -> bytes:
        """The one message that is sent, with its prefix."""
        raise NotImplementedError

    @property
    def _may_run_twice(self) -> bool:
        """Whether a request that Triton may have begun with can be sent again."""
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

    def _acquire(self) -> Refusal | None:
        self._upstream = None
        self._repeated = False
        self._tried = ()
        refusal = self._seek()
        if refusal is None and self.stage is Stage.CONNECTING:
            self._plane.connecting.add(self)
        return refusal

    def _seek(self) -> Refusal | None:
        """Takes or awaits room at the best server that was not tried; a refusal where none has any."""
        while (pool := self._plane.replicas.pick(self._version, self._tried)) is not None:
            self._pool = pool
            self._tried = (*self._tried, pool)
            self._channels = self._plane.channels[pool.url]
            if self._channels.acquire(self):
                return None
        return QUEUED_TOO_LONG if self._pool.health.usable else NOT_READY

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
        """The server takes no connection: another one may."""
        if self.stage is Stage.CONNECTING:
            refusal = self._seek()
            if refusal is not None:
                self._plane.connecting.discard(self)
                self._give_up(NOT_READY)
        elif self.stage is Stage.RUNNING and self._seek() is not None:
            self._fail(503, reason)

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
            self._awaited_ns = self._pool.coarse_ns
            self._upstream.send_data(self._request_bytes(), end=True)
        elif not self._channels.acquire(self):
            # The room was taken while the open entry was written.
            self._fail(503, QUEUED_TOO_LONG.message)

    def _stop(self) -> None:
        if self._upstream is None:
            self._channels.stop_waiting(self)
        else:
            self._upstream.reset()

    def _give_up_on_triton(self) -> None:
        if not self.answer_started:
            self._pool.health.failed(now_ns(), late=True)
        self._stop()

    def sweep(self, now: int) -> None:
        """Ends the call where its answer, or more of it, is overdue."""
        upstream = self._upstream
        if self.stage is not Stage.RUNNING or upstream is None or upstream.paused:
            return
        pool = self._pool
        if now - self._awaited_ns >= (pool.idle_ns if self.answer_started else pool.first_byte_ns):
            loss = pool.stalled if self.answer_started else pool.late
            pool.health.failed(now, late=True)
            self._stop()
            self._fail(loss.status, loss.message)

    # --- what Triton says

    def on_head(self, fields: Mapping[bytes, bytes]) -> None:
        """Its status follows in the trailers."""

    def on_data(self, data: bytes) -> None:
        if self.stage is Stage.RUNNING:
            self._awaited_ns = self._pool.coarse_ns
            self._on_answer(data)

    def on_trailers(self, fields: Mapping[bytes, bytes]) -> None:
        if self.stage is not Stage.RUNNING:
            return
        self._pool.succeeded()
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
        if self.stage is not Stage.RUNNING:
            return
        if not refused:
            self._pool.health.failed(now_ns())
        if not self._repeat(refused):
            self._fail(502, reason)

    def _repeat(self, refused: bool) -> bool:
        """Sends the same request again, once, under the same name; false where that is not safe or not to be had."""
        if self._repeated or self.answer_started or not (refused or self._may_run_twice):
            return False
        if not self._lease.alive(now_ns()) or not self._plane.retries.take():
            return False
        self._plane.counters.count(Event.RETRY)
        self._repeated = True
        self._upstream = None
        # By another server where there is one.
        self._tried = () if refused else (self._pool,)
        if self._seek() is None:
            return True
        self._tried = ()
        return self._seek() is None

    def _record(self, outcome: Outcome, units: int) -> CallRecord:
        commitments = self._commitments
        return ended(
            outcome,
            units,
            name=self._name,
            sequence=self._sequence,
            started_ns=self._started_ns,
            bytes_in=self._size,
            bytes_out=0 if commitments is None else commitments.bytes_out,
            commitments=(None, None) if commitments is None else commitments.digests(),
        )

    def on_drained(self) -> None:
        """The request is sent as a whole, however slowly Triton takes it."""
