"""Chains for the deployment scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from licet_kit.testing.anvil import Anvil

from .deploying import ANVIL, SCRIPTS


@pytest.fixture
async def chain() -> AsyncIterator[Anvil]:
    node = Anvil(ANVIL, flags=("--chain-id", "31337"))
    await node.start()
    yield node
    await node.stop()


@pytest.fixture
async def second_chain() -> AsyncIterator[Anvil]:
    node = Anvil(ANVIL, flags=("--chain-id", "31338"))
    await node.start()
    yield node
    await node.stop()


@pytest.fixture
async def real_chain() -> AsyncIterator[Anvil]:
    """A chain whose id is not a development one."""
    node = Anvil(ANVIL, flags=("--chain-id", "10"))
    await node.start()
    yield node
    await node.stop()


@pytest.fixture(autouse=True)
def scripts_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
