"""The connection to Triton: what its server may say, and that one call's end is no other's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from licet_gateway.dataplane.clock import SECOND, now_ns
from licet_gateway.dataplane.h2 import blocks, wire
from licet_gateway.dataplane.h2.limits import GREETING_NS, Limits
from licet_gateway.dataplane.h2.upstream import UpstreamChannel, UpstreamStream
from licet_gateway.dataplane.h2.wire import Code, Setting, frame
from licet_gateway.testing.frames import ALL, Frame, KeptTransport, Turns, data, frames, u32

GREETING = wire.settings_frame({}) + frame(wire.SETTINGS, wire.ACK, 0)
REQUEST = blocks.request_head(b"triton", b"/s/M")
TRAILERS = blocks.trailers(0)


def head(stream_id: int, block: bytes = blocks.RESPONSE_HEAD, flags: int = wire.END_HEADERS) -> bytes:
    return frame(wire.HEADERS, flags, stream_id, block)


@dataclass
class Asked:
    """A call's handler that keeps what it is told."""

    told: list[object] = field(default_factory=list)

    def on_head(self, fields: Mapping[bytes, bytes]) -> None:
        self.told.append(("head", dict(fields)))

    def on_data(self, data: bytes) -> None:
        self.told.append(data)

    def on_trailers(self, fields: Mapping[bytes, bytes]) -> None:
        self.told.append(("trailers", dict(fields)))

    def on_lost(self, reason: str, *, refused: bool) -> None:
        self.told.append("refused" if refused else "lost")

    def on_drained(self) -> None:
        self.told.append("drained")


OK = [("head", {b"content-type": b"application/grpc"}), b"x", ("trailers", {b"grpc-status": b"0"})]


class Channel:
    """A channel, from the other side of its transport."""

    def __init__(self, greeting: bytes = GREETING, limits: Limits | None = None) -> None:
        self.turns, self.transport = Turns(), KeptTransport()
        self.changes = 0
        self.channel = UpstreamChannel(
            self.changed, limits or Limits(paused_streams_count=False), self.turns.soon
        )
        self.channel.connection_made(self.transport)
        self._seen = 0
        if greeting:
            self.feed(greeting)
            self._seen = len(self.transport.sent)

    def changed(self, channel: UpstreamChannel) -> None:
        self.changes += 1

    def feed(self, sent: bytes) -> None:
        self.channel.data_received(sent)
        self.turns.turn()

    def ask(self, body: bytes = b"") -> tuple[Asked, UpstreamStream]:
        handler = Asked()
        stream = self.channel.open(handler, REQUEST)
        assert stream is not None
        stream.send_data(body, end=True)
        self.turns.turn()
        return handler, stream

    def took(self) -> list[Frame]:
        self.turns.turn()
        new = bytes(self.transport.sent[self._seen :])
        self._seen += len(new)
        return frames(new)


def test_what_we_say_first() -> None:
    at = Channel(greeting=b"")
    at.turns.turn()
    assert at.transport.sent.startswith(wire.PREFACE)
    settings, window = frames(at.transport.sent[len(wire.PREFACE) :])
    assert dict(wire.read_settings(settings.payload))[Setting.ENABLE_PUSH] == 0
    assert wire.read_u32(window.payload) == (16 << 20) - wire.WINDOW_DEFAULT


def test_no_call_begins_before_the_server_said_what_it_takes() -> None:
    at = Channel(greeting=b"")
    assert at.channel.open(Asked(), REQUEST) is None
    at.feed(wire.settings_frame({Setting.MAX_CONCURRENT_STREAMS: 2}))
    assert at.changes == 1
    at.ask()
    at.ask()
    assert at.channel.open(Asked(), REQUEST) is None
    at.feed(head(1, blocks.trailers_only(0), ALL))
    assert at.channel.room
    assert at.changes == 2


def test_a_call_and_its_answer() -> None:
    at = Channel()
    handler, stream = at.ask(b"question")
    assert at.took() == [
        (wire.HEADERS, wire.END_HEADERS, 1, REQUEST),
        (wire.DATA, wire.END_STREAM, 1, b"question"),
    ]
    interim = head(1, blocks.encode_fields(((b":status", b"100"),)))
    at.feed(interim + head(1) + data(b"x") + head(1, TRAILERS, ALL))
    assert handler.told == OK
    assert stream.closed
    assert at.took() == []


def test_an_answer_of_one_block_gives_trailers_alone() -> None:
    at = Channel()
    handler, _ = at.ask()
    at.feed(head(1, blocks.trailers_only(5, "no"), ALL))
    assert handler.told == [
        (
            "trailers",
            {b"content-type": b"application/grpc", b"grpc-status": b"5", b"grpc-message": b"no"},
        )
    ]


def test_an_answer_before_the_end_of_the_question_ends_it() -> None:
    at = Channel()
    handler = Asked()
    stream = at.channel.open(handler, REQUEST)
    assert stream is not None
    at.took()
    at.feed(head(1, blocks.trailers_only(8), ALL))
    assert at.took() == [(wire.RST_STREAM, 0, 1, u32(0))]
    stream.send_data(b"never", end=True)
    assert at.took() == []
    assert len(handler.told) == 1


