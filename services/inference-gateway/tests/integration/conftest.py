"""A gateway on real Kafka and real Triton, with a scripted licensing behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from licet_gateway.testing.loaded import LoadedModel, loaded
from licet_gateway.testing.scene import Scene, scene

NewScene = Callable[..., AbstractAsyncContextManager[Scene]]


@pytest.fixture(scope="session")
def models(servers: dict[str, Any]) -> Iterator[dict[str, LoadedModel]]:
    """The test models in the shared Triton."""
    place = {"triton": servers["triton"]["http"], "repository": Path(servers["triton"]["repository"])}
    with (
        loaded("identity", **place) as identity,
        loaded("rows", **place) as rows,
        loaded("gated", **place) as gated,
    ):
        yield {"identity": identity, "rows": rows, "gated": gated}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(
    servers: dict[str, Any], models: dict[str, LoadedModel], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    """One gateway for the tests of a module that do not break it."""
    folder = tmp_path_factory.mktemp("shared")
    async with scene(servers, models, folder, GATEWAY_MAX_BODY_BYTES="16000000") as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def visit(shared: Scene) -> Scene:
    """A caller of the shared gateway who is this test's alone."""
    return shared.visitor()


@pytest.fixture
def new_scene(servers: dict[str, Any], models: dict[str, LoadedModel], tmp_path: Path) -> NewScene:
    """Builds a gateway that the test may break: `async with new_scene(...) as scene`."""
    return partial(scene, servers, models, tmp_path)
