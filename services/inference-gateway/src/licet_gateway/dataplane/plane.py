"""The data plane of one worker: who is connected, what is admitted, and the tick in which the log is written."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from licet_gateway.dataplane import replies
from licet_gateway.dataplane.call import Call
from licet_gateway.dataplane.client import ClientConnection
from licet_gateway.dataplane.clock import SECOND, now_ns
from licet_gateway.dataplane.counters import Counters
from licet_gateway.dataplane.grpc_models import GrpcMetadata
from licet_gateway.dataplane.h2.channels import UpstreamChannels
from licet_gateway.dataplane.holding import Holding
from licet_gateway.dataplane.keeping import KEPT_MESSAGES, Keeping
from licet_gateway.dataplane.lease import Lease
from licet_gateway.dataplane.leases import LeaseBook, Licensing
from licet_gateway.dataplane.log import Log
from licet_gateway.dataplane.models import ModelRoutes
from licet_gateway.dataplane.refusals import LOG_FULL, NOT_CAUGHT_UP, body_too_large
from licet_gateway.dataplane.replicas import Replicas
from licet_gateway.dataplane.retry import RetryBudget
from licet_gateway.dataplane.routes import Action, Route
from licet_gateway.dataplane.triton_call import TritonCall
from licet_gateway.dataplane.versions import VersionRegistry
from licet_gateway.domain import CallRecord, Refusal
from licet_gateway.settings import DataPlaneLimits, GrpcTarget
from licet_gateway.telemetry import CallTracer

# Fine enough for waits of seconds, coarse enough to cost nothing.
SWEEP_S: Final = 0.1


class Connection(Protocol):
    """One client's connection, whatever it speaks."""

    def sweep(self, now: int) -> None: ...
    def close_if_idle(self) -> None: ...
    def abort(self) -> None: ...


