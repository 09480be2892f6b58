"""Generated text: plain and streamed, from real Triton, metered once and cut where it has to be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from licet_gateway.testing import bodies
from licet_gateway.testing.loaded import LoadedModel, loaded
from licet_gateway.testing.scene import Scene
from licet_gateway.testing.wire import Response, Wire, call, request, wire
from licet_kit.testing.plugin import Eventually
from licet_schemas.licet.licensing.v1 import licensing_pb2 as pb
from licet_schemas.licet.usage.v1.usage_pb2 import (
    OUTCOME_CANCELLED,
    OUTCOME_CLIENT_GONE,
    OUTCOME_OK,
    OUTCOME_UPSTREAM_ERROR,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

NewScene = Callable[..., AbstractAsyncContextManager[Scene]]
REVOKED = pb.Denial(code="license_revoked", message="revoked", remedy="renew", decision_id="decision-2")


@pytest.fixture(scope="module")
def stream(servers: dict[str, Any]) -> Iterator[LoadedModel]:
    """Streams the words of its text."""
    place = {"triton": servers["triton"]["http"], "repository": Path(servers["triton"]["repository"])}
    with loaded("stream", **place) as model:
        yield model


def asked(model: LoadedModel, text: str, *, operation: str = "generate_stream", name: str = "") -> bytes:
    """The call of a text; of the pinned name where `name` says so."""
    path = f"/v2/models/{name or model.public_name}/{operation}"
    return request("POST", path, json.dumps({"TEXT": text}).encode())


def by(scene: Scene, data: bytes) -> bytes:
    """The same with the caller's key."""
    fields = "".join(f"\r\n{name}: {value}" for name, value in scene.key.header.items())
    return data.replace(b"\r\n", fields.encode() + b"\r\n", 1)


async def answer(port: int, data: bytes) -> Response:
    async with wire(port) as connection:
        await connection.send(data)
        return await connection.receive()


async def direct(model: LoadedModel, text: str, *, operation: str = "generate_stream") -> Response:
    """What Triton says without anybody between."""
    port = urlsplit(model.triton).port
    assert port is not None
    return await answer(port, asked(model, text, operation=operation, name=model.pinned))


async def begun(connection: Wire, scene: Scene, model: LoadedModel, text: str) -> None:
    """A stream of which the first event has come."""
    await connection.send(by(scene, asked(model, text)))
    assert (await connection.receive_head())[0] == 200
    assert b'"TOKEN":"a"' in await connection.receive_chunk()


def seen(model: LoadedModel, mark: str) -> bool:
    return (model.folder / "1" / mark).exists()


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        ("generate", "one"),
        ("generate_stream", "one"),
        ("generate_stream", "several words in a row"),
        ("generate_stream", "w" * 200_000),
    ],
)
async def test_an_answer_is_tritons_own_and_is_charged_once(
    new_scene: NewScene, stream: LoadedModel, eventually: Eventually, operation: str, text: str
) -> None:
    async with new_scene(own_models={"stream": stream}) as scene:
        got = await answer(scene.gateway.port, by(scene, asked(stream, text, operation=operation)))
        expected = await direct(stream, text, operation=operation)
        assert (got.status, got.body) == (200, expected.body)
        assert got.headers["content-type"] == expected.headers["content-type"]
        record = await eventually(lambda: scene.record_of(got), 10)
        assert (record.units, record.outcome) == (1, OUTCOME_OK)
        assert record.bytes_out == len(expected.body)
        assert len(scene.calls) == 1


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        ("generate_stream", "fail"),
        ("generate_stream", "some words and fail"),
        ("generate", "fail"),
        ("generate", "more than one"),
    ],
)
async def test_what_triton_fails_is_told_in_its_words_and_costs_nothing(
    new_scene: NewScene, stream: LoadedModel, eventually: Eventually, operation: str, text: str
) -> None:
    async with new_scene(own_models={"stream": stream}) as scene:
        got = await answer(scene.gateway.port, by(scene, asked(stream, text, operation=operation)))
        expected = await direct(stream, text, operation=operation)
        assert (got.status, got.body) == (expected.status, expected.body)
        record = await eventually(lambda: scene.record_of(got), 10)
        assert (record.units, record.outcome) == (0, OUTCOME_UPSTREAM_ERROR)


