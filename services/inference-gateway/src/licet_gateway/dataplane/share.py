"""What one right may do at once in this worker, whoever calls by it: its share of the plan's rates and concurrency."""

from __future__ import annotations

from licet_gateway.dataplane.clock import SECOND
from licet_gateway.domain import Limits


class _Bucket:
    """One second's worth, full when its rate is first seen. What needs more than that finds it full and leaves a debt,
    so that the rate holds over time and a batch larger than it is served all the same."""

    __slots__ = ("_rate", "_refilled_ns", "tokens")

    def __init__(self, now: int) -> None:
        self.tokens = 0.0
        self._rate = 0
        self._refilled_ns = now

    def holds(self, needed: int, rate: int, now: int) -> bool:
        """Whether so much can be drawn now; always where there is no rate."""
        if rate != self._rate:
            self.tokens = float(rate) if not self._rate else min(self.tokens, float(rate))
            self._rate = rate
        if not rate:
            return True
        self.tokens = min(float(rate), self.tokens + (now - self._refilled_ns) * rate / SECOND)
        self._refilled_ns = now
        return self.tokens >= min(needed, rate)

    def draw(self, taken: int) -> None:
        if self._rate:
            self.tokens -= taken

    def full(self, now: int) -> bool:
        return self.tokens + (now - self._refilled_ns) * self._rate / SECOND >= self._rate


class Share:
    """A bucket of requests, one of units, and the calls that run."""

    __slots__ = ("_requests", "_units", "running")

    def __init__(self, now: int) -> None:
        self.running = 0
        self._requests = _Bucket(now)
        self._units = _Bucket(now)

    def take(self, limits: Limits, units: int, now: int) -> str | None:
        """Draws a request of so many units. None where it may be made; else what is used up, as it is told."""
        if not self._requests.holds(1, limits.requests_per_s, now):
            return f"{limits.requests_per_s} requests"
        if not self._units.holds(units, limits.units_per_s, now):
            return f"{limits.units_per_s} units"
        self._requests.draw(1)
        self._units.draw(units)
        return None

    def tokens_left(self) -> int:
        """Requests that the bucket still holds; for the RateLimit header."""
        return int(self._requests.tokens)

    def unused(self, now: int) -> bool:
        """Whether a new one would be the same."""
        return not self.running and self._requests.full(now) and self._units.full(now)
