"""Which model versions are ready on which Triton, as the vault announces it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from licet_gateway.dataplane.openai.bounds import TextModel
from licet_gateway.domain import NO_CAPS, MeteringRule, TokenCaps, pinned_name


@dataclass(frozen=True, slots=True)
class VersionState:
    """One announcement: a version on one Triton instance. The highest `ordinal` of a version and instance holds."""

    slug: str
    version_digest: str
    triton: str
    ready: bool
    metering_rule: str
    ordinal: int
    # The most tokens of one call.
    caps: TokenCaps = NO_CAPS
    # Where the model is one of the platform's text models.
    text: TextModel | None = None


@dataclass(frozen=True, slots=True)
class PinnedVersion:
    """A version that can be called, and where."""

    slug: str
    version_digest: str
    rule: MeteringRule
    tritons: tuple[str, ...]
    # The request path up to the model's name, with it.
    path: bytes = field(repr=False)
    caps: TokenCaps = NO_CAPS
    text: TextModel | None = None


class VersionRegistry:
    """The latest state of every version on the Tritons that this gateway may call; others are ignored.

    Anybody can make versions that are announced, and all are announced again each hour: the work of one announcement
    does not grow with how many there are.
    """

    def __init__(self, tritons: Iterable[str], *, when_ready: Callable[[str], None] = lambda _: None) -> None:
        self._when_ready = when_ready
        self._tritons = frozenset(tritons)
        # By version, then by Triton.
        self._states: dict[tuple[str, str], dict[str, VersionState]] = {}
        self._pinned: dict[tuple[str, str], PinnedVersion] = {}
        # By model, then by digest, in the order in which they became ready.
        self._ready: dict[str, dict[str, PinnedVersion]] = {}
        self._newest: dict[str, PinnedVersion] = {}

    def apply(self, state: VersionState) -> None:
        """Takes one announcement; an older one than what is known changes nothing."""
        if state.triton not in self._tritons:
            return
        states = self._states.setdefault((state.slug, state.version_digest), {})
        known = states.get(state.triton)
        if known is not None and known.ordinal > state.ordinal:
            return
        states[state.triton] = state
        self._pin(state.slug, state.version_digest)
        if state.ready:
            self._when_ready(state.slug)

    def find(self, slug: str, version_digest: str) -> PinnedVersion | None:
        """The version, if it is ready somewhere."""
        return self._pinned.get((slug, version_digest))

    def newest(self, slug: str) -> PinnedVersion | None:
        """The version of a model that became ready last; what most calls will be leased for."""
        return self._newest.get(slug)

    def listed(self) -> list[PinnedVersion]:
        """The newest version of every model that is served, models in the order of their names."""
        return [self._newest[slug] for slug in sorted(self._newest)]

    def _pin(self, slug: str, digest: str) -> None:
        states = [state for state in self._states[slug, digest].values() if state.ready]
        latest = max(states, key=lambda s: s.ordinal, default=None)
        rule = MeteringRule.parse(latest.metering_rule) if latest is not None else None
        ready = self._ready.setdefault(slug, {})
        # Popped and set again, so that the last one to become ready is the last in order.
        ready.pop(digest, None)
        if latest is None or rule is None:
            self._pinned.pop((slug, digest), None)
        else:
            path = f"/v2/models/{pinned_name(slug, digest)}".encode()
            tritons = tuple(sorted(s.triton for s in states))
            version = PinnedVersion(slug, digest, rule, tritons, path, latest.caps, latest.text)
            self._pinned[slug, digest] = ready[digest] = version
        if ready:
            self._newest[slug] = next(reversed(ready.values()))
        else:
            del self._ready[slug]
            self._newest.pop(slug, None)
