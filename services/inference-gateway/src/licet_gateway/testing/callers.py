"""Makes generated calls through a gateway, several at a time, over connections that are kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2 as kserve
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from licet_gateway.testing.calls import Call, Way, grpc_message, http_body
from licet_gateway.testing.scene import Scene
from licet_gateway.testing.wire import Wire, request, wire

CALL_TIMEOUT_S = 60.0
# Half of what the model sleeps over a call that is left before its answer.
IMPATIENT_S = 0.05
_OPERATIONS = {Way.GENERATE: "generate", Way.GENERATE_STREAM: "generate_stream"}


async def make(scene: Scene, calls: Iterable[Call], *, at_once: int) -> None:
    """Makes all calls, and writes into each what its client saw."""
    waiting = iter(calls)
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(_caller(scene, waiting))


async def _caller(scene: Scene, waiting: Iterable[Call]) -> None:
    async with _Connections(scene) as connections:
        for call in waiting:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                begun = time.monotonic_ns()
                await (connections.by_grpc(call) if call.way.over_grpc else connections.by_http(call))
                call.took_ns = time.monotonic_ns() - begun


class _Connections:
    """One caller's connections; an HTTP call that is left takes its connection with it."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._kept: tuple[AsyncExitStack, Wire] | None = None
        self._channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{scene.gateway.grpc_port}", options=(("grpc.use_local_subchannel_pool", 1),)
        )
        self._stub = GRPCInferenceServiceStub(self._channel)
        self._key = tuple((name.lower(), value) for name, value in scene.key.header.items())

    async def __aenter__(self) -> _Connections:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._drop()
        await self._channel.close(None)

    async def _wire(self) -> Wire:
        if self._kept is None:
            stack = AsyncExitStack()
            self._kept = stack, await stack.enter_async_context(wire(self._scene.gateway.port))
        return self._kept[1]

    async def _drop(self) -> None:
        if self._kept is not None:
            (stack, _), self._kept = self._kept, None
            await stack.aclose()

    async def by_http(self, call: Call) -> None:
        body = http_body(call)
        call.sent = body.data
        name = self._scene.models[call.kind].public_name
        path = f"/v2/models/{name}/{_OPERATIONS.get(call.way, 'infer')}"
        connection = await self._wire()
        await connection.send(request("POST", path, body.data, body.headers | self._scene.key.header))
        if call.leaves_after == 0:
            await self._drop()
            return
        if call.leaves_after:
            _, headers = await connection.receive_head()
            await _events(connection, call.leaves_after)
            await self._drop()
        else:
            response = await connection.receive()
            headers = dict(response.headers)
            call.answered = response.status == 200 and not call.fails
            assert call.answered or call.fails, (response.status, response.body, call)
        call.request_id = headers["x-licet-request-id"]

    async def by_grpc(self, call: Call) -> None:
        message = grpc_message(call, self._scene.models[call.kind].public_name)
        call.sent = message.SerializeToString()
        if call.way is Way.GRPC:
            await self._unary(call, message)
        else:
            await self._streamed(call, message)

    async def _unary(self, call: Call, message: kserve.ModelInferRequest) -> None:
        patience_s = IMPATIENT_S if call.leaves_after == 0 else None
        running = self._stub.ModelInfer(message, metadata=self._key, timeout=patience_s)
        try:
            await running
            call.answered, call.leaves_after = True, None
        except grpc.aio.AioRpcError as error:
            if patience_s is not None and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return
            if not call.fails:
                raise
        told: Any = await (running.initial_metadata() if call.answered else running.trailing_metadata())
        call.request_id = str(dict(told)["x-licet-request-id"])

    async def _streamed(self, call: Call, message: kserve.ModelInferRequest) -> None:
        running = self._stub.ModelStreamInfer(iter([message]), metadata=self._key)
        head: Any = await running.initial_metadata()
        call.request_id = str(dict(head)["x-licet-request-id"])
        failed, taken = False, 0
        async for response in running:
            failed, taken = bool(response.error_message), taken + 1
            if taken == call.leaves_after:
                running.cancel()
                return
        assert failed == call.fails, call
        call.answered = not failed


async def _events(connection: Wire, wanted: int) -> None:
    """Reads so many server-sent events."""
    data = b""
    while data.count(b"\n\n") < wanted:
        piece = await connection.receive_chunk()
        assert piece, data
        data += piece
