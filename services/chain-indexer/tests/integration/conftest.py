from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from licet_indexer.main import MIGRATIONS
from licet_indexer.testing.scene import Scene, scene
from licet_kit.testing.plugin import CreateDatabase, CreateTopics, StartAnvil

Environment = Callable[[Path], Awaitable[dict[str, str]]]


@pytest.fixture
async def stage(anvil: StartAnvil) -> Scene:
    """A chain that says what it is told."""
    return await scene(await anvil())


@pytest.fixture
async def environment(
    servers: dict[str, Any], database: CreateDatabase, create_topics: CreateTopics, topic_prefix: str
) -> Environment:
    """Environment of an indexer with a database and topics of its own, for a CHAINS_FILE."""

    async def make(chains_file: Path) -> dict[str, str]:
        await create_topics("chain.event", "chain.finality")
        return {
            "DATABASE_URL": await database(MIGRATIONS),
            "KAFKA_BOOTSTRAP": servers["kafka"]["bootstrap"],
            "KAFKA_TOPIC_PREFIX": topic_prefix,
            "CHAINS_FILE": str(chains_file),
        }

    return make
