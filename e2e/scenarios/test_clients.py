"""Text models on sale: OpenAI's client writes and embeds by a license, by the tokens that the runner counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openai
import pytest
import tritonclient.grpc as triton
from licet_schemas.licet.usage.v1 import usage_pb2
from licet_sdk.chain import PlanOffer

from e2e.demo import books, calls, story
from e2e.observe import eventually
from e2e.scenarios.conftest import FUNDS, Installation
from examples.models.building import CACHE
from examples.models.manual_writer import train
from examples.models.sentence_map import build

INCLUDED = 200


@dataclass(frozen=True, slots=True)
class Sale:
    """A model on sale, and who bought a license to it."""

    slug: str
    asset_id: str
    buyer: str
    key: str


def _publish(installation: Installation, slug: str, folder: Path, rule: str, buyer: str) -> Sale:
    world = installation.world
    publisher = world.client("publisher")
    digest, _ = publisher.vault.upload(folder)
    asset_id = publisher.chain.find_or_register(slug)
    publisher.chain.publish_version(asset_id, digest, f"{world.config.vault}/v1/manifests/{digest}")
    return Sale(slug, asset_id, buyer, _sell(installation, asset_id, rule, buyer))


def _sell(installation: Installation, asset_id: str, rule: str, buyer: str) -> str:
    """A plan of its own for the buyer, who gets a license and the API key that is returned."""
    world, notes = installation.world, installation.notes
    offer = PlanOffer(
        price=1_000_000,
        period_s=story.MONTH_S,
        included_units=INCLUDED,
        optimistic_units=INCLUDED,
        unit_price=0,
        metering_rule=rule,
        server=world.actor("operator").address,
        terms_digest=books.digest_of(story.TERMS),
    )
    plan_id, _ = world.client("publisher").chain.create_plan(asset_id, offer)
    books.fund(world, world.actor(buyer).address, FUNDS)
    world.client(buyer).chain.buy(plan_id)
    calls.make_key(world, notes, buyer)
    return str(notes[f"{buyer}_key"])


@pytest.fixture(scope="module")
def writer(installation: Installation, wallets: Iterator[int]) -> Sale:
    buyer = f"buyer-{next(wallets)}"
    return _publish(installation, "press/manual-writer", train.trained(CACHE), "output_tokens", buyer)


@pytest.fixture(scope="module")
def sentences(installation: Installation, wallets: Iterator[int]) -> Sale:
    buyer = f"buyer-{next(wallets)}"
    return _publish(installation, "press/sentence-map", build.built(CACHE), "input_tokens", buyer)


def _client(installation: Installation, sale: Sale) -> openai.OpenAI:
    url = f"{installation.world.config.gateway[0]}/v1"
    return openai.OpenAI(base_url=url, api_key=sale.key, max_retries=0, timeout=30)


def _served(ask: Callable[[], object]) -> object:
    """An answer, once the version is loaded and the license is heard of."""

    def answer() -> object:
        try:
            return ask()
        except (openai.InternalServerError, openai.PermissionDeniedError, openai.NotFoundError):
            return None

    return eventually(answer, "the model answers its buyer", 60)


def _units(installation: Installation, sale: Sale) -> int:
    records = installation.world.topic("usage.recorded", usage_pb2.UsageRecorded)
    return sum({r.request_id: r.units for r in records if r.asset_id == sale.asset_id}.values())


def test_a_buyer_streams_text_and_pays_for_the_tokens_that_came_out(
    installation: Installation, writer: Sale
) -> None:
    client = _client(installation, writer)
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [
        {"role": "user", "content": "The assignment statement"}
    ]
    first = _served(
        lambda: client.chat.completions.create(model=writer.slug, messages=messages, max_tokens=8)
    )
    assert isinstance(first, openai.types.chat.ChatCompletion)
    assert first.usage is not None
    stream = client.chat.completions.create(
        model=writer.slug,
        messages=messages,
        max_tokens=20,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text
    assert chunks[-1].usage is not None
    used = first.usage.completion_tokens + chunks[-1].usage.completion_tokens
    assert 0 < used <= 28
    eventually(lambda: _units(installation, writer) == used, "the tokens are in the usage log", 20)


def test_a_quota_of_tokens_ends_with_the_license(installation: Installation, writer: Sale) -> None:
    client = _client(installation, writer)
    prompt = "The for statement is used to"
    _served(lambda: client.completions.create(model=writer.slug, prompt=prompt, max_tokens=1))

    def write_on() -> None:
        for _ in range(INCLUDED):
            client.completions.create(model=writer.slug, prompt=prompt, max_tokens=40)

    with pytest.raises(openai.RateLimitError) as used_up:
        write_on()
    assert used_up.value.code == "insufficient_quota"
    # Two leases may each be left with less than the tokens that are asked for.
    eventually(lambda: _units(installation, writer) > INCLUDED - 2 * 40, "the license is used up", 20)
    assert _units(installation, writer) <= INCLUDED


def test_sentences_of_one_subject_lie_near_each_other(installation: Installation, sentences: Sale) -> None:
    client = _client(installation, sentences)
    texts = ["open a file for reading", "read bytes from a file", "the square root of a number"]
    answer = _served(lambda: client.embeddings.create(model=sentences.slug, input=texts))
    assert isinstance(answer, openai.types.CreateEmbeddingResponse)
    near, other, far = (np.array(item.embedding) for item in answer.data)
    assert near @ other > near @ far
    used = answer.usage.prompt_tokens
    eventually(lambda: _units(installation, sentences) == used, "the tokens are in the usage log", 20)


def test_tritons_own_grpc_client_calls_a_licensed_model(
    installation: Installation, wallets: Iterator[int]
) -> None:
    world, notes = installation.world, installation.notes
    key = _sell(installation, notes["asset_id"], "rows:FEATURES", f"buyer-{next(wallets)}")
    headers = {"authorization": f"Bearer {key}"}
    address = world.endpoints["gateways"][0]["grpc"]
    rows = calls.held_out(3)
    tensor = triton.InferInput("FEATURES", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows)
    with triton.InferenceServerClient(address) as client:
        assert client.is_model_ready(calls.MODEL)

        def answer() -> object:
            try:
                return client.infer(calls.MODEL, [tensor], headers=headers)
            except triton.InferenceServerException:
                return None

        result = eventually(answer, "the license is heard of", 30)
        assert isinstance(result, triton.InferResult)
        assert result.as_numpy("PROBABILITIES").shape == (3, 2)
        with pytest.raises(triton.InferenceServerException, match="no credential"):
            client.infer(calls.MODEL, [tensor])
