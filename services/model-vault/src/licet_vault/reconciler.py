"""Keeps what one Triton has loaded equal to the versions that the chain holds active."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import asyncpg
from licet_kit.clock import Clock
from licet_kit.db import reading, transaction
from licet_kit.errors import Unavailable
from licet_kit.kafka import Fate, fate_of
from licet_kit.logs import get_logger
from licet_schemas.manifest import Manifest
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_vault import db, telemetry
from licet_vault.clients.triton import TritonUnavailable
from licet_vault.domain import LoadFailed, ModelSilent, Refusal, State, Version, VersionState
from licet_vault.usecases.loading import Interface, Loader, verified_manifest
from licet_vault.usecases.states import announce_all, change_state

log = get_logger(__name__)

# A refused version is tried again: an upload may be on its way, a disk may be mended.
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
# Counted from the end of a try, which lasts `load_timeout_s` or a few times that.
FIRST_SILENT_RETRY_S = 60.0
LONGEST_SILENT_RETRY_S = 900.0

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Timing:
    """How often Triton is looked at; how long a version stays loaded after it was announced as unloaded, so that
    calls on their way end well; how often all states are told again."""

    poll_s: float = 1.0
    unload_grace_s: float = 5.0
    announce_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """The database at one moment."""

    active: dict[Key, Version]
    states: dict[Key, tuple[VersionState, datetime]]
    now: datetime

    def state(self, key: Key) -> State | None:
        return self.states[key][0].state if key in self.states else None


@dataclass(frozen=True, slots=True)
class _Retry:
    due_at: float
    wait_s: float
    silences: int


@dataclass(slots=True)
class _Retries:
    """When versions that could not be served, or let go of, are due again; forgotten when the process ends.

    A try of a version that is silent keeps all others waiting, so it comes later, and no upload brings it forward:
    anyone may upload their own manifest once more.
    """

    clock: Clock
    known: dict[Key, _Retry] = field(default_factory=dict)

    def ready(self, key: Key) -> bool:
        return key not in self.known or self.known[key].due_at <= self.clock.monotonic()

    def silences(self, key: Key) -> int:
        return self.known[key].silences if key in self.known else 0

    def refused(self, key: Key, *, silent: bool) -> None:
        before = self.known.get(key, _Retry(0.0, 0.0, 0))
        silences = before.silences + silent
        first_s, longest_s = (
            (FIRST_SILENT_RETRY_S, LONGEST_SILENT_RETRY_S) if silences else (FIRST_RETRY_S, LONGEST_RETRY_S)
        )
        wait_s = min(max(2 * before.wait_s, first_s), longest_s)
        self.known[key] = _Retry(self.clock.monotonic() + wait_s, wait_s, silences)

    def forget(self, key: Key) -> None:
        self.known.pop(key, None)

    def forget_refusals(self) -> None:
        self.known = {key: retry for key, retry in self.known.items() if retry.silences}


class Reconciler:
    """One loop for one Triton; `run` is its service, `step` one look.

    A loop rather than reactions to events: it finds by itself what a killed Triton, a killed vault or a lost event
    has left behind.
    """

    def __init__(self, engine: AsyncEngine, loader: Loader, clock: Clock, timing: Timing) -> None:
        self._engine = engine
        self._loader = loader
        self._clock = clock
        self._timing = timing
        self._retries = _Retries(clock)
        self._unloads = _Retries(clock)
        # Versions that this process has itself verified and found answering.
        self._verified: set[Key] = set()
        self._announced_at: float | None = None
        self._away = False
        self._wake = asyncio.Event()

    def retry_now(self) -> None:
        """Makes every refused version due that was not silent: something was uploaded."""
        self._retries.forget_refusals()
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Looks until `stop` is set; waits for what is away, raises what nobody expected."""
        while not stop.is_set():
            await self._look()
            await self._pause(stop)

    async def step(self) -> None:
        """Loads what is missing, lets go of what is replaced. Raises what `fate_of` calls worth waiting for."""
        loaded = await self._loader.triton.ready_models()
        seen = await self._read()
        ready = set()
        for key, version in self._in_turn(seen.active):
            if await self._try_serve(version, seen.state(key), loaded=version.triton_model in loaded):
                ready.add(key)
        # While an asset's active version is not ready, the one before it goes on serving those who still ask for it.
        waiting = {asset_id for asset_id, _ in seen.active.keys() - ready}
        await self._retire(seen, loaded, waiting)
        telemetry.ACTIVE.set(len(seen.active))
        telemetry.READY.set(len(ready))
        await self._announce()

    def _in_turn(self, active: dict[Key, Version]) -> list[tuple[Key, Version]]:
        """Those that were never silent first; of the others that are due one, so that news wait for one at most."""
        silent = {key: self._retries.silences(key) for key in active if self._retries.silences(key)}
        due = sorted((key for key in silent if self._retries.ready(key)), key=lambda key: silent[key])
        turn = [key for key in active if key not in silent] + due[:1]
        return [(key, active[key]) for key in turn]

    async def _read(self) -> _Seen:
        async with reading(self._engine) as session:
            active = {(v.asset_id, v.digest): v for v in await db.active_versions(session)}
            states = await db.states_of(session, self._loader.triton.url)
            return _Seen(active, {(s.asset_id, s.digest): (s, at) for s, at in states}, await db.now(session))

    async def _look(self) -> None:
        try:
            await self.step()
        except (
            Unavailable,
            SQLAlchemyError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            OSError,
        ) as error:
            if fate_of(error) is not Fate.WAIT:
                raise
            if not self._away:
                log.warning("reconciler.waiting", triton=self._loader.triton.url, error=repr(error))
            self._away = True
        else:
            if self._away:
                log.info("reconciler.back", triton=self._loader.triton.url)
            self._away = False

    async def _pause(self, stop: asyncio.Event) -> None:
        ends = [asyncio.create_task(event.wait()) for event in (stop, self._wake)]
        await asyncio.wait(ends, timeout=self._timing.poll_s, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        self._wake.clear()

    async def _try_serve(self, version: Version, state: State | None, *, loaded: bool) -> bool:
        """As `_serve`; what befalls one version ends no look at the others."""
        try:
            async with self._fault_of(version.slug, version.digest):
                return await self._serve(version, state, loaded=loaded)
        except Refusal as error:
            refusal = error
        with suppress(Refusal):
            async with self._fault_of(version.slug, version.digest):
                # Not unloaded once more: the retry begins with that.
                await self._refuse(version, refusal, loaded=False)
        return False

    @asynccontextmanager
    async def _fault_of(self, slug: str, digest: str) -> AsyncIterator[None]:
        """Makes whatever fails for one version a Refusal of it; lets outages through that all wait for."""
        try:
            yield
        except Refusal:
            raise
        except TritonUnavailable as error:
            # Triton cannot even unload the version. It is the version's fault if it answers otherwise.
            await self._loader.triton.ready_models()
            raise ModelSilent(str(error)) from error
        except Exception as error:
            if fate_of(error) is Fate.WAIT:
                raise
            telemetry.FAILED.add(1)
            log.error("version.failed", slug=slug, digest=digest, exc_info=error)
            raise LoadFailed(f"the vault failed: {type(error).__name__}") from error

    async def _serve(self, version: Version, state: State | None, *, loaded: bool) -> bool:
        """Makes the version ready if it is not; whether it is ready in the end."""
        key = (version.asset_id, version.digest)
        if state is State.READY and loaded and key in self._verified:
            return True
        if state is None or (state is State.READY and not loaded):
            # Told before anything is placed: what may lie in memory in the clear always has a state.
            await self._change(version, State.UNLOADED)
        if not self._retries.ready(key):
            return False
        try:
            async with reading(self._engine) as session:
                manifest = await verified_manifest(session, version)
            with telemetry.TRACER.start_as_current_span(telemetry.SPAN_SERVE):
                interface = await self._timed_serve(version, manifest)
        except Refusal as refusal:
            await self._refuse(version, refusal, loaded=loaded)
            return False
        self._retries.forget(key)
        self._verified.add(key)
        if await self._change(version, State.READY, interface):
            log.info(
                "version.ready", slug=version.slug, digest=version.digest, triton_model=version.triton_model
            )
        return True

    async def _timed_serve(self, version: Version, manifest: Manifest) -> Interface:
        began = self._clock.monotonic()
        interface = await self._loader.serve(version, manifest)
        telemetry.SERVE_DURATION.record(self._clock.monotonic() - began)
        return interface

    async def _refuse(self, version: Version, refusal: Refusal, *, loaded: bool) -> None:
        key = (version.asset_id, version.digest)
        self._verified.discard(key)
        self._retries.refused(key, silent=isinstance(refusal, ModelSilent))
        if loaded:
            await self._loader.forget(version.triton_model)
        if await self._change(version, State.REFUSED, reason=refusal.code):
            log.warning(
                "version.refused",
                slug=version.slug,
                digest=version.digest,
                code=refusal.code,
                reason=str(refusal),
            )

    async def _retire(self, seen: _Seen, loaded: frozenset[str], waiting: set[str]) -> None:
        """Announces replaced versions as unloaded, and unloads them after the time of grace."""
        in_use = {version.triton_model for version in seen.active.values()}
        leftovers = loaded | await self._loader.leftovers()
        grace = timedelta(seconds=self._timing.unload_grace_s)
        for key, (state, changed_at) in seen.states.items():
            if key in seen.active or not self._unloads.ready(key):
                continue
            is_over = state.triton_model in leftovers - in_use and seen.now - changed_at >= grace
            is_replaced = key[0] not in waiting or state.triton_model not in loaded
            due = is_replaced if state.state is State.READY else is_over
            if due:
                await self._try_retire(key, state)

    async def _try_retire(self, key: Key, state: VersionState) -> None:
        """The next step out for a version. What cannot be let go of is tried again later, and keeps nobody waiting."""
        try:
            async with self._fault_of(state.slug, state.digest):
                if state.state is State.READY:
                    await self._save(replace(state, state=State.UNLOADED, reason=""))
                    self._verified.discard(key)
                else:
                    await self._loader.forget(state.triton_model)
                    log.info("version.unloaded", slug=state.slug, digest=state.digest)
        except Refusal as refusal:
            self._unloads.refused(key, silent=isinstance(refusal, ModelSilent))
            log.warning("version.not_unloaded", slug=state.slug, digest=state.digest, reason=str(refusal))
        else:
            self._unloads.forget(key)

    async def _announce(self) -> None:
        now = self._clock.monotonic()
        if self._announced_at is None or now - self._announced_at >= self._timing.announce_s:
            async with transaction(self._engine) as session:
                await announce_all(session, self._loader.triton.url)
            self._announced_at = now

    async def _change(
        self, version: Version, state: State, interface: Interface | None = None, reason: str = ""
    ) -> bool:
        return await self._save(
            VersionState(
                asset_id=version.asset_id,
                slug=version.slug,
                digest=version.digest,
                triton_model=version.triton_model,
                triton_url=self._loader.triton.url,
                state=state,
                reason=reason,
                metering_rule=interface.metering_rule if interface else "",
                schema_json=interface.schema_json if interface else "",
            )
        )

    async def _save(self, state: VersionState) -> bool:
        async with transaction(self._engine) as session:
            changed = await change_state(session, state)
        if changed:
            labels = {telemetry.LABEL_STATE: state.state.value, telemetry.LABEL_REASON: state.reason}
            telemetry.CHANGES.add(1, labels)
        return changed
