"""A client's HTTP/2 connection: calls, answers, ends and what time ends."""

from __future__ import annotations

import pytest
from licet_gateway.dataplane.clock import SECOND, now_ns
from licet_gateway.dataplane.h2 import blocks, wire
from licet_gateway.dataplane.h2.limits import (
    FRAME_MAX,
    GREETING_NS,
    HALF_BLOCK_NS,
    HALF_FRAME_NS,
    IDLE_NS,
    LAST_CALL_NS,
    LOW_WATER,
    STALL_NS,
)
from licet_gateway.dataplane.h2.wire import Code, Setting, frame
from licet_gateway.testing.frames import (
    ALL,
    GREETING,
    HEAD,
    TRAILERS,
    Served,
    data,
    frames,
    head,
    u32,
)


def test_a_call_is_heard_and_answered_in_one_write() -> None:
    at = Served()
    at.feed(head() + data(b"ab") + data(b"c", flags=wire.END_STREAM))
    (call,) = at.calls
    assert (call.head.method, call.head.path, call.head.authority) == (b"POST", b"/s/M", b"gateway")
    assert dict(call.head.fields) == {b"te": b"trailers"}
    assert (call.body, call.told) == (b"abc", ["end"])
    call.stream.send_head(blocks.RESPONSE_HEAD)
    call.stream.send_data(b"answer")
    call.stream.finish(TRAILERS)
    assert call.told == ["end", "finished"]
    assert call.stream.sent_at == at.connection.written
    assert at.connection.handed() < at.connection.written
    assert [(f.kind, f.flags, f.payload) for f in at.took()] == [
        (wire.HEADERS, wire.END_HEADERS, blocks.RESPONSE_HEAD),
        (wire.DATA, 0, b"answer"),
        (wire.HEADERS, ALL, TRAILERS),
    ]
    assert at.connection.handed() == at.connection.written == call.stream.sent_at
    assert not at.connection.streams


def test_the_same_head_is_the_same_object() -> None:
    at = Served()
    at.feed(head(1) + head(3) + head(5, (b"x", b"y")))
    first, second, third = (call.head for call in at.calls)
    assert first is second
    assert third is not first
    # Another encoding of the same fields: the path and what follows as literals with indexing.
    literal = b"\x83\x86\x44\x04/s/M\x41\x07gateway\x40\x02te\x08trailers"
    at.feed(frame(wire.HEADERS, wire.END_HEADERS, 7, literal))
    assert at.calls[3].head is first
    # That block put three fields into the table; now they are indexed.
    at.feed(frame(wire.HEADERS, wire.END_HEADERS, 9, b"\x83\x86\xc0\xbf\xbe"))
    at.feed(frame(wire.HEADERS, wire.END_HEADERS, 11, b"\x83\x86\xc0\xbf\xbe"))
    assert at.calls[4].head is at.calls[5].head is first


def test_an_indexed_block_means_something_else_when_the_table_changed() -> None:
    at = Served()
    at.feed(frame(wire.HEADERS, wire.END_HEADERS, 1, HEAD + b"\x40\x01a\x01" + b"1"))
    at.feed(frame(wire.HEADERS, wire.END_HEADERS, 3, HEAD + b"\xbe"))
    at.feed(frame(wire.HEADERS, wire.END_HEADERS, 5, HEAD + b"\x40\x01a\x01" + b"2"))
    at.feed(frame(wire.HEADERS, wire.END_HEADERS, 7, HEAD + b"\xbe"))
    assert [call.head.fields[b"a"] for call in at.calls] == [b"1", b"1", b"2", b"2"]


def test_padding_and_priority_are_taken_off() -> None:
    at = Served()
    padded = bytes([3]) + u32(0) + b"\x10" + HEAD + b"\0\0\0"
    at.feed(frame(wire.HEADERS, wire.END_HEADERS | wire.PADDED | wire.PRIORITIZED, 1, padded))
    at.feed(data(bytes([2]) + b"abc\0\0", flags=wire.PADDED | wire.END_STREAM))
    assert (at.calls[0].body, at.calls[0].told) == (b"abc", ["end"])


def test_a_head_may_come_in_pieces() -> None:
    at = Served()
    at.feed(
        frame(wire.HEADERS, wire.END_STREAM, 1, HEAD[:3])
        + frame(wire.CONTINUATION, 0, 1, HEAD[3:7])
        + frame(wire.CONTINUATION, wire.END_HEADERS, 1, HEAD[7:])
    )
    assert at.calls[0].told == ["end"]


