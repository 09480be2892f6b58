"""Every rule of HTTP/2 that a client can break, and what is said to it then."""

from __future__ import annotations

import pytest
from licet_gateway.dataplane.h2 import blocks, wire
from licet_gateway.dataplane.h2.limits import (
    BLOCK_MAX,
    CONTINUATIONS_MAX,
    Limits,
)
from licet_gateway.dataplane.h2.wire import Code, Setting, frame
from licet_gateway.testing.frames import (
    ALL,
    GREETING,
    HEAD,
    REQUEST,
    TRAILERS,
    Served,
    data,
    head,
)

SMALL = Limits(stream_window=100, connection_window=65_535)


CONNECTION_FAULTS = {
    "no preface": (b"GET / HTTP/1.1\r\n\r\n", Code.PROTOCOL_ERROR),
    "no settings": (wire.PREFACE + frame(wire.PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
    "an acknowledgement first": (wire.PREFACE + frame(wire.SETTINGS, wire.ACK, 0), Code.PROTOCOL_ERROR),
    "a long frame": (GREETING + b"\xff\xff\xff\0\0\0\0\0\1", Code.FRAME_SIZE_ERROR),
    "settings on a stream": (GREETING + frame(wire.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    "half a setting": (GREETING + frame(wire.SETTINGS, 0, 0, b"abc"), Code.FRAME_SIZE_ERROR),
    "an acknowledgement that says more": (
        GREETING + frame(wire.SETTINGS, wire.ACK, 0, bytes(6)),
        Code.FRAME_SIZE_ERROR,
    ),
    "a window too large": (
        GREETING + wire.settings_frame({Setting.INITIAL_WINDOW_SIZE: 1 << 31}),
        Code.FLOW_CONTROL_ERROR,
    ),
    "a frame size too small": (
        GREETING + wire.settings_frame({Setting.MAX_FRAME_SIZE: 100}),
        Code.PROTOCOL_ERROR,
    ),
    "a frame size too large": (
        GREETING + wire.settings_frame({Setting.MAX_FRAME_SIZE: 1 << 24}),
        Code.PROTOCOL_ERROR,
    ),
    "pushes": (GREETING + wire.settings_frame({Setting.ENABLE_PUSH: 2}), Code.PROTOCOL_ERROR),
    "a short ping": (GREETING + frame(wire.PING, 0, 0, b"1234567"), Code.FRAME_SIZE_ERROR),
    "a ping on a stream": (GREETING + frame(wire.PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "a push": (GREETING + frame(wire.PUSH_PROMISE, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "priority of nothing": (GREETING + frame(wire.PRIORITY, 0, 0, bytes(5)), Code.PROTOCOL_ERROR),
    "goaway on a stream": (GREETING + frame(wire.GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "a short goaway": (GREETING + frame(wire.GOAWAY, 0, 0, bytes(7)), Code.PROTOCOL_ERROR),
    "a short reset": (GREETING + head() + frame(wire.RST_STREAM, 0, 1, b"1"), Code.FRAME_SIZE_ERROR),
    "a reset of nothing": (GREETING + wire.rst_stream(0, 8), Code.PROTOCOL_ERROR),
    "a reset of an idle stream": (GREETING + wire.rst_stream(1, 8), Code.PROTOCOL_ERROR),
    "data without a stream": (GREETING + data(b"x", 0), Code.PROTOCOL_ERROR),
    "data of an idle stream": (GREETING + data(b"x", 1), Code.PROTOCOL_ERROR),
    "data of a server's stream": (GREETING + head(5) + data(b"x", 2), Code.PROTOCOL_ERROR),
    "a head without a stream": (GREETING + head(0), Code.PROTOCOL_ERROR),
    "a head on a server's stream": (GREETING + head(2), Code.PROTOCOL_ERROR),
    "a stream that goes back": (GREETING + head(5) + head(3), Code.STREAM_CLOSED),
    "a window for an idle stream": (GREETING + wire.window_update(1, 1), Code.PROTOCOL_ERROR),
    "a window of nothing": (GREETING + wire.window_update(0, 0), Code.PROTOCOL_ERROR),
    "a short window": (GREETING + frame(wire.WINDOW_UPDATE, 0, 0, b"123"), Code.FRAME_SIZE_ERROR),
    "too much window": (GREETING + wire.window_update(0, 0x7FFF_FFFF), Code.FLOW_CONTROL_ERROR),
    "more padding than frame": (GREETING + head() + data(b"\x05abc", flags=wire.PADDED), Code.PROTOCOL_ERROR),
    "no padding length": (GREETING + head() + data(b"", flags=wire.PADDED), Code.FRAME_SIZE_ERROR),
    "a lone continuation": (GREETING + frame(wire.CONTINUATION, 4, 1, HEAD), Code.PROTOCOL_ERROR),
    "another frame in a block": (GREETING + head(flags=0) + data(b"x"), Code.PROTOCOL_ERROR),
    "another stream in a block": (
        GREETING + head(flags=0) + frame(wire.CONTINUATION, 4, 3, b""),
        Code.PROTOCOL_ERROR,
    ),
    "a flood of continuations": (
        GREETING + head(flags=0) + frame(wire.CONTINUATION, 0, 1, b"") * (CONTINUATIONS_MAX + 1),
        Code.ENHANCE_YOUR_CALM,
    ),
    "a block too long": (
        GREETING + frame(wire.HEADERS, 0, 1, bytes(BLOCK_MAX)) + frame(wire.CONTINUATION, 0, 1, b"1"),
        Code.ENHANCE_YOUR_CALM,
    ),
    "a list too long": (GREETING + head(1, (b"x", b"y" * 16_384)), Code.ENHANCE_YOUR_CALM),
    "a bomb of references": (
        GREETING
        + head(1, *[(b"x", b"y" * 10)] * 1)
        + frame(wire.HEADERS, 4, 3, HEAD + b"\x40\x01b" + b"\x7f\xa1\x1e" + b"z" * 4000 + b"\xbe" * 10),
        Code.ENHANCE_YOUR_CALM,
    ),
    "a table too large": (
        GREETING + frame(wire.HEADERS, 4, 1, b"\x3f\xe2\x1f" + HEAD),
        Code.COMPRESSION_ERROR,
    ),
    "an index of nothing": (GREETING + frame(wire.HEADERS, 4, 1, b"\xff\x00"), Code.COMPRESSION_ERROR),
    "a cut block": (GREETING + frame(wire.HEADERS, 4, 1, HEAD[:-1]), Code.COMPRESSION_ERROR),
    "an index of zero": (GREETING + frame(wire.HEADERS, 4, 1, b"\x80"), Code.COMPRESSION_ERROR),
}


@pytest.mark.parametrize("name", CONNECTION_FAULTS)
def test_a_fault_of_the_connection_ends_it_with_its_code(name: str) -> None:
    sent, code = CONNECTION_FAULTS[name]
    whole, bytewise = Served(greeting=b""), Served(greeting=b"")
    whole.feed(sent)
    bytewise.feed(*(sent[i : i + 1] for i in range(len(sent))))
    for at in (whole, bytewise):
        fault = at.fault()
        assert fault is not None
        assert fault[0] == code
        assert fault[1]
        assert at.connection.gone
        assert all(call.told in ([], ["gone"], ["end", "gone"]) for call in at.calls)
        assert not at.connection.streams
    assert whole.fault() == bytewise.fault()
    assert [call.told for call in whole.calls] == [call.told for call in bytewise.calls]


def test_frames_that_move_nothing_are_bounded() -> None:
    pings, settings, empty = frame(wire.PING, 0, 0, bytes(8)), wire.settings_frame({}), data(b"")
    late = wire.rst_stream(1, 8)
    for flood in (pings, settings, empty, wire.window_update(0, 1), late, frame(77, 0, 0)):
        at = Served()
        at.feed(head())
        at.feed(flood * 2_010)
        assert at.fault() is not None
        assert at.fault()[0] == Code.ENHANCE_YOUR_CALM  # type: ignore[index]
    at = Served()
    for number in range(50):
        # As many beside data that is moved are none.
        at.feed(head(2 * number + 1) + (pings + wire.window_update(0, 1)) * 50 + data(b"x", 2 * number + 1))
    assert at.fault() is None


def test_streams_that_are_begun_and_reset_are_bounded() -> None:
    at = Served()
    for number in range(1_001):
        at.feed(head(2 * number + 1) + wire.rst_stream(2 * number + 1, Code.CANCEL))
    fault = at.fault()
    assert fault is not None
    assert fault[0] == Code.ENHANCE_YOUR_CALM
    assert len(at.calls) == 1_001
    assert all(call.told == ["gone"] for call in at.calls)


def test_streams_that_we_must_reset_are_bounded_as_well() -> None:
    at = Served()
    for number in range(1_001):
        at.feed(head(2 * number + 1) + wire.window_update(2 * number + 1, 0))
    fault = at.fault()
    assert fault is not None
    assert fault[0] == Code.ENHANCE_YOUR_CALM


STREAM_FAULTS = {
    "an uppercase name": ((b"X", b"y"),),
    "an empty name": ((b"", b"y"),),
    "a space in a name": ((b"a b", b"y"),),
    "a line feed": ((b"x", b"a\nb"),),
    "a nul": ((b"x", b"a\0b"),),
    "a space in front": ((b"x", b" a"),),
    "a tab behind": ((b"x", b"a\t"),),
    "connection": ((b"connection", b"close"),),
    "keep-alive": ((b"keep-alive", b"1"),),
    "proxy-connection": ((b"proxy-connection", b"x"),),
    "transfer-encoding": ((b"transfer-encoding", b"chunked"),),
    "upgrade": ((b"upgrade", b"h2c"),),
    "another te": ((b"te", b"gzip"),),
    "a late pseudo-header": ((b":path", b"/"),),
    "another host": ((b"host", b"elsewhere"),),
    "a length that is none": ((b"content-length", b"+1"),),
    "two lengths": ((b"content-length", b"1"), (b"content-length", b"1")),
}


@pytest.mark.parametrize("name", STREAM_FAULTS)
def test_a_malformed_head_costs_its_stream_alone(name: str) -> None:
    at = Served()
    for _ in range(2):
        at.feed(head(at.connection.last_id + 2 if at.connection.last_id else 1, *STREAM_FAULTS[name]))
        (sent,) = at.took()
        assert (sent.kind, wire.read_u32(sent.payload)) == (wire.RST_STREAM, Code.PROTOCOL_ERROR)
    assert at.calls == []
    at.feed(head(9, flags=ALL))
    assert at.calls[0].told == ["end"]


@pytest.mark.parametrize(
    "fields",
    [
        REQUEST[1:],
        REQUEST[:1] + REQUEST[2:],
        REQUEST[:2] + REQUEST[3:],
        (*REQUEST[:2], (b":path", b""), *REQUEST[3:]),
        (REQUEST[0], *REQUEST),
        ((b":status", b"200"), *REQUEST),
        ((b":protocol", b"websocket"), *REQUEST),
        (REQUEST[4], *REQUEST[:4]),
        (REQUEST[4],),
    ],
    ids=["method", "scheme", "path", "empty path", "twice", "status", "unknown", "order", "none"],
)
def test_pseudo_headers_are_there_once_and_first(fields: blocks.Fields) -> None:
    at = Served()
    at.feed(frame(wire.HEADERS, wire.END_HEADERS, 1, blocks.encode_fields(fields)))
    (sent,) = at.took()
    assert (sent.kind, wire.read_u32(sent.payload)) == (wire.RST_STREAM, Code.PROTOCOL_ERROR)
    assert at.calls == []


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (head(flags=ALL) + data(b"x"), Code.STREAM_CLOSED),
        (head(flags=ALL) + head(), Code.STREAM_CLOSED),
        (head() + head(), Code.PROTOCOL_ERROR),
        (head() + head(flags=ALL), Code.PROTOCOL_ERROR),
        (head() + wire.window_update(1, 0), Code.PROTOCOL_ERROR),
        (head() + wire.window_update(1, 0x7FFF_FFFF), Code.FLOW_CONTROL_ERROR),
        (head(1, (b"content-length", b"3")) + data(b"ab", flags=wire.END_STREAM), Code.PROTOCOL_ERROR),
        (head(1, (b"content-length", b"3")) + data(b"abcd"), Code.PROTOCOL_ERROR),
        (head(1) + data(bytes(101)), Code.FLOW_CONTROL_ERROR),
    ],
    ids=["data", "head", "twice", "trailers", "none", "window", "short", "long", "flow"],
)
def test_a_fault_of_a_stream_leaves_the_others(sent: bytes, code: Code) -> None:
    at = Served(SMALL)
    at.feed(sent)
    (reset,) = at.sees(wire.RST_STREAM)
    assert (reset.stream_id, wire.read_u32(reset.payload)) == (1, code)
    assert at.calls[0].told[-1] == "gone"
    assert at.calls[0].stream.gone
    at.feed(head(3) + data(b"on", 3, wire.END_STREAM))
    assert (at.calls[1].body, at.calls[1].told) == (b"on", ["end"])


def test_data_behind_a_clients_own_reset_is_a_fault() -> None:
    at = Served()
    at.feed(head() + wire.rst_stream(1, Code.CANCEL) + data(b"x"))
    assert at.calls[0].told == ["gone"]
    (reset,) = at.sees(wire.RST_STREAM)
    assert wire.read_u32(reset.payload) == Code.STREAM_CLOSED


def test_more_streams_than_allowed_are_refused() -> None:
    at = Served(Limits(streams=2))
    at.feed(head(1) + head(3) + head(5) + data(b"x", 5))
    (reset,) = at.took()
    assert (reset.stream_id, wire.read_u32(reset.payload)) == (5, Code.REFUSED_STREAM)
    at.calls[0].stream.refuse(TRAILERS)
    at.feed(head(7))
    assert len(at.calls) == 3
