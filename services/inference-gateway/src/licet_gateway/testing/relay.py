"""Both ends of the HTTP/2 layer with nothing between: what a client sends goes to one server, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from licet_gateway.dataplane.h2 import blocks
from licet_gateway.dataplane.h2.channels import UpstreamChannels
from licet_gateway.dataplane.h2.heads import RequestHead2
from licet_gateway.dataplane.h2.limits import LOW_WATER, Limits
from licet_gateway.dataplane.h2.server import ServerConnection, ServerStream
from licet_gateway.dataplane.h2.upstream import UPSTREAM_LIMITS, UpstreamChannel, UpstreamStream
from licet_gateway.dataplane.h2.wire import Code

UNAVAILABLE: Final = 14
_DROPPED: Final = frozenset(
    {b"te", b"content-type", b"user-agent", b"grpc-accept-encoding", b"accept-encoding"}
)


class RelayedCall:
    """A client's stream and the stream of Triton that serves it."""

    __slots__ = ("_block", "_ended", "_relay", "_unsent", "client", "upstream")

    def __init__(self, relay: Relay, stream: ServerStream, head: RequestHead2) -> None:
        self._relay = relay
        self.client = stream
        self.upstream: UpstreamStream | None = None
        self._unsent: list[bytes] = []
        self._ended = False
        self._block = relay.block(head)
        if not relay.channels.acquire(self):
            self.on_unavailable("too many calls wait")

    # --- a channel's

    def on_channel(self, channel: UpstreamChannel) -> None:
        upstream = channel.open(Answer(self), self._block)
        assert upstream is not None
        self.upstream = upstream
        for data in self._unsent:
            upstream.send_data(data)
        self._unsent.clear()
        if self._ended:
            upstream.send_data(b"", end=True)
        elif upstream.buffered <= LOW_WATER:
            self.client.resume()

    def on_unavailable(self, reason: str) -> None:
        self.client.refuse(blocks.trailers_only(UNAVAILABLE, reason))

    # --- the client's

    def on_data(self, data: bytes) -> None:
        upstream = self.upstream
        if upstream is None:
            self._unsent.append(data)
            self.client.pause()
            return
        upstream.send_data(data)
        if upstream.buffered > LOW_WATER:
            self.client.pause()

    def on_end(self) -> None:
        self._ended = True
        if self.upstream is not None:
            self.upstream.send_data(b"", end=True)

    def on_gone(self) -> None:
        self._relay.gone += 1
        if self.upstream is None:
            self._relay.channels.stop_waiting(self)
        else:
            self.upstream.reset(Code.CANCEL)

    def on_finished(self) -> None:
        self._relay.finished += 1

    def on_drained(self) -> None:
        """The client took what it was sent."""
        if self.upstream is not None:
            self.upstream.resume()


class Answer:
    """The server's end of a relayed call."""

    __slots__ = ("_call", "_client", "_headed")

    def __init__(self, call: RelayedCall) -> None:
        self._call = call
        self._client = call.client
        self._headed = False

    def on_head(self, fields: Mapping[bytes, bytes]) -> None:
        self._headed = True
        self._client.send_head(blocks.RESPONSE_HEAD)

    def on_data(self, data: bytes) -> None:
        self._client.send_data(data)
        if self._client.buffered > LOW_WATER and self._call.upstream is not None:
            self._call.upstream.pause()

    def on_trailers(self, fields: Mapping[bytes, bytes]) -> None:
        block = blocks.trailers(int(fields.get(b"grpc-status", b"2")))
        message = fields.get(b"grpc-message")
        if message:
            block += blocks.encode_fields(((b"grpc-message", message),))
        self._client.finish(block if self._headed else blocks.RESPONSE_HEAD + block)

    def on_lost(self, reason: str, *, refused: bool) -> None:
        if self._headed:
            self._client.finish(blocks.trailers(UNAVAILABLE, reason))
        else:
            self._client.refuse(blocks.trailers_only(UNAVAILABLE, reason))

    def on_drained(self) -> None:
        """The server took what it was sent."""
        self._client.resume()


class Relay:
    """Makes the calls, and counts how they ended."""

    def __init__(self, host: str, port: int, *, limits: Limits | None = None, channels_max: int = 1) -> None:
        upstream = (
            UPSTREAM_LIMITS
            if limits is None
            else Limits(
                limits.stream_window,
                limits.connection_window,
                UPSTREAM_LIMITS.streams,
                paused_streams_count=False,
            )
        )

        def make(on_change: Callable[[UpstreamChannel], None]) -> UpstreamChannel:
            return UpstreamChannel(on_change, upstream)

        self.channels = UpstreamChannels(host, port, channels_max=channels_max, make=make)
        self.limits = limits or Limits()
        self.connections: list[ServerConnection] = []
        self.gone = self.finished = 0
        self._known: dict[RequestHead2, bytes] = {}

    def connection(self) -> ServerConnection:
        connection = ServerConnection(self, self.limits)
        self.connections.append(connection)
        return connection

    def open(self, stream: ServerStream, head: RequestHead2) -> RelayedCall:
        return RelayedCall(self, stream, head)

    def block(self, head: RequestHead2) -> bytes:
        """The head for the server, rendered once for each that is seen."""
        known = self._known.get(head)
        if known is None:
            extra = tuple(field for field in head.fields.items() if field[0] not in _DROPPED)
            known = blocks.request_head(self.channels.authority, head.path, extra)
            if len(self._known) >= 256:
                self._known.clear()
            self._known[head] = known
        return known

    async def listen(self) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(self.connection, "127.0.0.1", 0)

    async def close(self) -> None:
        """Cuts everything, and waits until the loop has closed the sockets."""
        self.channels.close()
        for connection in self.connections:
            connection.cut()
        for _ in range(3):
            await asyncio.sleep(0)