def test_a_refusal_is_one_block_and_ends_the_stream() -> None:
    at = Served()
    at.feed(head())
    at.calls[0].stream.refuse(blocks.trailers_only(16, "who are you?"))
    sent = at.took()
    assert [(f.kind, f.flags) for f in sent] == [(wire.HEADERS, ALL), (wire.RST_STREAM, 0)]
    assert wire.read_u32(sent[1].payload) == Code.NO_ERROR
    # What the client sent before it knew is no fault.
    at.feed(data(b"late") + data(b"later", flags=wire.END_STREAM))
    assert at.took() == []
    assert at.calls[0].told == ["finished"]


def test_unknown_frames_and_priority_are_ignored() -> None:
    at = Served()
    at.feed(frame(77, 255, 9, b"what") + frame(wire.PRIORITY, 0, 3, u32(1) + b"\0"))
    at.feed(head(flags=ALL))
    assert at.calls[0].told == ["end"]
    assert at.took() == []


def test_trailers_of_a_client_end_its_side() -> None:
    at = Served()
    at.feed(head() + frame(wire.HEADERS, ALL, 1, blocks.encode_fields(((b"x", b"y"),))))
    assert at.calls[0].told == ["end"]


def test_a_long_block_of_ours_is_continued() -> None:
    at = Served()
    at.feed(head(flags=ALL))
    block = blocks.trailers_only(3, "x" * 40_000)
    at.calls[0].stream.refuse(block)
    sent = at.took()
    assert [(f.kind, f.flags) for f in sent] == [
        (wire.HEADERS, wire.END_STREAM),
        (wire.CONTINUATION, 0),
        (wire.CONTINUATION, wire.END_HEADERS),
    ]
    assert b"".join(f.payload for f in sent) == block


def test_a_smaller_table_is_acknowledged_in_the_next_block_alone() -> None:
    at = Served()
    at.feed(wire.settings_frame({Setting.HEADER_TABLE_SIZE: 0}) + head(1, flags=ALL) + head(3, flags=ALL))
    for call in at.calls:
        call.stream.refuse(TRAILERS)
    assert [f.payload for f in at.sees(wire.HEADERS)] == [blocks.TABLE_EMPTY + TRAILERS, TRAILERS]


def test_a_ping_comes_back() -> None:
    at = Served()
    at.feed(frame(wire.PING, 0, 0, b"12345678"))
    assert at.took() == [(wire.PING, wire.ACK, 0, b"12345678")]


def test_a_stopping_gateway_takes_what_was_on_its_way() -> None:
    at = Served()
    at.feed(head(1, flags=ALL))
    at.connection.shut_down()
    sent = at.took()
    assert [(f.kind, f.payload[:4]) for f in sent] == [
        (wire.GOAWAY, u32(0x7FFF_FFFF)),
        (wire.PING, b"last"),
    ]
    at.feed(head(3, flags=ALL) + frame(wire.PING, wire.ACK, 0, sent[1].payload))
    assert at.took() == [(wire.GOAWAY, 0, 0, u32(3) + u32(0))]
    at.feed(head(5, flags=ALL))
    assert len(at.calls) == 2
    at.calls[0].stream.refuse(TRAILERS)
    assert not at.closed()
    at.calls[1].stream.send_head(blocks.RESPONSE_HEAD)
    at.calls[1].stream.finish(TRAILERS)
    assert at.closed()
    assert [f.stream_id for f in at.sees(wire.HEADERS)] == [1, 3, 3]
    at.connection.connection_lost(None)
    assert at.connection.handed() == at.connection.written


def test_a_client_that_answers_no_ping_is_told_the_last_stream_all_the_same() -> None:
    at = Served()
    at.connection.shut_down()
    at.took()
    at.connection.sweep(now_ns() + LAST_CALL_NS + SECOND)
    assert at.took() == [(wire.GOAWAY, 0, 0, u32(0) + u32(0))]
    assert at.closed()


