"""The inference servers of a worker: which one gets the next call, and how many may be left out at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from licet_gateway.dataplane.counters import Counters, Event
from licet_gateway.dataplane.health import Health
from licet_gateway.dataplane.upstream import UpstreamPool
from licet_gateway.dataplane.versions import PinnedVersion
from licet_gateway.settings import DataPlaneLimits

# Sets of servers that have a version, remembered; versions that are spread alike share one.
_SETS_MAX: Final = 1024


class Replicas:
    """A pool of connections to each. At most half are ejected at a time, and never the last one that is usable."""

    def __init__(self, urls: Iterable[str], limits: DataPlaneLimits, counters: Counters) -> None:
        self._counters = counters
        self.pools = tuple(
            UpstreamPool(url, limits, health=Health(self._may_eject), counters=counters) for url in urls
        )
        self._by_url = {pool.url: pool for pool in self.pools}
        self._sets: dict[tuple[str, ...], tuple[UpstreamPool, ...]] = {}
        self._turn = 0

    def pick(self, version: PinnedVersion, tried: Collection[UpstreamPool] = ()) -> UpstreamPool | None:
        """The least busy one that has the version, in turn where several are; one that is left out only where there is
        no other. None where all were tried."""
        pools = self._sets.get(version.tritons) or self._with(version)
        if len(pools) == 1 and not tried:
            return pools[0]
        self._turn += 1
        at = self._turn % len(pools)
        best = None
        least = 0
        for pool in pools[at:] + pools[:at] if at else pools:
            if pool.health.usable and pool not in tried and ((load := pool.load) < least or best is None):
                best, least = pool, load
        return best if best is not None else self._pick_left_out(pools, tried)

    def sweep(self, now: int) -> None:
        """Runs a few times a second: who waited too long, who answers too late, who may come back."""
        for pool in self.pools:
            pool.sweep(now)

    def close(self) -> None:
        for pool in self.pools:
            pool.close()

    def _pick_left_out(
        self, pools: tuple[UpstreamPool, ...], tried: Collection[UpstreamPool]
    ) -> UpstreamPool | None:
        """An ejected one may still answer, and is better than a refusal; one that takes no connection tells it."""
        untried = [pool for pool in pools if pool not in tried]
        return min(untried, key=lambda pool: (pool.health.refusing, pool.load), default=None)

    def _with(self, version: PinnedVersion) -> tuple[UpstreamPool, ...]:
        if len(self._sets) >= _SETS_MAX:
            self._sets.clear()
        pools = self._sets[version.tritons] = tuple(self._by_url[url] for url in version.tritons)
        return pools

    def _may_eject(self) -> bool:
        out = sum(1 for pool in self.pools if pool.health.ejected_until_ns)
        left = sum(1 for pool in self.pools if pool.health.usable)
        allowed = (out + 1) * 2 <= len(self.pools) and left > 1
        if allowed:
            self._counters.count(Event.EJECTION)
        return allowed
