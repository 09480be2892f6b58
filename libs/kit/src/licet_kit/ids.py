"""Time-ordered identifiers: UUID version 7 (RFC 9562) as 32 hex characters."""

import secrets
import threading
import time

_lock = threading.Lock()
_last_tick = 0

# 12 bits of sub-millisecond time in `rand_a` (RFC 9562, 6.2, method 3) keep ids of one process in order.
_TICKS_PER_MS = 4096


def new_id() -> str:
    """Return a new id; ids made by one process sort in the order in which they were made.

    62 bits are random, so ids of different processes do not meet.
    """
    global _last_tick  # noqa: PLW0603  the order of ids is a property of the process
    tick = time.time_ns() * _TICKS_PER_MS // 1_000_000
    with _lock:
        tick = max(tick, _last_tick + 1)
        _last_tick = tick
    milliseconds, fraction = divmod(tick, _TICKS_PER_MS)
    value = (
        (milliseconds & (2**48 - 1)) << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    )
    return f"{value:032x}"
