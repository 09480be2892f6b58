"""Triton's own four clients, unchanged but for the address and a key: what they get is what Triton itself says."""

from __future__ import annotations

import queue
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from operator import methodcaller
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict
from licet_gateway.testing.clients import CLIENTS, Client, Place
from licet_gateway.testing.loaded import LoadedModel, loaded
from licet_gateway.testing.scene import Scene, scene
from licet_kit.testing.plugin import Eventually
from tritonclient.utils import InferenceServerException

pytestmark = pytest.mark.asyncio(loop_scope="module")

KINDS = ("identity", "types", "many", "stream", "gated", "rows")
Values = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def client_models(servers: dict[str, Any]) -> Iterator[dict[str, LoadedModel]]:
    """All that clients are tried with, metered by the request."""
    place = {"triton": servers["triton"]["http"], "repository": Path(servers["triton"]["repository"])}
    with ExitStack() as stack:
        yield {kind: replace(stack.enter_context(loaded(kind, **place)), rule="request") for kind in KINDS}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    servers: dict[str, Any], client_models: dict[str, LoadedModel], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Scene]:
    """One gateway for all of them."""
    async with scene(servers, client_models, tmp_path_factory.mktemp("clients")) as made:
        yield made


@pytest.fixture
def places(gateway: Scene, servers: dict[str, Any]) -> tuple[Place, Place]:
    """The gateway, and Triton."""
    # gRPC's metadata is in lower case.
    key = {name.lower(): value for name, value in gateway.key.header.items()}
    http, over_grpc = (f"127.0.0.1:{port}" for port in (gateway.gateway.port, gateway.gateway.grpc_port))
    here = Place(http, over_grpc, key, pinned=False)
    triton = servers["triton"]
    return here, Place(triton["http"].removeprefix("http://"), triton["grpc"], {}, pinned=True)


HTTP = [CLIENTS["http"], CLIENTS["http.aio"]]
each_client = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)


async def both(
    client: Client, places: tuple[Place, Place], model: LoadedModel, tensors: dict[str, Any], **how: Any
) -> tuple[Any, Any]:
    """The answers of the gateway and of Triton to the same call."""
    binary = how.pop("binary", True)
    names = how.pop("outputs", None)
    classes = how.pop("classes", 0)
    outputs = None if names is None else client.outputs(names, binary=binary, classes=classes)
    got = []
    for place in places:
        made = client.inputs(tensors, binary=binary)

        def infer(at: Any, place: Place = place, made: list[Any] = made) -> Any:
            return at.infer(place.name(model), made, outputs=outputs, headers=place.headers, **how)

        got.append(client.answer(await client.use(place, infer)))
    return got[0], got[1]


TYPES: dict[str, tuple[str, Values]] = {
    "BYTES": ("BYTES", np.array([[b"", b"\x00\xff", "Straße".encode()]], dtype=object)),
    "FP16": ("FP16", np.array([[1.5, -2, np.inf]], dtype=np.float16)),
    "BF16": ("BF16", np.array([[1.5, -2, 3e38]], dtype=ml_dtypes.bfloat16)),
    "BOOL": ("BOOL", np.array([[True, False]], dtype=bool)),
    "INT64": ("INT64", np.array([[2**63 - 1, -(2**63)]], dtype=np.int64)),
    "UINT8": ("UINT8", np.arange(256, dtype=np.uint8).reshape(2, 128)),
    "empty": ("FP32", np.zeros((0, 7), dtype=np.float32)),
    "empty BYTES": ("BYTES", np.zeros((3, 0), dtype=object)),
}
# JSON has no half floats: the clients refuse to write them so.
ONLY_BINARY = ("FP16", "BF16")


@each_client
@pytest.mark.parametrize("kind", TYPES)
async def test_every_datatype_comes_back_as_triton_sends_it(
    client: Client, places: tuple[Place, Place], client_models: dict[str, LoadedModel], kind: str
) -> None:
    datatype, values = TYPES[kind]
    tensors = {f"IN_{datatype}": (datatype, values)}
    got, expected = await both(client, places, client_models["types"], tensors)
    assert got == expected


@pytest.mark.parametrize("client", HTTP, ids=("http", "http.aio"))
@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind not in (*ONLY_BINARY, "BYTES")])
async def test_tensors_in_json_come_back_as_triton_sends_them(
    client: Client, places: tuple[Place, Place], client_models: dict[str, LoadedModel], kind: str
) -> None:
    datatype, values = TYPES[kind]
    tensors = {f"IN_{datatype}": (datatype, values)}
    outputs = [f"OUT_{datatype}"]
    got, expected = await both(client, places, client_models["types"], tensors, binary=False, outputs=outputs)
    assert got == expected


