"""What Triton makes of the entries: real server, real models, no vault around them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from licet_kit.testing.http import http_client
from licet_schemas.manifest import Manifest, digest_bytes, parse
from licet_vault.clients.triton import Triton, TritonUnavailable
from licet_vault.domain import LoadFailed
from licet_vault.repository.entry import folder_names, plan
from licet_vault.repository.place import Repository
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from examples.models.bench_identity import build
from examples.models.tumour_risk import train

NAME = "acme.tumour-risk-0123456789abcdef"
BROKEN = "acme.broken-0123456789abcdef"
BENCH = "bench.identity-0123456789abcdef"

Read = Callable[[str], Iterator[bytes]]


@pytest.fixture
def read(tumour_files: dict[str, bytes]) -> Read:
    by_digest = {digest_bytes(body): body for body in tumour_files.values()}
    return lambda sha256: iter([by_digest[sha256]])


@pytest.fixture
async def triton(triton_url: str) -> AsyncIterator[Triton]:
    client = Triton(triton_url, load_timeout_s=60)
    yield client
    await client.close()


@pytest.fixture
async def loaded(triton: Triton, triton_repository: Path, tumour_manifest: Manifest, read: Read) -> Triton:
    """A Triton that serves the example under NAME."""
    if NAME not in await triton.ready_models():
        Repository(triton_repository).place(plan(tumour_manifest, NAME), read)
        await triton.load(NAME)
    return triton


def infer(url: str, name: str, inputs: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
    """One KServe v2 JSON call; NaN is written as Triton reads it."""
    answer = httpx2.post(f"{url}/v2/models/{name}/infer", content=json.dumps({"inputs": inputs}), timeout=20)
    return answer.status_code, answer.json()


def features(x: NDArray[Any], shape: list[int] | None = None) -> list[dict[str, Any]]:
    values = np.asarray(x, dtype=np.float32).ravel().tolist()
    return [{"name": "FEATURES", "datatype": "FP32", "shape": shape or list(x.shape), "data": values}]


def typical() -> NDArray[Any]:
    return train.load().held_out.x[:3].copy()


async def test_raw_features_give_the_published_quality_through_the_pipeline(
    loaded: Triton, triton_url: str, tumour_manifest: Manifest
) -> None:
    held_out = train.load().held_out
    status, answer = infer(triton_url, NAME, features(held_out.x))
    assert status == 200
    (output,) = answer["outputs"]
    assert output["shape"] == [len(held_out.y), 2]
    risk = np.array(output["data"]).reshape(-1, 2)[:, 1]
    assert f"{roc_auc_score(held_out.y, risk):.4f}" == tumour_manifest.metrics["auc"]


async def test_the_scaler_runs_in_triton(loaded: Triton, triton_url: str) -> None:
    """A row's answer does not depend on its batch, and the stage gives what training scaled."""
    x = typical()
    _, whole = infer(triton_url, NAME, features(x))
    single = [infer(triton_url, NAME, features(row[None, :]))[1]["outputs"][0]["data"] for row in x]
    assert np.allclose(np.array(whole["outputs"][0]["data"]).reshape(-1, 2), single, atol=1e-5)
    _, scaled = infer(triton_url, f"{NAME}.pipeline", features(x))
    expected = train.scale(train.fit_scaler(train.load().train), x)
    assert np.allclose(np.array(scaled["outputs"][0]["data"]).reshape(x.shape), expected, atol=1e-5)


async def test_a_missing_optional_feature_is_filled_by_its_mean(loaded: Triton, triton_url: str) -> None:
    split = train.load()
    column = split.names.index("area error")
    left_out, filled = typical(), typical()
    left_out[0, column] = np.nan
    filled[0, column] = split.train.x[:, column].mean()
    answers = [infer(triton_url, NAME, features(x))[1]["outputs"][0]["data"] for x in (left_out, filled)]
    assert np.allclose(answers[0], answers[1], atol=1e-4)


def _nan(x: NDArray[Any]) -> None:
    x[1, 0] = np.nan


def _infinite(x: NDArray[Any]) -> None:
    x[2, 3] = np.inf


def _below(x: NDArray[Any]) -> None:
    x[0, 2] = -0.001


def _above(x: NDArray[Any]) -> None:
    x[0, 0] = 812.0
    x[1, 0] = 813.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_nan, "feature 'mean radius' (column 0) of row 1 is required and is NaN"),
        (_infinite, "feature 'mean area' (column 3) of row 2 is inf image unit^2, outside 0 to 3700"),
        (_below, "feature 'mean perimeter' (column 2) of row 0 is -0.001 image unit, outside 0 to 280"),
        (_above, "feature 'mean radius' (column 0) of row 0 is 812 image unit, outside 0 to 42; 2 values"),
    ],
)
async def test_a_value_beyond_the_schema_is_refused_in_its_words(
    change: Callable[[NDArray[Any]], None], says: str, loaded: Triton, triton_url: str
) -> None:
    x = typical()
    change(x)
    status, answer = infer(triton_url, NAME, features(x))
    assert status == 400
    assert says in answer["error"]
    assert infer(triton_url, NAME, features(typical()))[0] == 200


