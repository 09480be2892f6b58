"""A call's way to an inference server over HTTP/1.1: a connection, another server where one cannot be reached, and the
one repeat of a request that was lost before its answer began."""

from __future__ import annotations

from typing import TYPE_CHECKING

from licet_gateway.dataplane.call import Call
from licet_gateway.dataplane.clock import now_ns
from licet_gateway.dataplane.counters import Event
from licet_gateway.dataplane.refusals import LEASE_DIED, NOT_READY
from licet_gateway.dataplane.retry import may_repeat
from licet_gateway.dataplane.stage import Stage
from licet_gateway.domain import Credential, Outcome, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from licet_gateway.dataplane.forwarding import Sent
    from licet_gateway.dataplane.http import ResponseHead
    from licet_gateway.dataplane.loss import Loss
    from licet_gateway.dataplane.plane import DataPlane
    from licet_gateway.dataplane.routes import Route
    from licet_gateway.dataplane.upstream import UpstreamConnection, UpstreamPool


class Passage(Call):
    """What a call does about its server, most of which a healthy one never sees."""

    __slots__ = ("_connection", "_lost", "_pool", "_repeated", "_route", "_sent", "_tried")

    _pool: UpstreamPool
    _connection: UpstreamConnection
    _route: Route

    def __init__(
        self, plane: DataPlane, slug: str, caller: Credential, traced: Mapping[bytes, bytes]
    ) -> None:
        super().__init__(plane, slug, caller, traced)
        self._sent: Sent | None = None
        # Servers that this call found unreachable.
        self._tried: tuple[UpstreamPool, ...] = ()
        # What befell the connection before anything was sent by it, or before its answer began.
        self._lost: Loss | None = None
        self._repeated = False

    # --- what the protocol supplies

    def _upstream_head(self) -> bytes:
        raise NotImplementedError

    def on_response_head(self, head: ResponseHead) -> None:
        raise NotImplementedError

    def on_response_body(self, data: bytes) -> None:
        raise NotImplementedError

    def on_response_end(self) -> None:
        raise NotImplementedError

    def on_upstream_full(self) -> None:
        raise NotImplementedError

    def on_upstream_drained(self) -> None:
        raise NotImplementedError

    # --- a connection

    def _acquire(self) -> Refusal | None:
        self._tried = ()
        return self._seek()

    def _stop_acquiring(self) -> None:
        self._pool.stop_waiting(self)

    def on_connected(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        connection.begin(self)
        if self.stage is Stage.RESENDING:
            self._send_again()
        else:
            self._placed()

    def _put_back(self) -> None:
        self._connection.unused()

    def _stop(self) -> None:
        self._connection.abort()

    def _give_up_on_triton(self) -> None:
        self._connection.give_up()

    def on_lost(self, loss: Loss) -> None:
        """The connection failed, or could not be had."""
        match self.stage:
            case Stage.CONNECTING:
                refusal = self._seek_elsewhere() if loss.elsewhere else loss.refusal
                if refusal is not None:
                    self._give_up(refusal)
            case Stage.OPENING:
                # The entry is about to be written; the call goes on from there.
                self._lost = loss
            case Stage.RESENDING:
                if not loss.elsewhere or self._seek_elsewhere() is not None:
                    # What happened to the call is the first loss; that nobody else took it is a detail.
                    first = self._lost or loss
                    self._fail(first.status, first.message)
            case Stage.RUNNING:
                if not self._repeat(loss):
                    self._fail(loss.status, loss.message)
            case _:
                """It is over already."""

    def _seek(self) -> Refusal | None:
        """Takes or awaits a connection to the best server that was not tried; the last refusal where none is left."""
        refusal = NOT_READY
        while (pool := self._plane.replicas.pick(self._version, self._tried)) is not None:
            self._pool = pool
            refused = pool.acquire(self, self._lease.terms.account_id)
            if refused is None:
                return None
            refusal = refused
            self._tried = (*self._tried, pool)
        return refusal

    def _seek_elsewhere(self) -> Refusal | None:
        self._tried = (*self._tried, self._pool)
        return self._seek()

    # --- the repeat

    def _repeat(self, loss: Loss) -> bool:
        """Sends the same request again, once, under the same name; false where that is not safe or not to be had."""
        sent = self._sent
        if self._repeated or sent is None or not sent.repeatable or self._client_gone:
            return False
        if not may_repeat(loss, self._route.operation) or not self._plane.retries.take():
            return False
        self._plane.counters.count(Event.RETRY)
        self._repeated = True
        self._lost = loss
        self.stage = Stage.RESENDING
        # By another server where there is one; a kept connection that was closed says nothing about its server.
        self._tried = () if loss.untouched else (self._pool,)
        if self._seek() is None:
            return True
        self._tried = ()
        return self._seek() is None

    def _send_again(self) -> None:
        if self._sent is None or not self._lease.alive(now_ns()):
            self._put_back()
            self._finish(Outcome.ABORTED, 0)
            self._refuse_begun(LEASE_DIED)
            return
        self.stage = Stage.RUNNING
        self._sent.repeat(self._connection, self._upstream_head())
