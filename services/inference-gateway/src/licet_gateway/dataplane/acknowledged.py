"""What the kernel knows of a connection that is lost, and is told of one that is cut: the loop forgets what it had not
handed over, and goes on handing over for a moment."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import Final

# linux/tcp.h: tcp_info.tcpi_bytes_acked (RFC 4898, tcpEStatsAppHCThruOctetsAcked).
_BYTES_ACKED: Final = 120
_SIZE: Final = 128
# Extra information of a transport that encrypts: bytes of payload in so many bytes of what it sent.
PAYLOAD_OF: Final = "payload_of"


def acknowledged_bytes(transport: asyncio.Transport) -> int:
    """Bytes written that the other side's kernel has acknowledged; what its program has read is among them."""
    try:
        info = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    except OSError:
        return 0
    acknowledged: int = struct.unpack_from("Q", info, _BYTES_ACKED)[0] if len(info) == _SIZE else 0
    payload_of = transport.get_extra_info(PAYLOAD_OF)
    return acknowledged if payload_of is None else int(payload_of(acknowledged))


def surely_unheard(transport: asyncio.Transport, written: int) -> bool:
    """Whether the other side never had all of the `written` bytes of a connection that was opened from here."""
    try:
        info = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    except OSError:
        return False
    if len(info) != _SIZE:
        return False
    # The opening itself counts as one.
    return int(struct.unpack_from("Q", info, _BYTES_ACKED)[0]) < written


def stop_sending(transport: asyncio.Transport) -> None:
    """Lets the kernel take not a byte more.

    An aborted transport of uvloop is closed in the loop's next turn, and libuv writes until then what the socket takes.
    """
    try:
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as same:
            same.shutdown(socket.SHUT_WR)
    except OSError:
        return  # it is lost already
