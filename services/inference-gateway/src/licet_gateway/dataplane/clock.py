"""The clock that leases are timed by."""

from __future__ import annotations

import time

MS = 1_000_000
SECOND = 1_000_000_000


def now_ns() -> int:
    """Nanoseconds since boot, counted through suspension too: a machine that slept must not wake with live leases."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
