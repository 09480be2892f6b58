"""All leases that one caller holds for one model in this worker, and the calls that wait for more."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from licet_gateway.dataplane.clock import MS, SECOND
from licet_gateway.dataplane.lease import Lease
from licet_gateway.domain import Credential, Refusal

# A lease should last this long at the recent rate: far longer than a refill takes, short enough to lend little.
LEASE_SPAN_NS: Final = 2 * SECOND
# Ask for the next lease when what is left lasts less than this.
LOW_WATER_NS: Final = SECOND // 2
# Rates are measured over at least this long, so that a burst of two calls is not read as thousands a second.
RATE_WINDOW_NS: Final = 50 * MS
FIRST_UNITS: Final = 8
LEASE_UNITS_MAX: Final = 1_000_000
# A denial is remembered this long when licensing does not say; short, because a purchase must work at once.
DENIAL_KEPT_NS: Final = 300 * MS
DENIAL_KEPT_MAX_NS: Final = SECOND
# After a renewal that brought no units, a grant is near its end: every call would ask again otherwise.
QUIET_NS: Final = SECOND // 2


class Waiter(Protocol):
    """A call that waits for units."""

    def leased(self, lease: Lease) -> None: ...
    def refused(self, refusal: Refusal) -> None: ...


@dataclass(slots=True)
class Waiting:
    """A waiter with what it needs and when it gives up."""

    waiter: Waiter
    units: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to licensing on behalf of every waiter of a pool: for a lease, or for more of the one it has."""

    request_id: str
    credential: Credential
    slug: str
    renewed: Lease | None
    units_wanted: int
    min_units: int
    asked_ns: int


@dataclass(frozen=True, slots=True)
class Denied:
    """A refusal that answers further calls for a moment: those of at least `min_units`."""

    refusal: Refusal
    min_units: int
    until_ns: int


class Pool:
    """State of (credential, model). What it decides is arithmetic; who asks and logs is the lease book."""

    __slots__ = (
        "_used",
        "_used_since_ns",
        "ask",
        "credential",
        "denied",
        "holders",
        "leases",
        "low_water",
        "quiet_until_ns",
        "rate",
        "slug",
        "stale_replies",
        "waiting",
    )

    def __init__(self, credential: Credential, slug: str, now: int) -> None:
        self.credential = credential
        self.slug = slug
        self.leases: list[Lease] = []
        self.waiting: deque[Waiting] = deque()
        self.ask: Ask | None = None
        self.denied: Denied | None = None
        self.holders = 0
        # Replies in a row that were older than a known revocation.
        self.stale_replies = 0
        # Units a second, smoothed.
        self.rate = 0.0
        # Free units below which the next lease is asked for.
        self.low_water = 0.0
        # No more units are asked for ahead of need until then.
        self.quiet_until_ns = 0
        self._used = 0
        self._used_since_ns = now

    def take(self, units: int, now: int) -> Lease | Refusal | None:
        """Holds units of the first lease that has them; None where none has, a refusal where a limit forbids."""
        for lease in self.leases:
            if lease.available >= units and lease.usable(now):
                refusal = _over_limit(lease, units, now)
                if refusal is not None:
                    return refusal
                lease.hold(units)
                self.holders += 1
                self._used += units
                return lease
        return None

    def recall_denial(self, units: int, now: int) -> Refusal | None:
        """The remembered refusal, where it still speaks for a call of so many units."""
        denied = self.denied
        if denied is None or units < denied.min_units:
            return None
        if now >= denied.until_ns:
            self.denied = None
            return None
        return denied.refusal

    def renewable_lease(self, now: int) -> Lease | None:
        """The lease to ask more of, so that a caller near the end of a quota is not left with two remainders."""
        return next((lease for lease in reversed(self.leases) if lease.may_renew(now)), None)

    def remember_denial(self, refusal: Refusal, min_units: int, now: int) -> None:
        kept = min(refusal.retry_after_ms * MS, DENIAL_KEPT_MAX_NS) or DENIAL_KEPT_NS
        # Only a quota depends on how many units were asked for.
        least = min_units if refusal.code == "quota_exhausted" else 0
        self.denied = Denied(refusal, least, now + kept)

    def wanted_units(self, now: int) -> int:
        """What the next lease should hold, by the recent rate and by who waits."""
        waiting = sum(w.units for w in self.waiting)
        by_rate = int(self._rate_now(now) * LEASE_SPAN_NS / SECOND)
        return min(max(FIRST_UNITS, by_rate, 2 * waiting), LEASE_UNITS_MAX)

    def runs_low(self, now: int) -> bool:
        """Whether the next lease should be asked for before this one is used up, or used out in time."""
        lasting = sum(
            lease.available for lease in self.leases if lease.usable(now) and now < lease.refresh_ns
        )
        return lasting <= self.low_water

    def measure_rate(self, now: int) -> None:
        """Folds what was used since the last call into the rate."""
        elapsed = now - self._used_since_ns
        if elapsed < RATE_WINDOW_NS:
            return
        current = self._used * SECOND / elapsed
        self.rate = current if current > self.rate else (self.rate * 3 + current) / 4
        self.low_water = self.rate * LOW_WATER_NS / SECOND
        self._used = 0
        self._used_since_ns = now

    def unused(self, now: int) -> bool:
        """Whether nothing would be lost by forgetting this pool."""
        if self.leases or self.waiting or self.ask is not None or self.holders:
            return False
        return self.denied is None or now >= self.denied.until_ns

    def _rate_now(self, now: int) -> float:
        elapsed = max(now - self._used_since_ns, RATE_WINDOW_NS)
        return max(self.rate, self._used * SECOND / elapsed)


def _over_limit(lease: Lease, units: int, now: int) -> Refusal | None:
    """Limits hold for the right, not for the key: an account has many keys."""
    limits = lease.limits
    if limits.max_request_units and units > limits.max_request_units:
        return Refusal(
            "request_too_large",
            f"the request needs {units} units and the plan allows {limits.max_request_units} in one request",
            "send smaller batches",
        )
    if limits.concurrency and lease.share.running >= limits.concurrency:
        return Refusal(
            "rate_limited",
            f"{limits.concurrency} requests of this license are already running",
            "wait for one of them to finish",
            retry_after_ms=1000,
        )
    if not limits.requests_per_s and not limits.units_per_s:
        return None
    if (used_up := lease.share.take(limits, units, now)) is not None:
        return Refusal(
            "rate_limited",
            f"the plan allows {used_up} a second here",
            "slow down, or buy a plan with a higher rate",
            retry_after_ms=1000,
        )
    return None
