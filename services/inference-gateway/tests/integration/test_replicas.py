"""Two real Tritons with the same version: one is killed, one is late; the callers of the other notice nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from licet_gateway.testing import bodies
from licet_gateway.testing.loaded import LoadedModel, loaded
from licet_gateway.testing.scene import RULES, Scene
from licet_gateway.testing.servers import OwnTriton
from licet_gateway.testing.wire import Response, call
from licet_kit.testing.plugin import Eventually
from licet_schemas.licet.usage.v1.usage_pb2 import OUTCOME_OK

pytestmark = pytest.mark.asyncio(loop_scope="module")

NewScene = Callable[..., AbstractAsyncContextManager[Scene]]


async def rows(scene: Scene) -> Response:
    body = bodies.rows(2)
    return await scene.gateway.infer(scene.models["rows"], body.data, body.headers | scene.key.header)


async def gated(scene: Scene, number: int) -> Response:
    body = bodies.gate(number)
    return await scene.gateway.infer(scene.models["gated"], body.data, body.headers | scene.key.header)


async def metric(scene: Scene, name: str) -> float:
    """The sum of a counter over the workers."""
    lines = [line for line in (await scene.gateway.metrics()).splitlines() if line.startswith(f"{name}{{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


@asynccontextmanager
async def pair(
    new_scene: NewScene, servers: dict[str, Any], root: Path, folder: Path
) -> AsyncIterator[tuple[Scene, OwnTriton, dict[str, LoadedModel]]]:
    """A gateway with the shared Triton and one to kill; the models of the latter, which are those of the former."""
    own = OwnTriton(root, folder / "triton")
    await own.start()
    try:
        with contextlib.ExitStack() as stack:
            shared = servers["triton"]
            places = ((shared["http"], shared["repository"]), (own.http, own.repository))
            models: list[dict[str, LoadedModel]] = [{}, {}]
            for kind in ("rows", "gated"):
                for made, (triton, repository) in zip(models, places, strict=True):
                    like = models[0].get(kind)
                    made[kind] = stack.enter_context(
                        loaded(kind, triton=triton, repository=Path(repository), like=like)
                    )
            urls = ",".join(triton for triton, _ in places)
            grpc = f"{shared['grpc']},{own.grpc}"
            async with new_scene(own_models=models[0], TRITON_URLS=urls, GATEWAY_TRITON_GRPC=grpc) as scene:
                for kind, model in models[1].items():
                    await scene.announce.version(model, rule=RULES[kind])
                yield scene, own, models[1]
    finally:
        await own.stop()


async def test_a_triton_that_is_killed_costs_no_call_where_there_is_another(
    new_scene: NewScene,
    servers: dict[str, Any],
    repository: Path,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    async with pair(new_scene, servers, repository, tmp_path) as (scene, own, there):
        here = scene.models
        running = {number: asyncio.create_task(gated(scene, number)) for number in range(2)}

        def both_work() -> bool:
            return any(there["gated"].reached(number) for number in running) and any(
                here["gated"].reached(number) for number in running
            )

        await eventually(both_work, 20, what="a call in each Triton")
        await own.kill()
        for number in running:
            here["gated"].open_gate(number)
        assert [(await task).status for task in running.values()] == [200, 200]
        assert [(await rows(scene)).status for _ in range(10)] == [200] * 10
        assert await metric(scene, "licet_gateway_upstream_retries_total") == 1
        await eventually(lambda: len(scene.calls) == 12, 10)
        assert [record.outcome for record in scene.calls] == [OUTCOME_OK] * 12
        assert scene.units == 2 + 20


async def test_a_call_waits_until_its_version_is_loaded(new_scene: NewScene, eventually: Eventually) -> None:
    async with new_scene(GATEWAY_HOLD_S="30") as scene:
        model = scene.models["rows"]
        assert (await rows(scene)).status == 200
        await scene.announce.version(model, rule=RULES["rows"], state="unloaded")

        async def away() -> bool:
            path = f"/v2/models/{model.public_name}/ready"
            return (await call(scene.gateway.port, "GET", path)).status == 404

        await eventually(away, 10, what="the announcement")
        waiting = [asyncio.create_task(rows(scene)) for _ in range(3)]

        async def all_held() -> bool:
            return await metric(scene, "licet_gateway_calls_held_total") == 3

        await eventually(all_held, 10, what="the held calls")
        await scene.announce.version(model, rule=RULES["rows"])
        assert [(await task).status for task in waiting] == [200] * 3
        await eventually(lambda: len(scene.calls) == 4, 10)
        assert scene.units == 8