def test_one_calls_reset_is_no_others() -> None:
    at = Channel()
    calls = [at.ask(b"q") for _ in range(3)]
    at.took()
    calls[1][1].reset()
    assert at.took() == [(wire.RST_STREAM, 0, 3, u32(Code.CANCEL))]
    # What was on its way for it is thrown away, and read all the same.
    late = head(3, b"\x88\x40\x01a\x01b") + data(b"x", 3) + head(3, TRAILERS, ALL)
    at.feed(late + head(1, b"\x88\xbe") + data(b"x", 1) + head(1, TRAILERS, ALL))
    at.feed(head(5) + data(b"x", 5) + head(5, TRAILERS, ALL))
    assert calls[0][0].told == [("head", {b"a": b"b"}), *OK[1:]]
    assert calls[1][0].told == []
    assert calls[2][0].told == OK
    assert at.took() == []


@pytest.mark.parametrize(("code", "told"), [(Code.REFUSED_STREAM, "refused"), (Code.INTERNAL_ERROR, "lost")])
def test_a_reset_by_the_server_says_whether_it_began(code: Code, told: str) -> None:
    at = Channel()
    first, second = at.ask()[0], at.ask()[0]
    at.feed(wire.rst_stream(1, code) + head(3) + data(b"x", 3) + head(3, TRAILERS, ALL))
    assert (first.told, second.told) == ([told], OK)


def test_a_leaving_server_ends_what_it_took_and_refuses_the_rest() -> None:
    at = Channel()
    calls = [at.ask()[0] for _ in range(3)]
    at.feed(wire.goaway(0x7FFF_FFFF, 0))
    assert not at.channel.room
    assert [call.told for call in calls] == [[], [], []]
    at.feed(wire.goaway(3, 0))
    assert [call.told for call in calls] == [[], [], ["refused"]]
    for stream_id in (1, 3):
        at.feed(head(stream_id) + data(b"x", stream_id) + head(stream_id, TRAILERS, ALL))
    assert [call.told for call in calls] == [OK, OK, ["refused"]]
    assert at.transport.closed


def test_a_lost_server_refuses_what_never_left() -> None:
    at = Channel()
    first, _ = at.ask(b"sent")
    at.transport.holds = True
    at.channel.open(second := Asked(), REQUEST)
    at.channel.connection_lost(ConnectionResetError())
    assert (first.told, second.told) == (["lost"], ["refused"])
    assert at.changes


@pytest.mark.parametrize(
    "sent",
    [
        head(1, TRAILERS),
        data(b"x"),
        head(1) + head(1),
        head(1) + head(1, TRAILERS),
        head(1, blocks.encode_fields(((b":status", b"abc"),))),
        head(1, blocks.encode_fields(((b":path", b"/"), (b":status", b"200")))),
    ],
    ids=["no status", "no head", "two heads", "trailers that go on", "no number", "a request"],
)
def test_an_answer_out_of_order_costs_its_call_alone(sent: bytes) -> None:
    at = Channel()
    first, second = at.ask()[0], at.ask()[0]
    at.took()
    at.feed(sent)
    assert first.told[-1] == "lost"
    assert at.took() == [(wire.RST_STREAM, 0, 1, u32(Code.PROTOCOL_ERROR))]
    at.feed(head(3) + data(b"x", 3) + head(3, TRAILERS, ALL))
    assert second.told == OK


@pytest.mark.parametrize(
    "sent",
    [
        frame(wire.PUSH_PROMISE, wire.END_HEADERS, 1, u32(2) + blocks.RESPONSE_HEAD),
        wire.settings_frame({Setting.ENABLE_PUSH: 1}),
        head(3),
        head(2),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
    ids=["push", "asks for pushes", "idle stream", "server's stream", "HTTP/1.1"],
)
def test_a_server_that_breaks_the_rules_loses_all_calls(sent: bytes) -> None:
    at = Channel()
    handler, _ = at.ask()
    at.feed(sent)
    assert handler.told == ["lost"]
    assert at.transport.closed
    assert at.channel.open(Asked(), REQUEST) is None


def test_a_paused_call_holds_up_no_other() -> None:
    at = Channel(limits=Limits(stream_window=50_000, connection_window=65_535, paused_streams_count=False))
    (first, slow), (second, _) = at.ask(), at.ask()
    slow.pause()
    at.feed(head(1) + data(bytes(40_000)))
    at.feed(head(3) + data(bytes(40_000), 3))
    at.feed(data(b"x", 3) + head(3, TRAILERS, ALL))
    assert second.told[2:] == OK[1:]
    updates = [(f.stream_id, wire.read_u32(f.payload)) for f in at.took() if f.kind == wire.WINDOW_UPDATE]
    assert [update for update in updates if update[0] == 1] == []
    assert sum(size for stream_id, size in updates if not stream_id) >= 80_000
    slow.resume()
    assert at.took() == [(wire.WINDOW_UPDATE, 0, 1, u32(40_000))]
    assert len(first.told) == 2


def test_a_server_that_greets_nobody_is_left() -> None:
    at = Channel(greeting=b"")
    at.channel.sweep(now_ns() + GREETING_NS + SECOND)
    assert at.transport.closed


def test_ids_run_out() -> None:
    at = Channel()
    at.channel._next_id = wire.STREAM_ID_MAX  # the last that there is
    handler, _ = at.ask()
    assert not at.channel.room
    at.feed(head(wire.STREAM_ID_MAX, blocks.trailers_only(0), ALL))
    assert len(handler.told) == 1
    assert at.transport.closed
