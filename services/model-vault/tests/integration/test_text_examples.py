"""The text examples, as their publisher would bring them, served by a vault on a real Triton."""

import json
from collections.abc import Callable

import httpx2
import pytest
from licet_schemas.manifest import digest_bytes
from licet_vault.domain import pinned_name
from licet_vault.testing import texts
from licet_vault.testing.harness import Vault
from licet_vault.testing.streams import generated

from examples.models import building
from examples.models.manual_writer import train
from examples.models.sentence_map import build

Files = dict[str, bytes]


def _writer() -> Files:
    return {p.name: p.read_bytes() for p in train.trained(building.CACHE).iterdir()}


def _sentences() -> Files:
    return {p.name: p.read_bytes() for p in build.built(building.CACHE).iterdir()}


@pytest.mark.parametrize(
    ("files", "task"),
    [(_writer, "text-generation"), (_sentences, "text-embedding")],
    ids=["writer", "sentences"],
)
async def test_a_text_example_becomes_ready_and_tells_its_task(
    files: Callable[[], Files], task: str, vault: Vault
) -> None:
    made = files()
    await vault.activate(await vault.upload(made))
    await vault.reconciler.step()
    told = (await vault.told())[-1]
    assert (told.state, told.reason) == ("ready", "")
    assert json.loads(told.schema_json)["task"] == task
    assert told.metering_rule == json.loads(made["manifest.json"])["metering_rule"]


async def test_the_writer_writes_words_of_the_manual(vault: Vault, triton_grpc: str) -> None:
    digest = await vault.upload(_writer())
    await vault.activate(digest)
    await vault.reconciler.step()
    messages = json.dumps([{"role": "user", "content": "The assignment statement"}])
    parts = generated(
        triton_grpc,
        pinned_name(vault.slug, digest),
        messages=messages,
        max_tokens=60,
        temperature=0.7,
        seed=1,
    )
    assert parts[-1].reason in ("stop", "length")
    assert parts[-1].output_tokens <= 60
    assert parts[-1].input_tokens == parts[0].input_tokens > 5


async def test_texts_of_one_subject_lie_near_each_other(vault: Vault, triton_url: str) -> None:
    digest = await vault.upload(_sentences())
    await vault.activate(digest)
    await vault.reconciler.step()
    asked = ["the cat sleeps on the sofa", "a kitten naps on the couch", "interest rates rose again"]
    tensor = {"name": "text", "datatype": "BYTES", "shape": [3], "data": asked}
    answer = httpx2.post(
        f"{triton_url}/v2/models/{pinned_name(vault.slug, digest)}/infer",
        content=json.dumps({"inputs": [tensor]}),
        timeout=20,
    ).json()
    outputs = {o["name"]: o["data"] for o in answer["outputs"]}
    one, two, other = (outputs["embedding"][at : at + 256] for at in (0, 256, 512))
    assert sum(map(float.__mul__, one, two)) > sum(map(float.__mul__, one, other)) + 0.2
    assert outputs["input_tokens"][0] >= 15


async def test_a_generator_that_gives_no_figures_is_not_ready(vault: Vault) -> None:
    """The probe's letter is followed by what is no figure."""
    files = texts.generator_files()
    graph = texts.counting_graph(silent=True).SerializeToString()
    document = json.loads(files["manifest.json"])
    for artifact in document["artifacts"]:
        if artifact["name"] == "model.onnx":
            artifact.update(sha256=digest_bytes(graph), size_bytes=len(graph))
    made = {**files, "model.onnx": graph, "manifest.json": json.dumps(document).encode()}
    await vault.activate(await vault.upload(made))
    await vault.reconciler.step()
    assert (await vault.states())[-1] == ("refused", "load_failed")
    assert await vault.loaded() == []
    assert vault.plaintext() == []
