"""Composition root: consumers, relay, REST, and for each chain a poster, a settler and a reconciler."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
from licet_kit.chains import Chain
from licet_kit.cli import Runtime
from licet_kit.clock import SystemClock
from licet_kit.db import open_engine, ping
from licet_kit.http import serve_http
from licet_kit.kafka import broker_service, make_broker, replayer
from licet_kit.lifecycle import Service
from licet_kit.migrations import require_head
from licet_kit.relay import relay
from sqlalchemy.ext.asyncio import AsyncEngine

from licet_billing.api import Edge, make_app
from licet_billing.clients.books import ChainBooks
from licet_billing.clients.escrow import EscrowClient
from licet_billing.clients.licensing import LicensingClient
from licet_billing.clients.node import Node, make_web3
from licet_billing.clients.signer import LocalSigner, Signer
from licet_billing.consumers import Consumers, subscribe_all
from licet_billing.db.tables import OUTBOX
from licet_billing.domain.settlement import Timing
from licet_billing.settings import BillingSettings
from licet_billing.usecases.intake import Serving
from licet_billing.workers.poster import Poster
from licet_billing.workers.reconciler import Reconciler
from licet_billing.workers.settler import Pace, Settler

MIGRATIONS = Path(__file__).parents[2] / "migrations"
# The API, four consumers and the relay share these; each chain adds its workers and their leaders' seats.
_SHARED_CONNECTIONS: Final = 10
_CONNECTIONS_A_CHAIN: Final = 5


@dataclass(frozen=True, slots=True)
class ChainParts:
    """What works on one chain."""

    poster: Poster
    settler: Settler
    reconciler: Reconciler

    @property
    def services(self) -> list[Service]:
        """The parts to run."""
        return [self.poster.run, self.settler.run, self.reconciler.run]


@asynccontextmanager
async def _on_chain(
    chain: Chain, settings: BillingSettings, engine: AsyncEngine, signer: Signer
) -> AsyncIterator[ChainParts]:
    w3 = make_web3(chain, settings.rpc_timeout_s)
    node, clock = Node(chain, w3), SystemClock()
    books = ChainBooks(chain, w3)
    pace = Pace(
        interval_s=settings.settlement_interval_s,
        poll_s=settings.poll_interval_s,
        batch_charges=settings.batch_charges,
        timing=Timing(settings.resend_after_s, settings.bump_after_s),
    )
    escrow = EscrowClient(chain, w3, signer)
    try:
        yield ChainParts(
            poster=Poster(
                engine=engine,
                node=node,
                chain=books,
                operator=signer.address,
                poll_s=settings.poll_interval_s,
            ),
            settler=Settler(engine=engine, node=node, escrow=escrow, clock=clock, pace=pace),
            reconciler=Reconciler(
                engine=engine,
                node=node,
                chain=books,
                operator=signer.address,
                clock=clock,
                interval_s=settings.reconciliation_interval_s,
            ),
        )
    finally:
        await w3.provider.disconnect()


@asynccontextmanager
async def build(settings: BillingSettings, runtime: Runtime) -> AsyncIterator[Sequence[Service]]:
    """Opens what billing needs and yields its parts."""
    chains = settings.chains()
    escrows = {chain.chain_id: chain.contract("UsageEscrow") for chain in chains}
    signer = LocalSigner(settings.operator_key.get_secret_value())
    pool_size = _SHARED_CONNECTIONS + _CONNECTIONS_A_CHAIN * len(chains)
    async with AsyncExitStack() as stack:
        opened = open_engine(settings.database_url, pool_size=pool_size, application="licet-billing")
        engine = await stack.enter_async_context(opened)
        await require_head(engine, MIGRATIONS)
        runtime.health.add("postgres", lambda: ping(engine))
        parts = [
            await stack.enter_async_context(_on_chain(chain, settings, engine, signer)) for chain in chains
        ]
        http = httpx2.AsyncClient(base_url=settings.licensing_url, timeout=settings.licensing_timeout_s)
        licensing = LicensingClient(
            await stack.enter_async_context(http), settings.licensing_worker_token.get_secret_value()
        )
        edge = Edge(
            engine=engine,
            licensing=licensing,
            operator=signer.address,
            operator_token=settings.operator_token.get_secret_value(),
            escrows=escrows,
            settlers=[part.settler for part in parts],
            reconcilers=[part.reconciler for part in parts],
        )
        broker = make_broker(settings)
        subscriptions = subscribe_all(broker, settings, engine, Consumers(Serving(signer.address, escrows)))
        for subscription in subscriptions:
            runtime.health.add(subscription.delivery.place.consumer, subscription.check)
        yield [
            broker_service(broker, subscriptions),
            replayer(subscriptions),
            relay(settings, engine, OUTBOX),
            *(service for part in parts for service in part.services),
            serve_http(make_app(edge), settings.host, settings.http_port),
        ]
