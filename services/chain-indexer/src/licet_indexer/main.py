"""Composition root: the follower of each chain, the relay of the outbox, the read API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from licet_kit.cli import Runtime
from licet_kit.db import open_engine, ping
from licet_kit.http import serve_http
from licet_kit.lifecycle import Service
from licet_kit.migrations import require_head
from licet_kit.relay import relay

from licet_indexer.api import make_app
from licet_indexer.db.tables import OUTBOX
from licet_indexer.follower.health import following
from licet_indexer.follower.service import follow
from licet_indexer.settings import IndexerSettings

MIGRATIONS = Path(__file__).parents[2] / "migrations"
# Connections: the API and the relay share these; each chain adds its leader's seat and its own transactions.
_SHARED_CONNECTIONS = 10
_CONNECTIONS_A_CHAIN = 2


@asynccontextmanager
async def build(settings: IndexerSettings, runtime: Runtime) -> AsyncIterator[Sequence[Service]]:
    """Opens what the indexer needs and yields its parts."""
    chains = settings.followed_chains()
    pool_size = _SHARED_CONNECTIONS + _CONNECTIONS_A_CHAIN * len(chains)
    async with open_engine(settings.database_url, pool_size=pool_size, application="licet-indexer") as engine:
        await require_head(engine, MIGRATIONS)
        runtime.health.add("postgres", lambda: ping(engine))
        for chain in chains:
            runtime.health.add(
                f"chain {chain.chain_id}", following(engine, chain.chain_id, settings.ready_lag)
            )
        yield [
            *(follow(engine, chain, settings) for chain in chains),
            relay(settings, engine, OUTBOX),
            serve_http(make_app(engine), settings.host, settings.http_port),
        ]
