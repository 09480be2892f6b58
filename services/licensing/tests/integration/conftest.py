"""Fixtures of licensing's integration tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from licet_kit.clock import ManualClock
from licet_kit.db import open_engine
from licet_licensing.main import MIGRATIONS
from licet_licensing.testing.world import World
from sqlalchemy.ext.asyncio import AsyncEngine


@pytest.fixture
async def database_url(database: Callable[..., Awaitable[str]]) -> str:
    return await database(MIGRATIONS)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with open_engine(database_url, pool_size=20) as opened:
        yield opened


@pytest.fixture
def world(engine: AsyncEngine, manual_clock: ManualClock) -> World:
    return World(engine, manual_clock)
