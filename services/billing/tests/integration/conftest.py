"""A billing database of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from licet_kit.db import open_engine
from licet_kit.testing.plugin import CreateDatabase
from sqlalchemy.ext.asyncio import AsyncEngine

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
