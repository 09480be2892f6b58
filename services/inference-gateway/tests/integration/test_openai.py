"""OpenAI's own client, unchanged, through a real gateway to real Triton."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio
from licet_gateway.testing.loaded import LoadedModel, loaded
from licet_gateway.testing.scene import SCHEMAS, Scene, scene
from licet_gateway.testing.wire import call, request, wire
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
def text_models(servers: dict[str, Any]) -> Iterator[dict[str, LoadedModel]]:
    place = {"triton": servers["triton"]["http"], "repository": Path(servers["triton"]["repository"])}
    with loaded("talker", **place) as talker, loaded("vectors", **place) as vectors:
        yield {"talker": talker, "vectors": vectors}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def texts(
    servers: dict[str, Any], text_models: dict[str, LoadedModel], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    async with scene(servers, text_models, tmp_path_factory.mktemp("texts")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def visit(texts: Scene) -> Scene:
    return texts.visitor()


@pytest_asyncio.fixture(loop_scope="module")
async def client(visit: Scene) -> AsyncIterator[openai.AsyncOpenAI]:
    async with of(visit) as made:
        yield made


def of(scene: Scene) -> openai.AsyncOpenAI:
    """The client of a scene's caller; it tries nothing twice, so that a test sees each answer."""
    key = scene.key.header["Authorization"].removeprefix("Bearer ")
    return openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{scene.gateway.port}/v1", api_key=key, max_retries=0, timeout=20
    )


def said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


async def test_a_chat_is_answered_and_costs_the_tokens_that_came_out(
    visit: Scene, client: openai.AsyncOpenAI, eventually: Eventually
) -> None:
    slug = visit.models["talker"].slug
    answer = await client.chat.completions.create(model=slug, messages=said("a b c d"), max_tokens=3)
    assert answer.choices[0].message.content == "a b c"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 3)
    [record] = await eventually(lambda: visit.calls, 10)
    assert (record.units, record.outcome) == (3, OUTCOME_OK)
    assert answer.id == f"chatcmpl-{record.request_id}"


async def test_a_stream_has_a_chunk_for_each_token_and_its_usage(
    visit: Scene, client: openai.AsyncOpenAI, eventually: Eventually
) -> None:
    stream = await client.chat.completions.create(
        model=visit.models["talker"].slug,
        messages=said("one two three"),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    words = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert words == ["one ", "two ", "three"]
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3
    [record] = await eventually(lambda: visit.calls, 10)
    assert (record.units, record.outcome) == (3, OUTCOME_OK)


async def test_a_completion_goes_on_from_its_prompt(visit: Scene, client: openai.AsyncOpenAI) -> None:
    slug = visit.models["talker"].slug
    whole = await client.completions.create(model=slug, prompt="x y z", max_tokens=2)
    assert (whole.choices[0].text, whole.choices[0].finish_reason) == ("x y", "length")
    stream = await client.completions.create(model=slug, prompt="x y z", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == "x y z"


async def test_embeddings_cost_the_tokens_that_went_in(
    visit: Scene, client: openai.AsyncOpenAI, eventually: Eventually
) -> None:
    slug = visit.models["vectors"].slug
    answer = await client.embeddings.create(model=slug, input=["a b", "c"])
    assert [item.embedding for item in answer.data] == [[3.0, 2.0, 97.0], [1.0, 1.0, 99.0]]
    plain = await client.embeddings.create(model=slug, input="a b", encoding_format="float")
    assert plain.data[0].embedding == [3.0, 2.0, 97.0]
    await eventually(lambda: sorted(r.units for r in visit.calls) == [2, 3], 10)


async def test_models_are_listed_and_shown_without_a_credential(visit: Scene) -> None:
    slug = visit.models["talker"].slug
    anybody = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{visit.gateway.port}/v1", api_key="none")
    async with anybody:
        assert slug in [model.id async for model in anybody.models.list()]
        assert (await anybody.models.retrieve(slug)).owned_by == slug.partition("/")[0]
        with pytest.raises(openai.NotFoundError):
            await anybody.models.retrieve("no/such")


async def test_refusals_are_errors_that_the_client_knows(visit: Scene, client: openai.AsyncOpenAI) -> None:
    slug = visit.models["talker"].slug
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="nonsense").chat.completions.create(model=slug, messages=said("a"))
    with pytest.raises(openai.PermissionDeniedError) as denied:
        await client.chat.completions.create(model="no/license", messages=said("a"))
    assert isinstance(denied.value.body, dict)
    assert denied.value.body["licet_code"] == "license_missing"
    with pytest.raises(openai.BadRequestError) as wrong:
        await client.chat.completions.create(model=slug, messages=said("a"), n=2)
    assert wrong.value.param == "n"
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model=visit.models["vectors"].slug, messages=said("a"))
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="no slug", messages=said("a"))
    assert visit.calls == []


async def test_a_quota_that_is_used_up_is_told_so(visit: Scene, client: openai.AsyncOpenAI) -> None:
    right = visit.rights["talker"]
    right.free, right.lease_units = 5, 5
    slug = visit.models["talker"].slug
    with pytest.raises(openai.RateLimitError) as used_up:
        await client.chat.completions.create(model=slug, messages=said("a b c d e f"), max_tokens=6)
    assert used_up.value.code == "insufficient_quota"
    assert (await client.chat.completions.create(model=slug, messages=said("a b"), max_tokens=5)).choices


