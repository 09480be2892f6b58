"""KServe v2 over gRPC: Triton's own client, unchanged, through a real gateway to real Triton."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
import pytest_asyncio
from licet_gateway.testing.loaded import LoadedModel, loaded
from licet_gateway.testing.scene import Scene
from licet_kit.testing.plugin import Eventually
from licet_schemas.licet.licensing.v1 import licensing_pb2 as pb
from licet_schemas.licet.usage.v1.usage_pb2 import (
    OUTCOME_CANCELLED,
    OUTCOME_CLIENT_GONE,
    OUTCOME_OK,
    OUTCOME_UPSTREAM_ERROR,
)
from tritonclient.grpc import service_pb2 as kserve
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

pytestmark = pytest.mark.asyncio(loop_scope="module")

NewScene = Callable[..., AbstractAsyncContextManager[Scene]]
REVOKED = pb.Denial(code="license_revoked", message="revoked", remedy="renew", decision_id="decision-2")


@pytest.fixture(scope="module")
def stream(servers: dict[str, Any]) -> Iterator[LoadedModel]:
    """Streams the words of its text."""
    place = {"triton": servers["triton"]["http"], "repository": Path(servers["triton"]["repository"])}
    with loaded("stream", **place) as model:
        yield model


@pytest.fixture(scope="module")
def talker(servers: dict[str, Any]) -> Iterator[LoadedModel]:
    """Speaks as the platform's text generators do."""
    place = {"triton": servers["triton"]["http"], "repository": Path(servers["triton"]["repository"])}
    with loaded("talker", **place) as model:
        yield model


@pytest_asyncio.fixture(loop_scope="module")
async def direct(servers: dict[str, Any]) -> AsyncIterator[GRPCInferenceServiceStub]:
    """Triton without anybody between."""
    async with grpc.aio.insecure_channel(servers["triton"]["grpc"]) as channel:
        yield GRPCInferenceServiceStub(channel)


