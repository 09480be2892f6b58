"""Both ends against another implementation of HTTP/2, driven by chance, and at every split of the bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
from hypothesis import given, settings
from hypothesis import strategies as st
from licet_gateway.dataplane.h2 import blocks, wire
from licet_gateway.dataplane.h2.limits import Limits
from licet_gateway.dataplane.h2.upstream import UpstreamChannel, UpstreamStream
from licet_gateway.testing.frames import ALL, GREETING, KeptTransport, Served, Turns, data, head

LIMITS = Limits(stream_window=70_000, connection_window=100_000, streams=100, paused_streams_count=False)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "data", "end", "reset", "ping", "settings", "take"]), st.integers(0, 1 << 16)
    ),
    max_size=60,
)
HEAD = [(":method", "POST"), (":scheme", "http"), (":path", "/s/M"), (":authority", "gateway")]


# --- every split


def told(pieces: list[bytes]) -> tuple[object, ...]:
    at = Served(greeting=b"")
    at.feed(*pieces)
    calls = [(dict(call.head.fields), call.body, tuple(call.told)) for call in at.calls]
    return calls, sorted(at.took()), at.connection.last_id


def test_the_split_of_the_bytes_never_matters() -> None:
    sent = GREETING + head(1) + head(3, (b"a", b"b"), flags=0) + wire.frame(wire.CONTINUATION, 4, 3, b"")
    sent += data(b"hello", 1) + data(b"\x03you\0\0\0", 3, wire.PADDED | wire.END_STREAM)
    sent += wire.frame(wire.PING, 0, 0, b"12345678") + wire.rst_stream(1, 8) + head(5, flags=ALL)
    expected = told([sent])
    assert len(expected[0]) == 3  # type: ignore[arg-type]
    for at in range(len(sent) + 1):
        assert told([sent[:at], sent[at:]]) == expected
    assert told([sent[i : i + 1] for i in range(len(sent))]) == expected


# --- as a server


@dataclass
class Client:
    """Another implementation's client, and what it heard of each stream."""

    served: Served = field(default_factory=lambda: Served(LIMITS, greeting=b""))
    heard: dict[int, bytes] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    sent: dict[int, bytes] = field(default_factory=dict)
    open: list[int] = field(default_factory=list)
    answered: set[int] = field(default_factory=set)
    taken: int = 0

    def __post_init__(self) -> None:
        self.other = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.other.initiate_connection()
        self.exchange()

    def exchange(self) -> None:
        """Until neither side has more to say."""
        for _ in range(10_000):
            out = self.other.data_to_send()
            if out:
                self.served.feed(out)
            self.served.turns.turn()
            sent = self.served.transport.sent
            if len(sent) == self.taken and not out:
                return
            new, self.taken = bytes(sent[self.taken :]), len(sent)
            if new:
                for event in self.other.receive_data(new):
                    self.hear(event)
        raise AssertionError("they never come to rest")

    def hear(self, event: Any) -> None:
        if isinstance(event, h2.events.DataReceived):
            self.heard[event.stream_id] += event.data
            self.other.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.open = [number for number in self.open if number != event.stream_id]

    def step(self, what: str, number: int) -> None:
        if what == "open":
            stream_id = self.other.get_next_available_stream_id()
            extra = [(f"x-{number % 7}", str(number % 11))]
            self.other.send_headers(stream_id, HEAD + extra, end_stream=number % 3 == 0)
            self.heard[stream_id], self.sent[stream_id] = b"", b""
            if number % 3:
                self.open.append(stream_id)
        elif what == "settings":
            # No window at all, or one that lets an answer through within the exchanges that are allowed.
            window = max(number, 500) if number else 0
            self.other.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        elif what == "ping":
            self.other.ping(b"12345678")
        elif what == "take":
            self.answer(number)
        elif self.open:
            self.say(what, self.open[number % len(self.open)], number)

    def say(self, what: str, stream_id: int, number: int) -> None:
        if what == "reset":
            self.other.reset_stream(stream_id)
            self.open.remove(stream_id)
        elif what == "end":
            self.other.end_stream(stream_id)
            self.open.remove(stream_id)
        else:
            room = self.other.local_flow_control_window(stream_id)
            size = min(number, room, self.other.max_outbound_frame_size - 10)
            payload = bytes([number % 256]) * size
            self.other.send_data(stream_id, payload, pad_length=number % 9 if size + 10 < room else None)
            self.sent[stream_id] += payload

    def answer(self, number: int) -> None:
        open_still = [call for call in self.served.calls if not call.stream.closed]
        waiting = [call for call in open_still if call.stream.id not in self.answered]
        if waiting:
            stream = waiting[number % len(waiting)].stream
            self.answered.add(stream.id)
            stream.send_head(blocks.RESPONSE_HEAD)
            stream.send_data(b"%d" % stream.id * number)
            stream.finish(blocks.trailers(0))


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_another_client_and_our_server_agree(steps: list[tuple[str, int]]) -> None:
    client = Client()
    for what, number in steps:
        client.step(what, number)
        client.exchange()
    # Wide windows, so that all that was answered comes to its end.
    client.step("settings", 1 << 20)
    client.exchange()
    served = client.served
    assert served.fault() is None
    for call in served.calls:
        assert call.stream.recv_left + call.stream.owed == LIMITS.stream_window or call.stream.closed
        assert client.sent[call.stream.id].startswith(call.body)
        if "gone" not in call.told:
            if call.stream.closed:
                assert "finished" in call.told
                assert call.stream.id in client.ended
                assert set(client.heard[call.stream.id]) <= set(b"%d" % call.stream.id)
            else:
                assert call.body == client.sent[call.stream.id]
                assert ("end" in call.told) == (call.stream.id not in client.open)


