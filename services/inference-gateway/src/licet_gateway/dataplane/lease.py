"""One lease in this worker's hands: how much of it is free, held and spent, and whether it may still be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from licet_gateway.dataplane.clock import MS, SECOND
from licet_gateway.domain import LEASE_TTL_MAX_MS, LeaseTerms

if TYPE_CHECKING:
    from licet_gateway.dataplane.pool import Pool
    from licet_gateway.dataplane.share import Share


# A lease is renewed until it is so old, so that terms and versions that changed meanwhile reach the next one.
RENEWED_UNTIL_NS: Final = 60 * SECOND


class Lease:
    """`lent = available + held + spent`. A lease is *retired* when it takes no more calls, and *ended* when its last
    record is written: only then does licensing get the rest back."""

    __slots__ = (
        "available",
        "calls",
        "dead_code",
        "ended",
        "expires_ns",
        "held",
        "holders",
        "idle_since_ns",
        "lent",
        "limits",
        "pool",
        "progress",
        "ref",
        "refresh_ns",
        "renewable",
        "renewable_until_ns",
        "retired",
        "running",
        "sequence",
        "share",
        "spent",
        "terms",
        "units_remaining",
    )

    def __init__(self, terms: LeaseTerms, pool: Pool, share: Share, *, ref: int, asked_ns: int) -> None:
        self.terms = terms
        self.pool = pool
        self.share = share
        # Short name of the lease in the log.
        self.ref = ref
        self.limits = terms.limits
        self.units_remaining = terms.units_remaining
        self.expires_ns = 0
        self.refresh_ns = 0
        self._time(terms, asked_ns)
        self.renewable = True
        self.renewable_until_ns = asked_ns + RENEWED_UNTIL_NS
        self.lent = terms.units
        self.available = terms.units
        self.held = 0
        self.spent = 0
        self.holders = 0
        # Calls that took units of it, whatever became of them.
        self.calls = 0
        # Sequence of the newest call; sequences are gapless from 1.
        self.sequence = 0
        # Start time of the calls that have an open entry but no close entry yet, by sequence.
        self.running: dict[int, int] = {}
        # Units that those of them have told so far which stream their answers.
        self.progress: dict[int, int] = {}
        self.retired = False
        self.ended = False
        self.dead_code: str | None = None
        self.idle_since_ns = asked_ns

    def usable(self, now: int) -> bool:
        if self.retired or now >= self.expires_ns:
            return False
        return not self.limits.max_calls or self.calls < self.limits.max_calls

    def alive(self, now: int) -> bool:
        """Whether a call that holds units of it may still start."""
        return self.dead_code is None and now < self.expires_ns

    def may_renew(self, now: int) -> bool:
        return self.renewable and now < self.renewable_until_ns and self.usable(now)

    def renew(self, terms: LeaseTerms, asked_ns: int) -> None:
        """Takes the terms of a renewal: `terms.units` is all that was ever lent. What records repeat stays."""
        self.available += max(terms.units - self.lent, 0)
        self.lent = max(terms.units, self.lent)
        self.limits = terms.limits
        self.units_remaining = terms.units_remaining
        self._time(terms, asked_ns)

    def hold(self, units: int) -> None:
        self.available -= units
        self.held += units
        self.holders += 1
        self.calls += 1
        self.share.running += 1

    def let_go(self, units: int, *, spent: int, now: int) -> None:
        self.held -= units
        self.spent += spent
        self.available += units - spent
        self.holders -= 1
        self.share.running -= 1
        self.idle_since_ns = now

    def _time(self, terms: LeaseTerms, asked_ns: int) -> None:
        ttl_ns = min(terms.ttl_ms, LEASE_TTL_MAX_MS) * MS
        # Counted from before the asking: licensing counts from its answer, which was later.
        self.expires_ns = max(self.expires_ns, asked_ns + ttl_ns)
        # From here on it is renewed, so that a busy caller never waits at a time limit.
        self.refresh_ns = self.expires_ns - ttl_ns // 4
