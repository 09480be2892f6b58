"""Flow control of a client's connection, both ways: nothing is sent too much, and nothing leaks."""

from __future__ import annotations

from licet_gateway.dataplane.h2 import wire
from licet_gateway.dataplane.h2.limits import (
    Limits,
)
from licet_gateway.dataplane.h2.wire import Code, Setting
from licet_gateway.testing.frames import (
    ALL,
    TRAILERS,
    Served,
    data,
    head,
)


def test_data_waits_for_windows_and_trailers_wait_for_data() -> None:
    at = Served()
    at.feed(wire.settings_frame({Setting.INITIAL_WINDOW_SIZE: 10}) + head(flags=ALL))
    at.took()
    call = at.calls[0]
    call.stream.send_data(b"a" * 25)
    call.stream.finish(TRAILERS)
    assert [f.payload for f in at.took()] == [b"a" * 10]
    assert (call.stream.buffered, call.told) == (15, ["end"])
    at.feed(wire.window_update(1, 5))
    assert [f.payload for f in at.took()] == [b"a" * 5]
    at.feed(wire.settings_frame({Setting.INITIAL_WINDOW_SIZE: 13}))
    assert [f.payload for f in at.took() if f.kind == wire.DATA] == [b"a" * 3]
    at.feed(wire.settings_frame({Setting.INITIAL_WINDOW_SIZE: 0}) + wire.window_update(1, 13))
    assert at.sees(wire.DATA) == []
    at.feed(wire.window_update(1, 7))
    assert [(f.kind, f.payload) for f in at.took()] == [(wire.DATA, b"a" * 7), (wire.HEADERS, TRAILERS)]
    assert call.told == ["end", "finished"]


def test_the_windows_of_the_connection_is_shared_in_turns() -> None:
    at = Served()
    at.feed(wire.settings_frame({Setting.INITIAL_WINDOW_SIZE: 1 << 20}))
    at.feed(head(1, flags=ALL) + head(3, flags=ALL))
    at.took()
    for call in at.calls:
        call.stream.send_data(bytes(100_000))
    sent = at.sees(wire.DATA)
    assert sum(len(f.payload) for f in sent) == wire.WINDOW_DEFAULT
    assert {f.stream_id for f in sent} == {1, 3}
    at.feed(wire.window_update(0, 1 << 20))
    sent += at.sees(wire.DATA)
    for stream_id in (1, 3):
        assert sum(len(f.payload) for f in sent if f.stream_id == stream_id) == 100_000
    assert all(len(f.payload) <= wire.FRAME_SIZE_DEFAULT for f in sent)
    assert [call.told for call in at.calls] == [["end", "drained"]] * 2


def test_a_full_socket_keeps_data_in_its_stream() -> None:
    at = Served()
    at.feed(wire.settings_frame({Setting.INITIAL_WINDOW_SIZE: 1 << 30}) + wire.window_update(0, 1 << 30))
    at.feed(head(flags=ALL))
    at.connection.pause_writing()
    stream = at.calls[0].stream
    stream.send_data(bytes(300_000))
    at.turns.turn()
    assert stream.buffered == 300_000
    at.connection.resume_writing()
    at.turns.turn()
    assert stream.buffered == 0
    assert at.calls[0].told == ["end", "drained"]
    assert stream.sent_at == at.connection.written == at.connection.handed()


def test_no_more_is_framed_than_a_turn_may_write() -> None:
    at = Served()
    at.feed(wire.settings_frame({Setting.INITIAL_WINDOW_SIZE: 1 << 30}) + wire.window_update(0, 1 << 30))
    at.feed(head(flags=ALL))
    for _ in range(100):
        at.calls[0].stream.send_data(bytes(16_000))
    assert at.connection.written - at.connection.handed() < 300_000
    at.turns.turn()
    assert sum(len(f.payload) for f in at.sees(wire.DATA)) == 1_600_000


def test_bytes_that_the_socket_did_not_take_are_not_handed() -> None:
    at = Served()
    at.feed(head(flags=ALL))
    at.turns.turn()
    before = at.connection.handed()
    at.transport.holds = True
    at.calls[0].stream.send_data(b"x" * 100)
    at.turns.turn()
    assert at.connection.handed() == before
    assert at.connection.written == before + 109
    at.connection.connection_lost(ConnectionResetError())
    assert at.connection.handed() == before
    assert at.connection.gone
    assert at.calls[0].told == ["end", "gone"]


def granted(sent: list[tuple[int, int]], stream_id: int) -> int:
    return sum(size for at, size in sent if at == stream_id)


def grants(at: Served) -> list[tuple[int, int]]:
    return [(f.stream_id, wire.read_u32(f.payload)) for f in at.sees(wire.WINDOW_UPDATE)]


def test_windows_are_granted_again_by_halves() -> None:
    at = Served(Limits(stream_window=1_000, connection_window=65_535))
    at.feed(head() + data(bytes(499)))
    assert grants(at) == []
    at.feed(data(bytes(1)))
    assert grants(at) == [(1, 500)]
    # Padding counts as well.
    at.feed(data(b"\x0a" + bytes(500), flags=wire.PADDED))
    assert grants(at) == [(1, 501)]


def test_a_paused_stream_is_granted_nothing_and_all_of_it_later() -> None:
    at = Served(Limits(stream_window=40_000, connection_window=65_535))
    at.feed(head() + head(3))
    at.calls[0].stream.pause()
    at.feed(data(bytes(20_000)) + data(bytes(20_000)))
    assert grants(at) == []
    at.calls[0].stream.resume()
    assert sorted(grants(at)) == [(0, 40_000), (1, 40_000)]


def test_the_connections_window_never_leaks() -> None:
    """Data of refused, finished, reset, faulty and paused streams all comes back."""
    at = Served(Limits(stream_window=60_000, connection_window=65_535, streams=1))
    got: list[tuple[int, int]] = []
    sent = 0
    for number in range(60):
        stream_id = 6 * number + 1
        at.feed(head(stream_id))
        call = at.calls[-1]
        if number % 3 == 0:
            call.stream.pause()
        at.feed(data(bytes(3_000), stream_id) + head(stream_id + 2) + data(bytes(4_000), stream_id + 2))
        ways = (call.stream.refuse, lambda _, s=call.stream: s.reset(8), lambda _, i=stream_id: None)
        ways[number % 3](TRAILERS)
        if number % 3 == 2:
            at.feed(wire.rst_stream(stream_id, 8))
        at.feed(data(bytes(3_000), stream_id))
        sent += 10_000
        got += grants(at)
        assert at.fault() is None
        assert sent - granted(got, 0) <= 65_535 // 2 + 1
    assert granted(got, 0) > 500_000


def test_a_client_that_ignores_the_window_is_ended() -> None:
    at = Served(Limits(stream_window=1 << 20, connection_window=65_535))
    at.feed(head())
    at.calls[0].stream.pause()
    at.feed(data(bytes(40_000)) + data(bytes(25_536)))
    fault = at.fault()
    assert fault is not None
    assert fault[0] == Code.FLOW_CONTROL_ERROR
    assert at.calls[0].told == ["gone"]