@pytest_asyncio.fixture(loop_scope="module")
async def stub(visit: Scene) -> AsyncIterator[GRPCInferenceServiceStub]:
    """The shared gateway, and Triton's own service definition."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{visit.gateway.grpc_port}") as channel:
        yield GRPCInferenceServiceStub(channel)


def key_of(scene: Scene) -> tuple[tuple[str, str], ...]:
    return tuple((name.lower(), value) for name, value in scene.key.header.items())


def identity(model: LoadedModel, values: np.ndarray[Any, Any], *, name: str = "") -> kserve.ModelInferRequest:
    """The call of the identity model with raw tensor bytes."""
    tensor = kserve.ModelInferRequest.InferInputTensor(name="INPUT0", datatype="FP32", shape=values.shape)
    return kserve.ModelInferRequest(
        model_name=name or model.public_name, inputs=[tensor], raw_input_contents=[values.tobytes()]
    )


def words(model: LoadedModel, text: str, *, name: str = "") -> kserve.ModelInferRequest:
    data = text.encode()
    tensor = kserve.ModelInferRequest.InferInputTensor(name="TEXT", datatype="BYTES", shape=[1])
    raw = len(data).to_bytes(4, "little") + data
    return kserve.ModelInferRequest(
        model_name=name or model.public_name, inputs=[tensor], raw_input_contents=[raw]
    )


def token_of(response: kserve.ModelStreamInferResponse) -> str:
    return str(response.infer_response.raw_output_contents[0][4:], "utf-8")


def trailers_of(error: grpc.aio.AioRpcError) -> dict[str, str]:
    trailers: Any = error.trailing_metadata()
    return dict(trailers)


async def read_to_the_end(call: Any) -> None:
    eof: Any = vars(grpc.aio)["EOF"]
    while await call.read() is not eof:
        pass


@pytest.mark.parametrize("rows", [1, 3, 2000])
async def test_an_answer_is_tritons_own_and_is_charged_once(
    visit: Scene,
    stub: GRPCInferenceServiceStub,
    direct: GRPCInferenceServiceStub,
    eventually: Eventually,
    rows: int,
) -> None:
    model = visit.models["identity"]
    values = np.random.default_rng(1).random((rows, 256), dtype=np.float32)
    call = stub.ModelInfer(identity(model, values), metadata=key_of(visit))
    got = await call
    expected = await direct.ModelInfer(identity(model, values, name=model.pinned))
    assert got.SerializeToString() == expected.SerializeToString()
    head = dict(await call.initial_metadata())
    records = await eventually(lambda: visit.calls, 10)
    assert [(r.request_id, r.units, r.outcome) for r in records] == [
        (head["x-licet-request-id"], 1, OUTCOME_OK)
    ]
    assert head["x-licet-units"] == "1"


async def test_rows_are_counted_from_the_shape(
    visit: Scene, stub: GRPCInferenceServiceStub, eventually: Eventually
) -> None:
    model = visit.models["rows"]
    values = np.ones((7, 4), dtype=np.float32)
    tensor = kserve.ModelInferRequest.InferInputTensor(name="X", datatype="FP32", shape=values.shape)
    request = kserve.ModelInferRequest(
        model_name=model.public_name, inputs=[tensor], raw_input_contents=[values.tobytes()]
    )
    await stub.ModelInfer(request, metadata=key_of(visit))
    assert [r.units for r in await eventually(lambda: visit.calls, 10)] == [7]


@pytest.mark.parametrize(
    ("name", "metadata", "status", "code"),
    [
        ("", (), grpc.StatusCode.UNAUTHENTICATED, "credential_missing"),
        ("", (("authorization", "Bearer nonsense"),), grpc.StatusCode.UNAUTHENTICATED, "credential_invalid"),
        ("no.such-model", None, grpc.StatusCode.PERMISSION_DENIED, "license_missing"),
        ("no name at all", None, grpc.StatusCode.NOT_FOUND, "model_unknown"),
    ],
)
async def test_a_refusal_has_its_status_and_code(
    visit: Scene,
    stub: GRPCInferenceServiceStub,
    name: str,
    metadata: tuple[tuple[str, str], ...] | None,
    status: grpc.StatusCode,
    code: str,
) -> None:
    request = identity(visit.models["identity"], np.zeros((1, 256), dtype=np.float32), name=name)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ModelInfer(request, metadata=key_of(visit) if metadata is None else metadata)
    assert refused.value.code() is status
    trailers = trailers_of(refused.value)
    assert trailers["x-licet-code"] == code
    assert trailers["x-licet-remedy"]


async def test_what_triton_refuses_is_told_in_its_words_and_costs_nothing(
    visit: Scene, stub: GRPCInferenceServiceStub, direct: GRPCInferenceServiceStub, eventually: Eventually
) -> None:
    model = visit.models["identity"]
    wrong = np.zeros((1, 3), dtype=np.float32)
    with pytest.raises(grpc.aio.AioRpcError) as got:
        await stub.ModelInfer(identity(model, wrong), metadata=key_of(visit))
    with pytest.raises(grpc.aio.AioRpcError) as expected:
        await direct.ModelInfer(identity(model, wrong, name=model.pinned))
    assert got.value.code() is expected.value.code()
    assert got.value.details() == str(expected.value.details()).strip()
    [record] = await eventually(lambda: visit.calls, 10)
    assert (record.units, record.outcome) == (0, OUTCOME_UPSTREAM_ERROR)


async def test_a_version_of_the_callers_choice_is_not_forwarded(
    visit: Scene, stub: GRPCInferenceServiceStub
) -> None:
    model = visit.models["identity"]
    request = identity(model, np.zeros((1, 256), dtype=np.float32))
    request.model_version = "7"
    answer = await stub.ModelInfer(request, metadata=key_of(visit))
    assert answer.model_version == "1"


async def test_health_and_metadata_need_no_credential(
    visit: Scene, stub: GRPCInferenceServiceStub, direct: GRPCInferenceServiceStub
) -> None:
    model = visit.models["rows"]
    assert (await stub.ServerLive(kserve.ServerLiveRequest())).live
    assert (await stub.ServerReady(kserve.ServerReadyRequest())).ready
    assert (await stub.ModelReady(kserve.ModelReadyRequest(name=model.public_name))).ready
    assert not (await stub.ModelReady(kserve.ModelReadyRequest(name="no.such"))).ready
    for _ in range(2):
        got = await stub.ModelMetadata(kserve.ModelMetadataRequest(name=model.public_name))
        expected = await direct.ModelMetadata(kserve.ModelMetadataRequest(name=model.pinned))
        expected.name = model.public_name
        assert got == expected


@pytest.mark.parametrize("method", ["RepositoryIndex", "RepositoryModelUnload", "SystemSharedMemoryStatus"])
async def test_what_is_not_on_the_list_never_reaches_triton(
    visit: Scene, stub: GRPCInferenceServiceStub, method: str
) -> None:
    request = {
        "RepositoryIndex": kserve.RepositoryIndexRequest(),
        "RepositoryModelUnload": kserve.RepositoryModelUnloadRequest(model_name=visit.models["rows"].pinned),
        "SystemSharedMemoryStatus": kserve.SystemSharedMemoryStatusRequest(),
    }[method]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(stub, method)(request, metadata=key_of(visit))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_messages_of_a_stream_are_calls_of_their_own(
    new_scene: NewScene, stream: LoadedModel, direct: GRPCInferenceServiceStub, eventually: Eventually
) -> None:
    texts = ["one", "several words in a row", "more"]
    async with new_scene(own_models={"stream": stream}) as scene, channel_of(scene) as stub:
        call = stub.ModelStreamInfer(iter([words(stream, t) for t in texts]), metadata=key_of(scene))
        got = [response async for response in call]
        plain = direct.ModelStreamInfer(iter([words(stream, t, name=stream.pinned) for t in texts]))
        # Triton works on them all at once; here they come in the order of the messages.
        assert sorted(r.SerializeToString() for r in got) == sorted(
            [r.SerializeToString() async for r in plain]
        )
        assert [token_of(r) for r in got] == " ".join(texts).split(" ")
        await eventually(lambda: len(scene.calls) == 3, 10)
        assert {(r.units, r.outcome) for r in scene.calls} == {(1, OUTCOME_OK)}
        trailers = dict(await call.trailing_metadata())
        assert sorted(trailers["x-licet-request-id"].split(",")) == sorted(r.request_id for r in scene.calls)


async def test_a_stream_whose_model_has_nothing_to_say_ends(
    new_scene: NewScene, talker: LoadedModel, eventually: Eventually
) -> None:
    text = b"\x01\x00\x00\x00a"
    inputs = [
        kserve.ModelInferRequest.InferInputTensor(name="text_input", datatype="BYTES", shape=[1]),
        kserve.ModelInferRequest.InferInputTensor(name="max_tokens", datatype="INT32", shape=[1]),
    ]
    request = kserve.ModelInferRequest(
        model_name=talker.public_name, inputs=inputs, raw_input_contents=[text, bytes(4)]
    )
    async with new_scene(own_models={"talker": talker}) as scene, channel_of(scene) as stub:
        call = stub.ModelStreamInfer(iter([request]), metadata=key_of(scene), timeout=10)
        assert [response async for response in call] == []
        assert await call.code() is grpc.StatusCode.OK
        [record] = await eventually(lambda: scene.calls, 10)
        assert (record.units, record.outcome) == (0, OUTCOME_OK)


async def test_an_error_in_a_stream_costs_nothing_and_the_next_message_is_served(
    new_scene: NewScene, stream: LoadedModel, eventually: Eventually
) -> None:
    async with new_scene(own_models={"stream": stream}) as scene, channel_of(scene) as stub:
        requests = [words(stream, "some words and fail"), words(stream, "fine")]
        got = [r async for r in stub.ModelStreamInfer(iter(requests), metadata=key_of(scene))]
        assert [bool(r.error_message) for r in got] == [False, False, False, True, False]
        await eventually(lambda: len(scene.calls) == 2, 10)
        assert [(r.units, r.outcome) for r in scene.calls] == [(0, OUTCOME_UPSTREAM_ERROR), (1, OUTCOME_OK)]


async def test_a_cancelled_stream_reaches_triton_and_costs_what_was_handed_over(
    new_scene: NewScene, stream: LoadedModel, eventually: Eventually
) -> None:
    async with new_scene(own_models={"stream": stream}) as scene, channel_of(scene) as stub:
        call = stub.ModelStreamInfer(iter([words(stream, "a gate-9 b")]), metadata=key_of(scene))
        assert b"a" in (await call.read()).SerializeToString()
        call.cancel()
        await eventually((stream.folder / "1" / "cancelled-gate-9").exists, 10)
        [record] = await eventually(lambda: scene.calls, 10)
        assert (record.units, record.outcome) == (1, OUTCOME_CLIENT_GONE)


async def test_a_stream_whose_right_falls_ends_with_the_reason(
    new_scene: NewScene, stream: LoadedModel, eventually: Eventually
) -> None:
    async with new_scene(own_models={"stream": stream}) as scene, channel_of(scene) as stub:
        call = stub.ModelStreamInfer(iter([words(stream, "a gate-8 b c")]), metadata=key_of(scene))
        await call.read()
        right = scene.rights["stream"]
        right.denial, right.generation = REVOKED, 2
        await scene.announce.revocation(right.grant_id, 2)
        await eventually(lambda: _revoked(scene), 10)
        (stream.folder / "1" / "gate-8").touch()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await read_to_the_end(call)
        assert ended.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert trailers_of(ended.value)["x-licet-code"] == "license_revoked"
        [record] = await eventually(lambda: scene.calls, 10)
        assert (record.units, record.outcome) == (1, OUTCOME_CANCELLED)


async def _revoked(scene: Scene) -> bool:
    return 'licet_gateway_leases_revoked_total{worker="0"} 1.0' in await scene.gateway.metrics()


async def test_one_clients_reset_disturbs_no_other(
    visit: Scene, stub: GRPCInferenceServiceStub, eventually: Eventually
) -> None:
    """Both are on one connection of the gateway to Triton."""
    model = visit.models["identity"]
    values = np.zeros((1, 256), dtype=np.float32)
    for _ in range(20):
        doomed = stub.ModelInfer(identity(model, values), metadata=key_of(visit))
        others = [stub.ModelInfer(identity(model, values), metadata=key_of(visit)) for _ in range(4)]
        doomed.cancel()
        assert all(answer.raw_output_contents for answer in await asyncio.gather(*others))
    await eventually(lambda: sum(r.units for r in visit.calls if r.outcome == OUTCOME_OK) >= 80, 10)


async def test_a_deadline_of_the_client_ends_the_call(
    visit: Scene, stub: GRPCInferenceServiceStub, eventually: Eventually
) -> None:
    model = visit.models["gated"]
    tensor = kserve.ModelInferRequest.InferInputTensor(name="GATE", datatype="INT32", shape=[1])
    request = kserve.ModelInferRequest(
        model_name=model.public_name, inputs=[tensor], raw_input_contents=[(77).to_bytes(4, "little")]
    )
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await stub.ModelInfer(request, metadata=key_of(visit), timeout=1.0)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    model.open_gate(77)
    [record] = await eventually(lambda: visit.calls, 10)
    assert record.units == 0


def channel_of(scene: Scene) -> AbstractAsyncContextManager[GRPCInferenceServiceStub]:
    return _Channel(scene.gateway.grpc_port)


class _Channel(AbstractAsyncContextManager[GRPCInferenceServiceStub]):
    def __init__(self, port: int) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")

    async def __aenter__(self) -> GRPCInferenceServiceStub:
        return GRPCInferenceServiceStub(self._channel)

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close(None)
