"""A billing database of its own for each test, and billing on a chain of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from licet_kit.clock import ManualClock
from licet_kit.db import open_engine
from licet_kit.testing.plugin import CreateDatabase, StartChain
from sqlalchemy.ext.asyncio import AsyncEngine

from .rpc_proxy import RpcProxy, rpc_proxy
from .town import House, open_house, settle_in

MIGRATIONS = Path(__file__).parents[2] / "migrations"


@pytest.fixture
async def database_url(database: CreateDatabase) -> str:
    """A migrated database."""
    return await database(MIGRATIONS)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Connections to it."""
    async with open_engine(database_url) as opened:
        yield opened


@pytest.fixture
async def node(chain: StartChain) -> AsyncIterator[RpcProxy]:
    """A chain as the settler sees it: through a proxy that can spoil calls."""
    async with rpc_proxy(await chain()) as proxy:
        yield proxy


@pytest.fixture
async def house(engine: AsyncEngine, node: RpcProxy, manual_clock: ManualClock) -> AsyncIterator[House]:
    """Billing with a deposit of 1000 in the escrow."""
    town = settle_in(node.deployed)
    opened = open_house(engine, town, rpc_url=node.url, clock=manual_clock)
    town.deposit(1000)
    await opened.finalise()
    yield opened
    await opened.close()
