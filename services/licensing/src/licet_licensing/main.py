"""Composition root: settings, engine, broker, servers; no logic."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from licet_kit.cli import Runtime
from licet_kit.clock import SystemClock
from licet_kit.db import open_engine, ping
from licet_kit.http import serve_http
from licet_kit.kafka import broker_service, make_broker, replayer
from licet_kit.lifecycle import Service
from licet_kit.migrations import require_head
from licet_kit.relay import relay
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_licensing.api.batching import Batcher
from licet_licensing.api.lease_service import LeaseServicer, serve_leases
from licet_licensing.api.rest import Deps, make_app
from licet_licensing.clients import Nonces
from licet_licensing.consumers.subscribers import subscribe_all
from licet_licensing.consumers.sweeper import Sweeper
from licet_licensing.db.tables import OUTBOX
from licet_licensing.settings import LicensingSettings

MIGRATIONS = Path(__file__).parents[2] / "migrations"


@asynccontextmanager
async def build(settings: LicensingSettings, runtime: Runtime) -> AsyncIterator[Sequence[Service]]:
    """Open what licensing needs and yield its parts."""
    nonces = Nonces(settings.redis_url, timedelta(seconds=settings.nonce_ttl_s))
    try:
        async with open_engine(settings.database_url, application="licet-licensing") as engine:
            await require_head(engine, MIGRATIONS)
            runtime.health.add("postgres", partial(ping, engine))
            runtime.health.add("redis", nonces.ping)
            yield [*_consuming(settings, runtime, engine), *_serving(settings, engine, nonces)]
    finally:
        await nonces.close()


def _consuming(settings: LicensingSettings, runtime: Runtime, engine: AsyncEngine) -> list[Service]:
    clock = SystemClock()
    broker = make_broker(settings)
    subscriptions = subscribe_all(broker, settings, engine, settings.contracts, clock)
    for subscription in subscriptions:
        runtime.health.add(subscription.delivery.place.consumer, subscription.check)
    sweeper = Sweeper(engine, settings.terms, clock, settings.sweep_interval_s)
    return [
        broker_service(broker, subscriptions),
        replayer(subscriptions),
        relay(settings, engine, OUTBOX),
        sweeper.run,
    ]


def _serving(settings: LicensingSettings, engine: AsyncEngine, nonces: Nonces) -> list[Service]:
    clock, token = SystemClock(), settings.worker_token.get_secret_value()
    batcher = Batcher(engine, settings.policy, clock)
    servicer = LeaseServicer(engine, batcher, settings.policy, clock)
    app = make_app(
        Deps(
            engine=engine,
            clock=clock,
            nonces=nonces,
            sign_in=settings.sign_in,
            session_lifetime=timedelta(seconds=settings.session_ttl_s),
            policy=settings.policy,
            worker_token=token,
        )
    )
    return [
        batcher.run,
        serve_leases(servicer, token, settings.host, settings.grpc_port),
        serve_http(app, settings.host, settings.http_port),
    ]
