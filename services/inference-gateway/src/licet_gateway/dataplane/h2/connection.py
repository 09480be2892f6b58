"""One HTTP/2 connection as either side sees it: frames in, windows, settings and the rules that all streams share."""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

from licet_gateway.dataplane.clock import SECOND, now_ns
from licet_gateway.dataplane.h2 import wire
from licet_gateway.dataplane.h2.limits import FRAME_MAX, SEND_FRAME_MAX, Burst, Limits
from licet_gateway.dataplane.h2.output import Soon
from licet_gateway.dataplane.h2.session import Session
from licet_gateway.dataplane.h2.stream import Stream
from licet_gateway.dataplane.h2.wire import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD_SIZE,
    HEADERS,
    PADDED,
    PING,
    PRIORITIZED,
    RST_STREAM,
    STREAM_MASK,
    WINDOW_UPDATE,
    Code,
    ConnectionFault,
    Setting,
)

S = TypeVar("S", bound=Stream)

# Frames in a row that move no message: two such rows in ten seconds are a flood. A client that probes the bandwidth
# pings once a round trip, beside its data.
IDLE_FRAMES_MAX: Final = 1_000
IDLE_BURSTS_MAX: Final = 1
IDLE_FRAMES_SPAN_NS: Final = 10 * SECOND
_UNPACK: Final = wire.FRAME_HEAD.unpack_from