def test_a_client_that_leaves_is_told_to_its_calls_once() -> None:
    at = Served()
    at.feed(head(1, flags=ALL) + head(3))
    at.calls[0].stream.send_data(b"x")
    at.turns.turn()
    at.calls[0].stream.send_data(b"never leaves")
    written = at.connection.handed()
    at.connection.eof_received()
    at.connection.connection_lost(None)
    assert at.transport.aborted
    assert [call.told for call in at.calls] == [["end", "gone"], ["gone"]]
    assert at.connection.handed() == written
    at.calls[1].stream.send_data(b"x")
    at.calls[1].stream.finish(TRAILERS)
    assert at.calls[1].told == ["gone"]


def test_a_reset_by_us_is_not_told_to_its_handler() -> None:
    at = Served()
    at.feed(head())
    at.calls[0].stream.reset(Code.INTERNAL_ERROR)
    at.calls[0].stream.reset(Code.INTERNAL_ERROR)
    (reset,) = at.took()
    assert wire.read_u32(reset.payload) == Code.INTERNAL_ERROR
    assert at.calls[0].told == []


@pytest.mark.parametrize(
    ("sent", "limit", "code"),
    [
        (b"", GREETING_NS, Code.SETTINGS_TIMEOUT),
        (wire.PREFACE + wire.settings_frame({}), GREETING_NS, Code.SETTINGS_TIMEOUT),
        (GREETING + head(flags=0), HALF_BLOCK_NS, Code.PROTOCOL_ERROR),
        (GREETING + head()[:-1], HALF_FRAME_NS, Code.PROTOCOL_ERROR),
    ],
    ids=["greeting", "acknowledgement", "block", "frame"],
)
def test_what_stalls_is_ended(sent: bytes, limit: int, code: Code) -> None:
    at = Served(greeting=b"")
    at.feed(sent)
    at.connection.sweep(now_ns() + limit - SECOND)
    assert at.fault() is None
    at.connection.sweep(now_ns() + limit + SECOND)
    fault = at.fault()
    assert fault is not None
    assert fault[0] == code


def test_an_idle_client_is_asked_to_leave() -> None:
    at = Served()
    at.connection.sweep(now_ns() + IDLE_NS - SECOND)
    assert at.took() == []
    at.connection.sweep(now_ns() + IDLE_NS + SECOND)
    assert [f.kind for f in at.took()] == [wire.GOAWAY, wire.PING]


def test_a_stream_whose_client_grants_nothing_is_ended() -> None:
    at = Served()
    at.feed(head(1, flags=ALL) + head(3, flags=ALL))
    at.calls[0].stream.send_data(bytes(wire.WINDOW_DEFAULT + 1))
    at.turns.turn()
    at.connection.sweep(now_ns() + STALL_NS + SECOND)
    assert [call.told for call in at.calls] == [["end", "gone"], ["end"]]
    assert wire.read_u32(at.sees(wire.RST_STREAM)[0].payload) == Code.CANCEL


def test_a_socket_that_takes_nothing_is_cut() -> None:
    at = Served()
    at.feed(head())
    at.connection.pause_writing()
    at.connection.sweep(now_ns() + STALL_NS + SECOND)
    assert at.transport.aborted
    assert at.calls[0].told == ["gone"]


def test_a_client_that_does_not_take_its_last_answer_is_cut() -> None:
    at = Served()
    at.feed(head(flags=ALL))
    at.transport.holds = True
    at.connection.shut_down()
    at.connection.sweep(now_ns() + LAST_CALL_NS + SECOND)
    at.calls[0].stream.refuse(TRAILERS)
    assert at.closed()
    at.connection.sweep(now_ns() + STALL_NS - SECOND)
    assert not at.transport.aborted
    at.connection.sweep(now_ns() + STALL_NS + SECOND)
    assert at.aborted()
    assert at.connection.handed() < at.connection.written


def test_what_we_say_first() -> None:
    at = Served()
    settings, window = frames(at.transport.sent)[:2]
    assert dict(wire.read_settings(settings.payload)) == {
        Setting.MAX_CONCURRENT_STREAMS: 256,
        Setting.INITIAL_WINDOW_SIZE: 4 << 20,
        Setting.MAX_FRAME_SIZE: FRAME_MAX,
        Setting.MAX_HEADER_LIST_SIZE: 16_384,
    }
    assert wire.read_u32(window.payload) == (16 << 20) - wire.WINDOW_DEFAULT
    assert LOW_WATER < 4 << 20