# aiohttp, on which one of the clients stands, warns of what it does there.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
@each_client
async def test_eight_mebibytes_go_and_come(
    client: Client, places: tuple[Place, Place], client_models: dict[str, LoadedModel]
) -> None:
    values = np.random.default_rng(1).random((8192, 256), dtype=np.float32)
    got, expected = await both(client, places, client_models["identity"], {"INPUT0": ("FP32", values)})
    assert got == expected


@each_client
@pytest.mark.parametrize("outputs", [None, ["Y3", "Y17", "Y4"]])
async def test_many_outputs_and_some_of_them(
    client: Client,
    places: tuple[Place, Place],
    client_models: dict[str, LoadedModel],
    outputs: list[str] | None,
) -> None:
    tensors = {"X": ("FP32", np.ones((3, 2), dtype=np.float32))}
    got, expected = await both(client, places, client_models["many"], tensors, outputs=outputs)
    assert got == expected


@each_client
async def test_classes_and_the_callers_own_request_id_are_tritons(
    client: Client, places: tuple[Place, Place], client_models: dict[str, LoadedModel]
) -> None:
    tensors = {"INPUT0": ("FP32", np.arange(256, dtype=np.float32).reshape(1, 256))}
    got, expected = await both(
        client,
        places,
        client_models["identity"],
        tensors,
        outputs=["OUTPUT0"],
        classes=3,
        request_id="of-the-caller",
    )
    assert got == expected
    assert "of-the-caller" in str(got)


@each_client
async def test_health_and_metadata(
    client: Client, places: tuple[Place, Place], client_models: dict[str, LoadedModel]
) -> None:
    here, triton = places
    for model in client_models.values():
        name = here.name(model)
        assert await client.use(here, methodcaller("is_model_ready", name))
        got = await client.use(here, methodcaller("get_model_metadata", name))
        expected = await client.use(triton, methodcaller("get_model_metadata", triton.name(model)))
        if client.over_grpc:
            got, expected = MessageToDict(got), MessageToDict(expected)
        assert got == {**expected, "name": name}
    assert await client.use(here, lambda at: at.is_server_live())
    assert await client.use(here, lambda at: at.is_server_ready())
    assert not await client.use(here, lambda at: at.is_model_ready("no.such"))


@each_client
async def test_compressed_requests_are_refused_in_words(
    client: Client, places: tuple[Place, Place], client_models: dict[str, LoadedModel]
) -> None:
    here, _ = places
    inputs = client.inputs({"INPUT0": ("FP32", np.zeros((4, 256), dtype=np.float32))})
    option = "compression_algorithm" if client.over_grpc else "request_compression_algorithm"
    name = here.name(client_models["identity"])
    with pytest.raises(
        InferenceServerException, match=r"compressed (messages|request bodies) are not served"
    ):
        await client.use(here, lambda at: at.infer(name, inputs, headers=here.headers, **{option: "gzip"}))


@pytest.mark.parametrize("client", HTTP, ids=("http", "http.aio"))
async def test_who_takes_compressed_answers_gets_plain_ones(
    client: Client, places: tuple[Place, Place], client_models: dict[str, LoadedModel]
) -> None:
    tensors = {"INPUT0": ("FP32", np.zeros((9, 256), dtype=np.float32))}
    here, _ = places
    got, expected = await both(
        client, (here, here), client_models["identity"], tensors, response_compression_algorithm="gzip"
    )
    assert got == expected


@each_client
async def test_a_refusal_is_an_exception_with_its_reason(
    client: Client, places: tuple[Place, Place], client_models: dict[str, LoadedModel]
) -> None:
    here, _ = places
    inputs = client.inputs({"INPUT0": ("FP32", np.zeros((1, 256), dtype=np.float32))})
    with pytest.raises(InferenceServerException, match=r"credential|key"):
        await client.use(here, lambda at: at.infer(here.name(client_models["identity"]), inputs))
    with pytest.raises(InferenceServerException, match="no license for this model"):
        await client.use(here, lambda at: at.infer("no.such-model", inputs, headers=here.headers))


@each_client
async def test_what_triton_refuses_is_told_in_its_words(
    client: Client, places: tuple[Place, Place], client_models: dict[str, LoadedModel]
) -> None:
    told = []
    for place in places:
        inputs = client.inputs({"INPUT0": ("FP32", np.zeros((1, 3), dtype=np.float32))})
        name = place.name(client_models["identity"])
        with pytest.raises(InferenceServerException) as refused:
            await client.use(place, methodcaller("infer", name, inputs, headers=place.headers))
        told.append((refused.value.message().strip(), refused.value.status()))
    assert told[0] == told[1]


