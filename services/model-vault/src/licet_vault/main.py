"""Puts the vault together: settings, database, store, one reconciler for each Triton, servers."""

from __future__ import annotations

import fcntl
import os
import resource
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from licet_kit.cli import Runtime
from licet_kit.clock import SystemClock
from licet_kit.db import open_engine, ping, transaction
from licet_kit.errors import PermanentError
from licet_kit.http import serve_http
from licet_kit.kafka import broker_service, replayer
from licet_kit.lifecycle import Service
from licet_kit.logs import get_logger
from licet_kit.migrations import require_head
from licet_kit.relay import relay
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_vault import db
from licet_vault.api import Deps, make_app
from licet_vault.clients.licensing import Licensing
from licet_vault.clients.triton import Triton
from licet_vault.consumers import chain_events
from licet_vault.reconciler import Reconciler, Timing
from licet_vault.repository.memory import may_swap
from licet_vault.repository.place import Repository
from licet_vault.settings import VaultSettings
from licet_vault.store import MasterKey, ObjectStore
from licet_vault.uploads import UploadLimits
from licet_vault.usecases.loading import Loader
from licet_vault.usecases.states import leave_other_tritons

log = get_logger(__name__)


class AlreadyOwned(PermanentError):
    """Another vault works with this folder."""

    code = "folder_in_use"


@asynccontextmanager
async def build(settings: VaultSettings, runtime: Runtime) -> AsyncIterator[Sequence[Service]]:
    """Opens what the vault needs, yields its parts, closes everything."""
    # A core dump would write keys and weights to a disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    async with AsyncExitStack() as stack:
        store, repository = _folders(settings, stack)
        engine = await stack.enter_async_context(
            open_engine(settings.database_url, application="licet-vault")
        )
        await require_head(engine, db.MIGRATIONS)
        runtime.health.add("postgres", lambda: ping(engine))
        licensing = Licensing(settings.licensing_url, settings.licensing_worker_token.get_secret_value())
        stack.push_async_callback(licensing.close)
        reconcilers = [
            _reconciler(settings, stack, engine, store, repository, url) for url in settings.triton_urls
        ]
        async with transaction(engine) as session:
            await leave_other_tritons(session, settings.triton_urls)

        def retry_now() -> None:
            for reconciler in reconcilers:
                reconciler.retry_now()

        app = make_app(
            Deps(
                engine=engine,
                store=store,
                licensing=licensing,
                on_manifest=retry_now,
                uploads=UploadLimits(
                    max_bytes=settings.max_artifact_bytes,
                    slots=settings.max_uploads,
                    idle_s=settings.upload_idle_s,
                    min_bytes_per_s=settings.upload_min_bytes_per_s,
                ),
            )
        )
        yield [
            *_consumers(settings, runtime, engine),
            relay(settings, engine, db.OUTBOX),
            *(reconciler.run for reconciler in reconcilers),
            # Its routes count what they take: an artefact may be long.
            serve_http(app, settings.host, settings.http_port, body_limit=None),
        ]


def _folders(settings: VaultSettings, stack: AsyncExitStack) -> tuple[ObjectStore, Repository]:
    """The store and Triton's repository, each held by this process alone and cleared of interrupted work."""
    for folder in (settings.store_dir, settings.repository_dir):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stack.enter_context(_sole_owner(folder))
    master = MasterKey.from_hex(settings.master_key.get_secret_value())
    store = ObjectStore(settings.store_dir, master, limit_bytes=settings.max_artifact_bytes)
    store.prepare()
    repository = Repository(settings.repository_dir)
    repository.prepare()
    if may_swap(settings.repository_dir):
        log.warning("repository.may_swap", folder=str(settings.repository_dir))
    return store, repository


@contextmanager
def _sole_owner(folder: Path) -> Iterator[None]:
    """Holds a lock that the kernel lets go of when the process ends, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyOwned(f"another vault works with {folder}") from None
    try:
        yield
    finally:
        os.close(descriptor)


def _reconciler(
    settings: VaultSettings,
    stack: AsyncExitStack,
    engine: AsyncEngine,
    store: ObjectStore,
    repository: Repository,
    url: str,
) -> Reconciler:
    triton = Triton(url, load_timeout_s=settings.load_timeout_s)
    stack.push_async_callback(triton.close)
    timing = Timing(
        poll_s=settings.poll_interval_s,
        unload_grace_s=settings.unload_grace_s,
        announce_s=settings.announce_interval_s,
    )
    return Reconciler(engine, Loader(store, repository, triton), SystemClock(), timing)


def _consumers(settings: VaultSettings, runtime: Runtime, engine: AsyncEngine) -> list[Service]:
    broker, events = chain_events(settings, engine)
    runtime.health.add("kafka", events.check)
    return [broker_service(broker, [events]), replayer([events])]