async def test_an_error_of_the_model_costs_nothing(
    visit: Scene, client: openai.AsyncOpenAI, eventually: Eventually
) -> None:
    slug = visit.models["talker"].slug
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(model=slug, messages=said("a fail"))
    stream = await client.chat.completions.create(model=slug, messages=said("a fail"), stream=True)
    with pytest.raises(openai.APIError, match="the model failed"):
        async for _ in stream:
            pass
    await eventually(lambda: len(visit.calls) == 2, 10)
    assert {(r.units, r.outcome) for r in visit.calls} == {(0, OUTCOME_UPSTREAM_ERROR)}


async def test_a_client_that_leaves_stops_the_model_and_pays_what_it_was_sent(
    visit: Scene, client: openai.AsyncOpenAI, eventually: Eventually
) -> None:
    model = visit.models["talker"]
    stream = await client.chat.completions.create(
        model=model.slug, messages=said("a b gate-70 c"), stream=True
    )
    got = []
    async for chunk in stream:
        got.append(chunk.choices[0].delta.content)
        if got[-1] == "b ":
            break
    await stream.close()
    await eventually((model.folder / "1" / "cancelled-gate-70").exists, 10)
    [record] = await eventually(lambda: visit.calls, 10)
    assert (record.units, record.outcome) == (2, OUTCOME_CLIENT_GONE)


async def test_a_stream_whose_right_falls_ends_with_the_reason(
    new_scene: NewScene, text_models: dict[str, LoadedModel], eventually: Eventually
) -> None:
    model = text_models["talker"]
    async with new_scene(own_models={"talker": model}) as scene, of(scene) as client:
        stream = await client.chat.completions.create(
            model=model.slug, messages=said("a gate-71 b c"), stream=True
        )
        chunks = aiter(stream)
        while (await anext(chunks)).choices[0].delta.content != "a ":
            pass
        right = scene.rights["talker"]
        right.denial = REVOKED
        await scene.announce.revocation(right.grant_id, 2)
        await eventually(lambda: _revoked(scene), 10)
        (model.folder / "1" / "gate-71").touch()
        with pytest.raises(openai.APIError, match="revoked"):
            async for _ in chunks:
                pass
        [record] = await eventually(lambda: scene.calls, 10)
        assert (record.units, record.outcome) == (1, OUTCOME_CANCELLED)


async def _revoked(scene: Scene) -> bool:
    return 'licet_gateway_leases_revoked_total{worker="0"} 1.0' in await scene.gateway.metrics()


async def test_a_killed_worker_charges_the_last_step_of_its_stream(
    new_scene: NewScene, text_models: dict[str, LoadedModel], eventually: Eventually
) -> None:
    """Without the progress entries the stream cost nothing: 0 == 40."""
    model = text_models["talker"]
    words = " ".join(f"w{n}" for n in range(40))
    async with new_scene(own_models={"talker": model}) as scene, of(scene) as client:
        stream = await client.chat.completions.create(
            model=model.slug, messages=said(f"{words} gate-72 end"), stream=True
        )
        count = 0
        async for chunk in stream:
            count += bool(chunk.choices[0].delta.content)
            if count == 40:
                break
        [worker] = scene.gateway.workers()
        os.kill(worker, signal.SIGKILL)
        [record] = await eventually(lambda: [r for r in scene.calls if not r.last or r.units], 20)
        assert 40 - 16 < record.units <= 40


async def test_a_leased_version_that_is_no_text_model_is_told_and_stops_nobody(
    new_scene: NewScene, text_models: dict[str, LoadedModel], models: dict[str, LoadedModel]
) -> None:
    """It is leased while the newest one is a text model: an activation that licensing has not heard of."""
    talker, other = text_models["talker"], models["identity"]
    older = replace(other, slug=talker.slug)
    async with new_scene(own_models={"talker": talker}, GATEWAY_HOLD_S="1") as scene, of(scene) as client:
        await scene.announce.version(older, rule="request")
        await scene.announce.version(talker, rule="request", schema=SCHEMAS["talker"])
        right = scene.rights["talker"]
        right.version_digest, right.metering_rule = older.version_digest, "request"
        with pytest.raises(openai.InternalServerError) as told:
            await client.chat.completions.create(model=talker.slug, messages=said("a"))
        assert told.value.code == "model_not_ready"
        right.version_digest = talker.version_digest
        await asyncio.wait_for(answered(client, talker.slug), 10)


async def answered(client: openai.AsyncOpenAI, slug: str) -> None:
    """The leases of the older version end after a while."""
    while True:
        try:
            await client.chat.completions.create(model=slug, messages=said("a"))
        except openai.InternalServerError:
            continue
        return


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b'{"model":"a/b","messages":[]}', {}, 400),
        (b"{}", {"Content-Encoding": "gzip"}, 415),
        (b" " * (1024 * 1024 + 1), {}, 413),
    ],
)
async def test_a_body_that_cannot_be_served_is_told_why(
    visit: Scene, body: bytes, headers: dict[str, str], status: int
) -> None:
    response = await call(
        visit.gateway.port, "POST", "/v1/chat/completions", body, {**visit.key.header, **headers}
    )
    assert response.status == status
    assert response.json["error"]["type"] == "invalid_request_error"


async def test_pipelined_calls_are_answered_in_turn(visit: Scene) -> None:
    slug = visit.models["talker"].slug
    bodies = [json.dumps({"model": slug, "messages": said(t), "stream": True}).encode() for t in ("a", "b")]
    data = b"".join(request("POST", "/v1/chat/completions", b, visit.key.header) for b in bodies)
    async with wire(visit.gateway.port) as connection:
        await connection.send(data)
        for word in ("a", "b"):
            response = await connection.receive()
            assert f'"content":"{word}"'.encode() in response.body
            assert response.body.endswith(b"data: [DONE]\n\n")