class Connection(Session[S]):
    """The receiving half. A side says what heads mean and how streams begin and end."""

    __slots__ = ("_floods",)

    def __init__(self, limits: Limits, soon: Soon | None = None) -> None:
        super().__init__(limits, soon)
        self._floods = Burst(IDLE_BURSTS_MAX, IDLE_FRAMES_SPAN_NS)

    # --- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._made_ns = self._read_ns = now_ns()
        self.greet()

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return
        if self._held:
            data = self._held + data
            self._held = b""
        try:
            self.read(data)
        except ConnectionFault as fault:
            self.fail(fault.code, fault.text)

    def eof_received(self) -> bool:
        """Whoever stops sending has left: what is on its way to it is cut, so that nothing uncharged arrives."""
        self.closing = True
        if self.out or self._transport.get_write_buffer_size():
            self.cut()
        else:
            self.handed_before, self.gone = self.flushed, True
        self.leave("the connection was closed")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        self.lost(exc)
        self.leave("the connection was lost")

    # --- frames

    def read(self, data: bytes) -> None:
        """Takes all whole frames of it and keeps the rest. Raises ConnectionFault."""
        at, size = 0, len(data)
        while size - at >= FRAME_HEAD_SIZE:
            high, low, kind, flags, stream_id = _UNPACK(data, at)
            length = high << 8 | low
            if length > FRAME_MAX:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            end = at + FRAME_HEAD_SIZE + length
            if not self.greeted or self._block.stream_id:
                self._check_expected(kind, flags, stream_id)
            if end > size:
                break
            self._on_frame(kind, flags, stream_id & STREAM_MASK, data[at + FRAME_HEAD_SIZE : end])
            at = end
            if self.closing:
                return
        if at == size:
            self._held_ns = 0
            return
        self._held = data[at:] if at else data
        if at or not self._held_ns:
            # A frame that trickles in counts from its first byte.
            self._held_ns = now_ns()

    def _check_expected(self, kind: int, flags: int, stream_id: int) -> None:
        if not self.greeted:
            if kind != wire.SETTINGS or flags & wire.ACK:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS must come first")
        elif kind != CONTINUATION or stream_id & STREAM_MASK != self._block.stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a header block was not continued")

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == DATA:
            self._on_data(flags, stream_id, payload)
        elif kind == HEADERS:
            self._on_headers(flags, stream_id, payload)
        elif kind == WINDOW_UPDATE:
            self._on_window_update(stream_id, payload)
        elif kind == PING:
            self._on_ping(flags, stream_id, payload)
        elif kind == RST_STREAM:
            self._on_rst_stream(stream_id, payload)
        elif kind == CONTINUATION:
            self._on_continuation(flags, payload)
        else:
            self._on_rare_frame(kind, flags, stream_id, payload)

    def _on_rare_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        self._count_idle()
        if kind == wire.SETTINGS:
            self._on_settings(flags, stream_id, payload)
        elif kind == wire.GOAWAY:
            if stream_id or len(payload) < 8:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "GOAWAY on a stream, or too short")
            self.on_goaway(wire.read_u32(payload) & STREAM_MASK, wire.read_u32(payload, 4))
        elif kind == wire.PUSH_PROMISE:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PUSH_PROMISE is not allowed")
        elif kind == wire.PRIORITY and not stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY without a stream")
        # PRIORITY says nothing to us, and frames of unknown kinds must be ignored.

    def _count_idle(self) -> None:
        """Frames that move no message cost us as much as those that do."""
        self.idle_frames += 1
        if self.idle_frames > IDLE_FRAMES_MAX:
            self.idle_frames = 0
            if self._floods.exceeded():
                raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many frames that move nothing")

    # --- data

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        self._recv_left -= size
        if self._recv_left < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more data than the connection's window")
        if flags & PADDED:
            payload = wire.unpadded(flags & PADDED, payload)
        stream = self.streams.get(stream_id)
        if stream is None or stream.ended_there:
            self.credit(size)
            self._on_stray(stream_id, "DATA")
            return
        stream.recv_left -= size
        if stream.recv_left < 0:
            self.credit(size)
            self.fault_stream(stream_id, Code.FLOW_CONTROL_ERROR)
            return
        end = bool(flags & END_STREAM)
        if payload:
            self.idle_frames = 0
        elif not end:
            self._count_idle()
        self.on_payload(stream, payload, end)
        stream.received(size, more=not end)

    def _on_stray(self, stream_id: int, what: str) -> None:
        """A frame of a stream that is not open: late where we ended it, a fault where the other side did."""
        if self.is_idle(stream_id):
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"{what} on a stream that was never opened")
        if stream_id not in self._dropped:
            self.fault_stream(stream_id, Code.STREAM_CLOSED)

    # --- header blocks

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "HEADERS without a stream")
        if flags & (PADDED | PRIORITIZED):
            payload = wire.unpadded(flags, payload)
        end = bool(flags & END_STREAM)
        if flags & END_HEADERS:
            self.on_block(stream_id, payload, end)
        else:
            self._block.begin(stream_id, payload, end)

    def _on_continuation(self, flags: int, payload: bytes) -> None:
        block = self._block
        if not block.stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        block.add(payload)
        if flags & END_HEADERS:
            stream_id = block.stream_id
            self.on_block(stream_id, block.take(), block.end)

    # --- the other control frames

    def _on_window_update(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE of a wrong length")
        self._count_idle()
        increment = wire.read_u32(payload) & STREAM_MASK
        if not stream_id:
            self._widen(increment)
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if self.is_idle(stream_id):
                raise ConnectionFault(Code.PROTOCOL_ERROR, "WINDOW_UPDATE on a stream that was never opened")
        elif not increment:
            self.fault_stream(stream_id, Code.PROTOCOL_ERROR)
        elif stream.send_left + increment > wire.WINDOW_MAX:
            self.fault_stream(stream_id, Code.FLOW_CONTROL_ERROR)
        else:
            stream.widen(increment)

    def _widen(self, increment: int) -> None:
        """The window of all streams together."""
        if not increment:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
        self.send_left += increment
        if self.send_left > wire.WINDOW_MAX:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the connection's window is too large")
        if self._ready:
            self.pump()

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "PING of a wrong length")
        self._count_idle()
        if flags & wire.ACK:
            self.on_pong(payload)
        else:
            self.control(wire.frame(PING, wire.ACK, 0, payload))

    def _on_rst_stream(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "RST_STREAM of a wrong length")
        if self.is_idle(stream_id):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "RST_STREAM on a stream that was never opened")
        self._dropped.pop(stream_id, None)
        stream = self.streams.get(stream_id)
        if stream is None:
            self._count_idle()
        else:
            self.on_reset(stream, wire.read_u32(payload))

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & wire.ACK:
            if payload:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "an acknowledgement with settings")
            self._settings_acked = True
            return
        for name, value in wire.read_settings(payload):
            self.on_setting(name, value)
        self.control(wire.frame(wire.SETTINGS, wire.ACK, 0))
        if not self.greeted:
            self.greeted = True
            self.on_greeted()

    def on_setting(self, name: int, value: int) -> None:
        """Applies what both sides understand."""
        if name == Setting.INITIAL_WINDOW_SIZE:
            self._resize_windows(value)
        elif name == Setting.MAX_FRAME_SIZE:
            if not wire.FRAME_SIZE_DEFAULT <= value <= wire.FRAME_SIZE_MAX:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a MAX_FRAME_SIZE that is not allowed")
            self.frame_max = min(value, SEND_FRAME_MAX)
        elif name == Setting.HEADER_TABLE_SIZE:
            self._table_update = self._table_update or value < wire.HEADER_TABLE_DEFAULT
        elif name == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "an ENABLE_PUSH that is not allowed")

    def _resize_windows(self, value: int) -> None:
        if value > wire.WINDOW_MAX:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "an INITIAL_WINDOW_SIZE that is not allowed")
        change, self.peer_window = value - self.peer_window, value
        for stream in list(self.streams.values()):
            if stream.send_left + change > wire.WINDOW_MAX:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a stream's window is too large")
            stream.widen(change)

    # --- what a side says

    def greet(self) -> None:
        """Sends what comes first."""
        raise NotImplementedError

    def on_greeted(self) -> None:
        """The other side's first SETTINGS came."""
        raise NotImplementedError

    def on_block(self, stream_id: int, block: bytes, end: bool) -> None:
        """A whole header block."""
        raise NotImplementedError

    def on_payload(self, stream: S, payload: bytes, end: bool) -> None:
        """Data of an open stream."""
        raise NotImplementedError

    def on_goaway(self, last_id: int, code: int) -> None:
        raise NotImplementedError

    def on_pong(self, payload: bytes) -> None:
        """An answer to a PING of ours."""
        raise NotImplementedError

    def is_idle(self, stream_id: int) -> bool:
        """Whether nobody has opened it yet."""
        raise NotImplementedError