async def test_events_come_as_the_model_makes_them(new_scene: NewScene, stream: LoadedModel) -> None:
    async with new_scene(own_models={"stream": stream}) as scene, wire(scene.gateway.port) as connection:
        await begun(connection, scene, stream, "a gate-10 b")
        assert not seen(stream, "at-b")
        (stream.folder / "1" / "gate-10").touch()
        rest = b""
        while chunk := await connection.receive_chunk():
            rest += chunk
        assert [json.loads(line[6:])["TOKEN"] for line in rest.split(b"\n\n") if line] == ["gate-10", "b"]


async def test_a_client_that_leaves_ends_the_model_and_pays_for_what_it_took(
    new_scene: NewScene, stream: LoadedModel, eventually: Eventually
) -> None:
    async with new_scene(own_models={"stream": stream}) as scene:
        async with wire(scene.gateway.port) as connection:
            await begun(connection, scene, stream, "a gate-20 b")
        await eventually(lambda: seen(stream, "cancelled-gate-20"), 10)
        record = await eventually(lambda: scene.calls[0], 10)
        assert (record.units, record.outcome) == (1, OUTCOME_CLIENT_GONE)


async def test_a_client_that_leaves_before_the_first_event_pays_nothing(
    new_scene: NewScene, stream: LoadedModel, eventually: Eventually
) -> None:
    async with new_scene(own_models={"stream": stream}) as scene:
        async with wire(scene.gateway.port) as connection:
            await connection.send(by(scene, asked(stream, "gate-30 b")))
            await eventually(lambda: seen(stream, "at-gate-30"), 10)
        record = await eventually(lambda: scene.calls[0], 10)
        assert (record.units, record.outcome) == (0, OUTCOME_CLIENT_GONE)
        # Triton notices over HTTP who left only once it has answered; the gateway's connection is cut all the same.
        (stream.folder / "1" / "gate-30").touch()


async def test_a_stream_whose_right_falls_ends_before_its_next_event(
    new_scene: NewScene, stream: LoadedModel, models: dict[str, LoadedModel], eventually: Eventually
) -> None:
    own = {"stream": stream, "identity": models["identity"]}
    async with new_scene(own_models=own) as scene, wire(scene.gateway.port) as connection:
        await begun(connection, scene, stream, "a gate-40 b")
        body = bodies.identity()

        async def refused() -> bool:
            response = await scene.gateway.infer(own["identity"], body.data, body.headers | scene.key.header)
            return response.status == 403

        for right in scene.rights.values():
            right.denial = REVOKED
        await scene.announce.revocation(scene.rights["stream"].grant_id, 2)
        await eventually(refused, 10)
        (stream.folder / "1" / "gate-40").touch()
        assert await connection.ended(), "not one event more, and no end that looks like a whole answer"
        record = await eventually(lambda: next(r for r in scene.calls if r.bytes_out and r.units), 10)
        assert (record.units, record.outcome) == (1, OUTCOME_CANCELLED)


async def test_a_stream_that_is_cut_at_the_time_limit_is_charged(
    new_scene: NewScene, stream: LoadedModel, eventually: Eventually
) -> None:
    """Free of charge, every long answer would be asked for just so."""
    async with (
        new_scene(own_models={"stream": stream}, GATEWAY_CALL_TIMEOUT_S="3") as scene,
        wire(scene.gateway.port) as connection,
    ):
        await begun(connection, scene, stream, "a gate-50 b")
        assert await connection.ended()
        record = await eventually(lambda: scene.calls[0], 10)
        assert (record.units, record.outcome) == (1, OUTCOME_CLIENT_GONE)


async def test_a_model_metered_by_rows_is_not_generated_with(visit: Scene) -> None:
    for operation in ("generate", "generate_stream"):
        got = await answer(
            visit.gateway.port, by(visit, asked(visit.models["rows"], "x", operation=operation))
        )
        assert got.status == 400
        assert "only /infer" in got.json["error"]
    headers = {"Inference-Header-Content-Length": "2", **visit.key.header}
    path = f"/v2/models/{visit.models['identity'].public_name}/generate"
    assert (await call(visit.gateway.port, "POST", path, b"{}", headers)).status == 400
    assert visit.calls == []
