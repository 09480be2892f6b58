"""The lowest generation of each grant that is still good, kept long enough to meet every late lease reply."""

from __future__ import annotations

from typing import Final

from licet_gateway.dataplane.clock import MS
from licet_gateway.domain import LEASE_TTL_MAX_MS, LeaseTerms

# A lease lives at most one TTL from before it was asked for; twice that also covers a slow reader.
KEPT_NS: Final = 2 * LEASE_TTL_MAX_MS * MS


class MinimumGenerations:
    """Answers whether a lease rests on a generation that was revoked."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, str, int]] = {}

    def raise_to(self, grant_id: str, generation: int, code: str, now: int) -> bool:
        """Notes a revocation; false where a newer one is known already."""
        known = self._known.get(grant_id)
        if known is not None and known[0] > generation:
            return False
        self._known[grant_id] = (generation, code, now + KEPT_NS)
        return True

    def refusal_code(self, terms: LeaseTerms) -> str | None:
        """The refusal code of the revocation that kills this lease, or None."""
        for grant_id, generation in terms.rests_on():
            known = self._known.get(grant_id)
            if known is not None and generation < known[0]:
                return known[1]
        return None

    def forget_old(self, now: int) -> None:
        """Drops what no lease reply can meet any more."""
        for grant_id in [g for g, (_, _, until) in self._known.items() if until <= now]:
            del self._known[grant_id]