# --- as a client


@dataclass
class Asked:
    """What a stream of ours to another server heard."""

    fields: Mapping[bytes, bytes] | None = None
    body: bytes = b""
    trailers: Mapping[bytes, bytes] | None = None
    lost: list[bool] = field(default_factory=list)

    def on_head(self, fields: Mapping[bytes, bytes]) -> None:
        self.fields = fields

    def on_data(self, data: bytes) -> None:
        self.body += data

    def on_trailers(self, fields: Mapping[bytes, bytes]) -> None:
        assert self.trailers is None
        self.trailers = fields

    def on_lost(self, reason: str, *, refused: bool) -> None:
        self.lost.append(refused)

    def on_drained(self) -> None:
        """Nothing waits for it here."""


class Server:
    """Another implementation's server, which echoes."""

    def __init__(self, window: int) -> None:
        self.other = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.turns, self.transport = Turns(), KeptTransport()
        self.channel = UpstreamChannel(limits=LIMITS, soon=self.turns.soon)
        self.channel.connection_made(self.transport)
        self.taken = 0
        self.got: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.unsent: dict[int, bytes] = {}
        self.other.initiate_connection()
        self.other.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.exchange()

    def exchange(self) -> None:
        for _ in range(10_000):
            self.turns.turn()
            sent = self.transport.sent
            new, self.taken = bytes(sent[self.taken :]), len(sent)
            for event in self.other.receive_data(new) if new else ():
                self.hear(event)
            for stream_id in list(self.unsent):
                self.echo(stream_id)
            out = self.other.data_to_send()
            if out:
                self.channel.data_received(out)
            elif not new:
                return
        raise AssertionError("they never come to rest")

    def hear(self, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.got[event.stream_id] = b""
        elif isinstance(event, h2.events.DataReceived):
            self.got[event.stream_id] += event.data
            self.other.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
            self.other.send_headers(event.stream_id, [(":status", "200"), ("x", str(event.stream_id % 5))])
            self.unsent[event.stream_id] = self.got[event.stream_id]
        elif isinstance(event, h2.events.StreamReset):
            self.unsent.pop(event.stream_id, None)

    def echo(self, stream_id: int) -> None:
        while self.unsent[stream_id]:
            size = min(self.other.local_flow_control_window(stream_id), self.other.max_outbound_frame_size)
            if not size:
                return
            piece, self.unsent[stream_id] = self.unsent[stream_id][:size], self.unsent[stream_id][size:]
            self.other.send_data(stream_id, piece)
        del self.unsent[stream_id]
        self.other.send_headers(stream_id, [("grpc-status", "0")], end_stream=True)


@settings(deadline=None, max_examples=60)
@given(
    # A window of a few bytes would take more turns than `exchange` waits for.
    st.just(0) | st.integers(128, 200_000),
    st.lists(st.tuples(st.integers(0, 150_000), st.integers(0, 3), st.integers(0, 5)), max_size=12),
)
def test_our_client_and_another_server_agree(window: int, calls: list[tuple[int, int, int]]) -> None:
    server = Server(window)
    asked = [ask(server, *call) for call in calls]
    server.exchange()
    for _, stream, _ in asked:
        stream.resume()
        server.exchange()
    server.other.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
    server.exchange()
    for handler, stream, body in asked:
        assert handler.lost == []
        if body is not None:
            assert server.got[stream.id] == body
            assert handler.body == body
            assert handler.trailers == {b"grpc-status": b"0"}
            assert handler.fields == {b"x": b"%d" % (stream.id % 5)}
    assert not server.channel.streams


def ask(server: Server, size: int, turns: int, way: int) -> tuple[Asked, UpstreamStream, bytes | None]:
    """A call in two pieces; None for the body of one that is reset between them."""
    handler = Asked()
    stream = server.channel.open(handler, blocks.request_head(b"triton", b"/s/M"))
    assert stream is not None
    body = bytes([size % 256]) * size
    stream.send_data(body[: size // 2])
    if turns > 1:
        server.exchange()
    if way == 1:
        stream.reset()
    if way == 2:
        stream.pause()
    stream.send_data(body[size // 2 :], end=True)
    if turns:
        server.exchange()
    return handler, stream, None if way == 1 else body
