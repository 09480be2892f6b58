"""Metered answers that end early, by whoever's doing: what was handed over is charged, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from licet_gateway.dataplane import entries
from licet_gateway.dataplane.counting import COUNTED_MAX
from licet_gateway.dataplane.entries import ProgressEntry
from licet_gateway.dataplane.grpc_call import UnaryCall
from licet_gateway.dataplane.h2 import blocks
from licet_gateway.dataplane.h2 import wire as frames
from licet_gateway.dataplane.h2.messages import frame
from licet_gateway.dataplane.tally import Tally
from licet_gateway.dataplane.triton_call import INFER, STREAM_INFER
from licet_gateway.dataplane.versions import VersionState
from licet_gateway.domain import Measure, Outcome, TokenCaps
from licet_gateway.testing.calls import Call, Way, grpc_message, http_body
from licet_gateway.testing.frames import GREETING
from licet_gateway.testing.inner import PATH, SLUG, Inner, inner
from licet_gateway.testing.loaded import LoadedModel, loaded
from licet_gateway.testing.scene import Scene
from licet_gateway.testing.wire import request, wire
from licet_kit.testing.plugin import Eventually
from licet_schemas.licet.usage.v1.usage_pb2 import OUTCOME_ABORTED, OUTCOME_CLIENT_GONE
from tritonclient.grpc import service_pb2 as kserve
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

pytestmark = pytest.mark.asyncio(loop_scope="module")

NewScene = Callable[..., AbstractAsyncContextManager[Scene]]
LIMITS = {"max_input_tokens": 64, "max_output_tokens": 40}
# The counted model's responses give 1, 2, 1, 2, … tokens.
AFTER_FIVE = 7


@pytest.fixture(scope="module")
def counted(servers: dict[str, Any]) -> Iterator[dict[str, LoadedModel]]:
    """The models that count, by the tokens that they write."""
    place = {"triton": servers["triton"]["http"], "repository": Path(servers["triton"]["repository"])}
    with ExitStack() as stack:
        yield {
            kind: replace(stack.enter_context(loaded(kind, **place)), rule="output_tokens", limits=LIMITS)
            for kind in ("counted", "counted-stream")
        }


def a_call(way: Way, *, waits_after: int | None = 5) -> Call:
    return Call(
        number=1,
        way=way,
        rows=1,
        text="two words",
        tokens=30,
        sleep_ms=0,
        fails=False,
        leaves_after=waits_after,
    )


def told(scene: Scene) -> int:
    """The highest units that a running call has in the log."""
    found = [0]
    for path in scene.gateway.log_dir.glob("*/*.log"):
        data, at = path.read_bytes(), 0
        while (batch := entries.next_batch(data, at)) is not None:
            body, at = batch
            found += [e.units for e in entries.read_entries(body) if isinstance(e, ProgressEntry)]
    return max(found)


async def begin(scene: Scene, way: Way, stack: AsyncExitStack) -> None:
    """A stream of which five responses are taken, and which then waits."""
    call, model = a_call(way), scene.models["counted-stream"]
    if way is Way.GRPC_STREAM:
        channel = await stack.enter_async_context(
            grpc.aio.insecure_channel(f"127.0.0.1:{scene.gateway.grpc_port}")
        )
        key = tuple((name.lower(), value) for name, value in scene.key.header.items())
        message = grpc_message(call, model.public_name)
        running = GRPCInferenceServiceStub(channel).ModelStreamInfer(iter([message]), metadata=key)
        for _ in range(5):
            await running.read()
        stack.callback(running.cancel)
        return
    connection = await stack.enter_async_context(wire(scene.gateway.port))
    body = http_body(call)
    path = f"/v2/models/{model.public_name}/generate_stream"
    await connection.send(request("POST", path, body.data, body.headers | scene.key.header))
    await connection.receive_head()
    data = b""
    while data.count(b"\n\n") < 5:
        data += await connection.receive_chunk()


@pytest.mark.parametrize("way", [Way.GENERATE_STREAM, Way.GRPC_STREAM])
async def test_a_killed_workers_stream_is_charged_by_its_last_step(
    new_scene: NewScene, counted: dict[str, LoadedModel], eventually: Eventually, way: Way
) -> None:
    async with new_scene(own_models=counted) as scene, AsyncExitStack() as stack:
        await begin(scene, way, stack)
        await eventually(lambda: told(scene) == AFTER_FIVE, 10, what="the last step in the log")
        (worker,) = scene.gateway.workers()
        os.kill(worker, signal.SIGKILL)
        (record,) = await eventually(lambda: scene.calls, 20)
        assert (record.outcome, record.units) == (OUTCOME_ABORTED, AFTER_FIVE)


async def test_a_stream_is_charged_where_its_clients_own_time_is_up(
    new_scene: NewScene, counted: dict[str, LoadedModel], eventually: Eventually
) -> None:
    """Free of charge, everybody would set a deadline behind the last token."""
    message = grpc_message(a_call(Way.GRPC_STREAM), counted["counted-stream"].public_name)
    async with new_scene(own_models=counted) as scene:
        key = [(name.lower().encode(), value.encode()) for name, value in scene.key.header.items()]
        head = blocks.request_head(b"gateway", STREAM_INFER, ((b"grpc-timeout", b"2S"), *key))
        async with wire(scene.gateway.grpc_port) as connection:
            await connection.send(
                GREETING
                + frames.frame(frames.HEADERS, frames.END_HEADERS, 1, head)
                + frames.frame(frames.DATA, frames.END_STREAM, 1, frame(message.SerializeToString()))
            )
            # It never resets the stream itself, as libraries do.
            (record,) = await eventually(lambda: scene.calls, 20)
        assert (record.outcome, record.units) == (OUTCOME_CLIENT_GONE, AFTER_FIVE)


async def test_an_answer_behind_its_clients_deadline_is_not_handed_over(
    new_scene: NewScene, counted: dict[str, LoadedModel], eventually: Eventually
) -> None:
    """The client has given up, and does not read it."""
    call = replace(a_call(Way.GRPC, waits_after=None), sleep_ms=60)
    message = frame(grpc_message(call, counted["counted"].public_name).SerializeToString())
    async with new_scene(own_models=counted) as scene:
        key = [(name.lower().encode(), value.encode()) for name, value in scene.key.header.items()]
        async with wire(scene.gateway.grpc_port) as connection:
            await connection.send(GREETING)
            for number in range(8):
                # The first one has the time to get a lease.
                timeout = (b"grpc-timeout", b"50m" if number else b"9S")
                head = blocks.request_head(b"gateway", INFER, (timeout, *key))
                await connection.send(
                    frames.frame(frames.HEADERS, frames.END_HEADERS, 2 * number + 1, head)
                    + frames.frame(frames.DATA, frames.END_STREAM, 2 * number + 1, message)
                )
                await eventually(lambda wanted=number + 1: len(scene.calls) == wanted, 20)
        assert [record.units for record in scene.calls] == [30, *[0] * 7]


async def test_who_asks_for_less_than_the_count_is_refused(
    new_scene: NewScene, counted: dict[str, LoadedModel], eventually: Eventually
) -> None:
    async with new_scene(own_models=counted) as scene:
        key = tuple((name.lower(), value) for name, value in scene.key.header.items())
        async with grpc.aio.insecure_channel(f"127.0.0.1:{scene.gateway.grpc_port}") as channel:
            stub = GRPCInferenceServiceStub(channel)
            for way in (Way.GRPC, Way.GRPC_STREAM):
                call = a_call(way, waits_after=None)
                message = grpc_message(call, counted[call.kind].public_name)
                message.outputs.add(name="text_output")
                with pytest.raises(grpc.aio.AioRpcError, match="output_tokens") as refused:
                    await _first(stub, way, message, key)
                assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
                # As a class of it, the count would be a text.
                message.outputs.add(name="output_tokens").parameters["classification"].int64_param = 1
                with pytest.raises(grpc.aio.AioRpcError, match="what it costs"):
                    await _first(stub, way, message, key)
        await eventually(lambda: len(scene.calls) == 2, 10)
        assert scene.units == 0


async def _first(
    stub: GRPCInferenceServiceStub, way: Way, message: kserve.ModelInferRequest, key: Any
) -> None:
    if way is Way.GRPC:
        await stub.ModelInfer(message, metadata=key)
        return
    async for _ in stub.ModelStreamInfer(iter([message]), metadata=key):
        raise AssertionError("something was handed over")


@pytest.mark.parametrize("decoy", [b"\x1d\x01\0\0\0", b"\x9a\x80\x80\x80\x10\x01\x01"])
async def test_rows_are_those_that_triton_reads(
    new_scene: NewScene, models: dict[str, LoadedModel], eventually: Eventually, decoy: bytes
) -> None:
    """Bytes in which one reader could see another shape than Triton does."""
    shape = b"\x1a\x02\x64\x04"
    fields = b"\x0a\x01X\x12\x04FP32" + decoy + shape
    name = models["rows"].public_name.encode()
    message = b"\x0a%c%s\x2a%c%s" % (len(name), name, len(fields), fields)
    message += b"\x3a" + b"\xc0\x0c" + bytes(1600)
    async with new_scene(own_models={"rows": models["rows"]}) as scene:
        key = tuple((name.lower(), value) for name, value in scene.key.header.items())
        async with grpc.aio.insecure_channel(f"127.0.0.1:{scene.gateway.grpc_port}") as channel:
            infer = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                request_serializer=bytes,
                response_deserializer=bytes,
            )
            try:
                answer = kserve.ModelInferResponse.FromString(await infer(message, metadata=key))
            except grpc.aio.AioRpcError:
                answer = None
        rows = 0 if answer is None else struct.unpack("<q", answer.raw_output_contents[0])[0]
        if answer is not None:
            await eventually(lambda: scene.calls, 10)
        assert scene.units == rows


# --- a scripted server


def answer_of(outputs: list[dict[str, Any]], tail: bytes = b"") -> bytes:
    head = json.dumps({"outputs": outputs}).encode()
    return b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n%s" % (
        len(head),
        len(head) + len(tail),
        head + tail,
    )


COUNT = {"name": "output_tokens", "datatype": "INT32", "shape": [1], "data": [500]}


async def ask(inside: Inner) -> int:
    async with wire(inside.port) as connection:
        await connection.send(request("POST", PATH, b"{}", inside.key.header))
        return (await connection.receive()).status


async def test_an_answer_that_is_too_long_to_be_counted_is_not_passed_on_in_part(
    tmp_path: Path, eventually: Eventually
) -> None:
    big = {"name": "e", "datatype": "UINT8", "parameters": {"binary_data_size": COUNTED_MAX}}
    async with inner(tmp_path, rule="output_tokens") as inside:
        inside.upstream.script = answer_of([COUNT, big], bytes(COUNTED_MAX))
        assert await ask(inside) == 502
        (finished,) = await eventually(inside.records, 5)
        assert (finished.record.outcome, finished.record.units) == (Outcome.UPSTREAM_ERROR, 0)


async def test_the_caps_of_the_version_that_answers_are_held(tmp_path: Path, eventually: Eventually) -> None:
    async with inner(tmp_path, rule="output_tokens") as inside:
        (pool,) = inside.plane.replicas.pools
        # Became ready last, and the lease is not for it.
        newer = VersionState(SLUG, "0x" + "66" * 32, pool.url, True, "output_tokens", 2, caps=TokenCaps(5, 5))
        inside.plane.versions.apply(newer)
        inside.upstream.script = answer_of([COUNT])
        assert await ask(inside) == 200
        (finished,) = await eventually(inside.records, 5)
        assert (finished.record.outcome, finished.record.units) == (Outcome.OK, 500)


class _Handed:
    """A handover of which ten bytes have left, as many as were sent."""

    total = 10

    def handed(self) -> int:
        return 10


async def test_a_part_of_a_message_is_a_part_of_the_whole_one() -> None:
    call = UnaryCall.__new__(UnaryCall)
    call._begun, call._ended = True, False
    call._prefix = frame(bytes(9_995))[:5]
    call.handover = _Handed()  # type: ignore[assignment]  # all that is asked of it
    call._tally = Tally(Measure.ROWS, 5000)
    assert call._charge() == (Outcome.CLIENT_GONE, 5)