@pytest.mark.parametrize(
    "inputs",
    [
        features(np.zeros((1, 31))),
        features(np.zeros((1, 29))),
        features(np.zeros(30)),
        features(np.zeros((257, 30))),
        features(np.zeros((0, 30))),
        [{"name": "OTHER", "datatype": "FP32", "shape": [1, 30], "data": [0.0] * 30}],
        [{"name": "FEATURES", "datatype": "INT64", "shape": [1, 30], "data": [0] * 30}],
        [{"name": "FEATURES", "datatype": "BYTES", "shape": [1, 30], "data": ["a"] * 30}],
        [],
    ],
    ids=[
        "wide",
        "narrow",
        "flat",
        "too many rows",
        "no rows",
        "name",
        "integer",
        "text",
        "no input",
    ],
)
async def test_a_malformed_tensor_is_refused_and_the_model_lives(
    inputs: list[dict[str, Any]], loaded: Triton, triton_url: str
) -> None:
    status, answer = infer(triton_url, NAME, inputs)
    assert status == 400
    assert answer["error"]
    assert infer(triton_url, NAME, features(typical()))[0] == 200


async def test_a_shape_that_lies_about_its_data_is_refused_and_the_model_lives(
    loaded: Triton, triton_url: str
) -> None:
    """Triton itself answers 500 here, before the pipeline sees anything."""
    status, answer = infer(triton_url, NAME, features(np.zeros((2, 30)), [1, 30]))
    assert status == 500
    assert "does not match" in answer["error"]
    assert infer(triton_url, NAME, features(typical()))[0] == 200


async def test_a_refused_request_does_not_harm_the_others_of_its_batch(
    loaded: Triton, triton_url: str
) -> None:
    good, bad = typical(), typical()
    bad[0, 0] = np.nan
    async with http_client(timeout=30) as client:
        answers = await asyncio.gather(
            *(
                client.post(
                    f"{triton_url}/v2/models/{NAME}/infer",
                    content=json.dumps({"inputs": features(bad if i % 3 == 0 else good)}),
                )
                for i in range(30)
            )
        )
    assert [a.status_code for a in answers] == [400 if i % 3 == 0 else 200 for i in range(30)]
    assert len({a.text for a in answers if a.status_code == 200}) == 1


async def test_the_loaded_configuration_tells_its_entry(loaded: Triton, tumour_manifest: Manifest) -> None:
    assert await loaded.loaded_entry(NAME) == plan(tumour_manifest, NAME).entry_id
    assert set(folder_names(NAME)) <= await loaded.ready_models()


async def test_the_probe_accepts_what_the_manifest_says_and_nothing_else(
    loaded: Triton, tumour_manifest: Manifest
) -> None:
    sample = typical()[:1].astype(np.float32)
    await loaded.probe(NAME, tumour_manifest, sample)
    wider = tumour_manifest.model_dump(mode="json")
    wider["outputs"][0]["shape"] = [-1, 3]
    with pytest.raises(LoadFailed, match="PROBABILITIES"):
        await loaded.probe(NAME, parse(wider), sample)
    with pytest.raises(LoadFailed, match="NaN"):
        await loaded.probe(NAME, tumour_manifest, np.full((1, 30), np.nan, np.float32))


async def test_the_identity_model_gives_back_what_it_is_given(
    triton: Triton, triton_repository: Path, triton_url: str
) -> None:
    manifest = parse(build.MANIFEST)
    Repository(triton_repository).place(plan(manifest, BENCH), lambda _: iter(()))
    await triton.load(BENCH)
    x = np.arange(512, dtype=np.float32).reshape(2, 256)
    await triton.probe(BENCH, manifest, x)
    inputs = [{"name": "INPUT0", "datatype": "FP32", "shape": [2, 256], "data": x.ravel().tolist()}]
    status, answer = infer(triton_url, BENCH, inputs)
    assert status == 200
    assert answer["outputs"][0]["data"] == x.ravel().tolist()
    await triton.unload(BENCH)
    assert BENCH not in await triton.ready_models()


async def test_unloading_what_is_not_loaded_is_harmless(triton: Triton) -> None:
    await triton.unload("acme.never-0123456789abcdef")


async def test_a_broken_graph_is_a_failed_load(
    triton: Triton, triton_repository: Path, tumour_manifest: Manifest, tumour_files: dict[str, bytes]
) -> None:
    by_digest = {digest_bytes(b): n for n, b in tumour_files.items()}
    Repository(triton_repository).place(
        plan(tumour_manifest, BROKEN),
        lambda sha: iter([b"no graph" if by_digest[sha] == "model.onnx" else tumour_files[by_digest[sha]]]),
    )
    with pytest.raises(LoadFailed):
        await triton.load(BROKEN)
    assert BROKEN not in await triton.ready_models()


async def test_a_staging_folder_is_no_model(triton: Triton, triton_repository: Path) -> None:
    (triton_repository / ".staging-x.y-0").mkdir()
    await triton.ready_models()
    with pytest.raises(LoadFailed):
        await triton.load("x.y-0")
    (triton_repository / ".staging-x.y-0").rmdir()


async def test_an_absent_triton_is_unavailable_not_a_refusal(unused_tcp_port: int) -> None:
    client = Triton(f"http://127.0.0.1:{unused_tcp_port}", load_timeout_s=1)
    with pytest.raises(TritonUnavailable):
        await client.ready_models()
    await client.close()
