"""What one right may do at once in this worker, whoever calls by it: its share of the plan's rate and concurrency."""

from __future__ import annotations

from typing import Final

from licet_gateway.dataplane.clock import SECOND
from licet_gateway.domain import Limits

# A bucket that nobody drew from for so long is full again, whatever its rate.
FULL_AFTER_NS: Final = SECOND


class Share:
    """A bucket of one second's requests, full when its limit is first seen, and the calls that run."""

    __slots__ = ("_limits", "_tokens", "_tokens_ns", "running")

    def __init__(self, now: int) -> None:
        self.running = 0
        self._limits = Limits()
        self._tokens = 0.0
        self._tokens_ns = now

    def take(self, limits: Limits, now: int) -> bool:
        """Draws one request; false where this second's are used up."""
        rate = limits.requests_per_s
        if limits is not self._limits:
            self._tokens = float(rate) if not self._limits.requests_per_s else min(self._tokens, float(rate))
            self._limits = limits
        self._tokens = min(float(rate), self._tokens + (now - self._tokens_ns) * rate / SECOND)
        self._tokens_ns = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def tokens_left(self) -> int:
        """Requests that the bucket still holds; for the RateLimit header."""
        return int(self._tokens)

    def unused(self, now: int) -> bool:
        """Whether a new one would be the same."""
        return not self.running and now - self._tokens_ns >= FULL_AFTER_NS