class DataPlane:
    """Everything of a worker that lives on its loop. It admits calls once `caught_up` is set."""

    def __init__(
        self,
        folder: Path,
        licensing: Licensing,
        tritons: tuple[str, ...],
        limits: DataPlaneLimits,
        *,
        chains: Collection[int],
        tracer: CallTracer,
        grpc: Mapping[str, GrpcTarget] | None = None,
    ) -> None:
        self._limits = limits
        self.call_timeout_ns = int(limits.call_timeout_s * SECOND)
        self.took_too_long = f"the call was not finished in {limits.call_timeout_s:g} s"
        # The most seconds that a call can take, the last one begun.
        self.longest_s = math.ceil(limits.call_timeout_s)
        self.max_body_bytes = limits.max_body_bytes
        self.client_connections = limits.client_connections
        self.counters = Counters(folder)
        self.log = Log(folder, max_bytes=limits.log_max_bytes, live=self._live_leases)
        self.book = LeaseBook(licensing, self, chains=chains, idle_ns=int(limits.lease_idle_s * SECOND))
        self.connections: set[Connection] = set()
        self.draining = False
        self.tracer = tracer
        # Set when every revocation that could touch a lease is known.
        self.caught_up = False
        self._models = ModelRoutes(self)
        self.replicas = Replicas(tritons, limits, self.counters)
        self.retries = RetryBudget(limits.retry_share)
        self.holding = Holding(hold_ns=int(limits.hold_s * SECOND), calls_max=limits.hold_calls)
        self.versions = VersionRegistry(tritons, when_ready=self.holding.wake)
        # By the HTTP address of the same Triton, which is what announcements name.
        self.channels = {
            url: UpstreamChannels(target.host, target.port) for url, target in (grpc or {}).items()
        }
        self.grpc_metadata = GrpcMetadata(self)
        self.keeping = Keeping(KEPT_MESSAGES * limits.max_body_bytes)
        # Calls that wait for room at Triton over gRPC.
        self.connecting: set[TritonCall] = set()
        self._running: set[Call] = set()
        self._opening: list[Call] = []
        # Answers just written, and answers that were not yet with the socket a tick later.
        self._written: list[Call] = []
        self._unsettled: list[Call] = []
        self._tick_due = False
        self._loop = asyncio.get_running_loop()

    @property
    def ready(self) -> bool:
        return self.caught_up and self.log.admits and not self.draining

    @property
    def busy(self) -> int:
        """Calls that are not recorded yet."""
        return len(self._running) + len(self._unsettled)

    def admission(self, content_length: int) -> Refusal | None:
        """Why no call is let in now, if so."""
        if not self.caught_up:
            return NOT_CAUGHT_UP
        if not self.log.admits:
            return LOG_FULL
        if content_length > self.max_body_bytes:
            return body_too_large(self.max_body_bytes)
        return None

    def inform(self, client: ClientConnection, route: Route) -> None:
        """Answers every route that is not inference."""
        match route.action:
            case Action.LIVE:
                client.reply(replies.render_empty(200, close=client.closes))
            case Action.READY:
                client.reply(replies.render_empty(200 if self.ready else 503, close=client.closes))
            case Action.MODEL_READY:
                self._models.ready(client, route.slug)
            case Action.LIST_MODELS:
                self._models.list_all(client)
            case Action.SHOW_MODEL:
                self._models.show(client, route.slug)
            case _:
                self._models.metadata(client, route.slug)

    def _live_leases(self) -> Iterable[Lease]:
        return self.book.live_leases()

    # --- the journal of the lease book

    def add_lease(self, lease: Lease) -> None:
        self.log.add_lease(lease)
        self._tick_soon()

    def add_open(self, lease: Lease, sequence: int, started_ns: int) -> None:
        self.log.add_open(lease, sequence, started_ns)
        self._tick_soon()

    def add_progress(self, lease: Lease, sequence: int, units: int) -> None:
        self.log.add_progress(lease, sequence, units)
        self._tick_soon()

    def add_close(self, lease: Lease, record: CallRecord) -> None:
        self.log.add_close(lease, record)
        self._tick_soon()

    # --- what calls say

    def start_when_written(self, call: Call) -> None:
        """The call goes on by `opened` once its open entry is on disk."""
        self.retries.calls += 1
        self._opening.append(call)
        self._running.add(call)

    def settle_when_handed_over(self, call: Call) -> None:
        """`settle` is asked until the answer is with the socket, or can never be."""
        call.count_unsettled(1)
        self._written.append(call)
        self._tick_soon()

    def settle_soon(self) -> None:
        """A client took what was written for it."""
        self._tick_soon()

    def record(self, call: Call, lease: Lease, held: int, record: CallRecord) -> None:
        self._running.discard(call)
        self.counters.finished(
            record.outcome,
            record.units,
            record.bytes_in,
            record.bytes_out,
            record.ended_ns - record.started_ns,
        )
        self.book.finish(lease, held, record)

    # --- time

    def _tick_soon(self) -> None:
        if not self._tick_due:
            self._tick_due = True
            self._loop.call_soon(self._tick)

    def _tick(self) -> None:
        """One write for all entries of this turn of the loop, then the calls that waited for it."""
        self._tick_due = False
        if self._unsettled:
            self._settle()
        opening, self._opening = self._opening, []
        written = self.log.flush()
        for call in opening:
            call.opened(written=written)
        if self._written:
            # What was written in this turn leaves after it: whether all of it could is seen in the next one.
            self._unsettled += self._written
            self._written = []
            self._tick_soon()

    def _settle(self) -> None:
        waiting = []
        for call in self._unsettled:
            if call.settle():
                call.count_unsettled(-1)
            else:
                waiting.append(call)
        self._unsettled = waiting

    def sweep(self) -> None:
        """Runs every SWEEP_S: time limits of everything, and what the disk refused."""
        now = now_ns()
        self.book.sweep()
        self.log.sweep()
        if self._unsettled:
            self._settle()
        for client in list(self.connections):
            client.sweep(now)
        for channels in self.channels.values():
            channels.sweep(now)
        for call in self._running:
            call.sweep_progress()
        self.give_up(now)
        self.replicas.sweep(now)
        self.holding.sweep(now)
        self.retries.sweep(now)
        self._models.sweep(now)
        self.counters.beat(
            now, ready=self.ready, connections=len(self.connections), running=len(self._running)
        )

    def give_up(self, now: int) -> None:
        """Ends the calls that took too long."""
        for call in list(self._running):
            if isinstance(call, TritonCall):
                call.sweep(now)
        for call in [call for call in (*self._running, *self.connecting) if now >= call.deadline_ns]:
            call.on_deadline()

    def close_idle_connections(self) -> None:
        """The worker leaves: who waits for nothing is let go."""
        for client in list(self.connections):
            client.close_if_idle()

    def close(self) -> None:
        """Everything is over: leases go back and the log is complete."""
        self.book.close()
        self._tick()
        for client in list(self.connections):
            client.abort()
        self.replicas.close()
        for channels in self.channels.values():
            channels.close()
        self._settle()
        self._tick()
        self.log.close()