@pytest.mark.parametrize("client", [CLIENTS["grpc"], CLIENTS["grpc.aio"]], ids=("grpc", "grpc.aio"))
async def test_a_clients_timeout_ends_its_call(
    client: Client, places: tuple[Place, Place], client_models: dict[str, LoadedModel]
) -> None:
    here, _ = places
    model = client_models["gated"]
    gate = 400 + client.asynchronous
    inputs = client.inputs({"GATE": ("INT32", np.array([gate], dtype=np.int32))})
    with pytest.raises(InferenceServerException, match="Deadline"):
        await client.use(
            here,
            lambda at: at.infer(here.name(model), inputs, headers=here.headers, client_timeout=0.5),
        )
    model.open_gate(gate)


async def test_http_async_infer(places: tuple[Place, Place], client_models: dict[str, LoadedModel]) -> None:
    client, answers = CLIENTS["http"], []
    for place in places:
        tensors = {"INPUT0": ("FP32", np.full((2, 256), 5, dtype=np.float32))}

        def work(at: Any, place: Place = place, tensors: Any = tensors) -> Any:
            name = place.name(client_models["identity"])
            asked = [at.async_infer(name, client.inputs(tensors), headers=place.headers) for _ in range(8)]
            return [client.answer(one.get_result()) for one in asked]

        answers.append(await client.use(place, work, concurrency=4))
    assert answers[0] == answers[1]


async def test_grpc_async_infer(places: tuple[Place, Place], client_models: dict[str, LoadedModel]) -> None:
    client, answers = CLIENTS["grpc"], []
    for place in places:
        tensors = {"INPUT0": ("FP32", np.full((2, 256), 5, dtype=np.float32))}

        def work(at: Any, place: Place = place, tensors: Any = tensors) -> Any:
            told: queue.Queue[tuple[Any, Any]] = queue.Queue()
            for _ in range(8):
                at.async_infer(
                    place.name(client_models["identity"]),
                    client.inputs(tensors),
                    callback=lambda result, error: told.put((result, error)),
                    headers=place.headers,
                )
            return [_answer(client, told) for _ in range(8)]

        answers.append(await client.use(place, work))
    assert answers[0] == answers[1]


def _answer(client: Client, told: queue.Queue[tuple[Any, Any]]) -> Any:
    result, error = told.get(timeout=20)
    assert error is None
    return client.answer(result)


TEXT = "some words that are streamed"


def _text(client: Client) -> list[Any]:
    return client.inputs({"TEXT": ("BYTES", np.array([TEXT.encode()], dtype=object))})


async def test_grpc_streams(places: tuple[Place, Place], client_models: dict[str, LoadedModel]) -> None:
    client, answers = CLIENTS["grpc"], []
    for place in places:

        def work(at: Any, place: Place = place) -> Any:
            told: queue.Queue[tuple[Any, Any]] = queue.Queue()
            at.start_stream(lambda result, error: told.put((result, error)), headers=place.headers)
            at.async_stream_infer(
                place.name(client_models["stream"]),
                _text(client),
                request_id="r",
                enable_empty_final_response=True,
            )
            # The last one is empty and says that it is.
            found = [_answer(client, told) for _ in range(len(TEXT.split()) + 1)]
            at.stop_stream()
            return found

        answers.append(await client.use(place, work))
    assert answers[0] == answers[1]


async def test_grpc_aio_streams(
    gateway: Scene,
    places: tuple[Place, Place],
    client_models: dict[str, LoadedModel],
    eventually: Eventually,
) -> None:
    client, answers = CLIENTS["grpc.aio"], []
    before = len(gateway.calls)
    for place in places:

        async def asked(place: Place = place) -> AsyncIterator[dict[str, Any]]:
            name = place.name(client_models["stream"])
            yield {"model_name": name, "inputs": _text(client)}

        async def work(at: Any, place: Place = place, asked: Any = asked) -> list[Any]:
            found = []
            async for result, error in at.stream_infer(asked(), headers=place.headers):
                assert error is None
                found.append(client.answer(result))
            return found

        answers.append(await client.use(place, work))
    assert answers[0] == answers[1]
    assert len(answers[0]) == len(TEXT.split())
    await eventually(lambda: len(gateway.calls) > before, 10)


async def test_a_kept_http_client_calls_many_times(
    gateway: Scene,
    places: tuple[Place, Place],
    client_models: dict[str, LoadedModel],
    eventually: Eventually,
) -> None:
    visitor, client = gateway.visitor(), CLIENTS["http.aio"]
    here = replace(places[0], headers=dict(visitor.key.header))
    inputs = client.inputs({"X": ("FP32", np.ones((2, 4), dtype=np.float32))})

    async def work(at: Any) -> None:
        for _ in range(25):
            await at.infer(here.name(client_models["rows"]), inputs, headers=here.headers)

    await client.use(here, work)
    await eventually(lambda: visitor.units == 25, 10)
