"""Both ports behind TLS: unchanged clients, and nobody is charged for more than they could decrypt."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
import pytest_asyncio
import tritonclient.grpc.aio as triton_grpc
import tritonclient.http as triton_http
import uvloop
from licet_gateway.dataplane.clock import now_ns
from licet_gateway.dataplane.tls import HANDSHAKE_TIMEOUT_NS
from licet_gateway.domain import CallRecord, Outcome
from licet_gateway.shipping.reader import Finished
from licet_gateway.testing import bodies
from licet_gateway.testing.certificates import CertificateFiles, write_certificate
from licet_gateway.testing.inner import PATH, Inner, inner
from licet_gateway.testing.loaded import LoadedModel, loaded
from licet_gateway.testing.scene import Scene, scene
from licet_gateway.testing.wire import request
from licet_gateway.tls import HTTP, server_context
from licet_kit.testing.plugin import Eventually
from licet_kit.testing.waiting import eventually as wait_until
from licet_schemas.licet.usage.v1.usage_pb2 import OUTCOME_OK

NewScene = Callable[..., AbstractAsyncContextManager[Scene]]
Ending = Callable[[socket.socket], None]

# More than these sockets take for a client that does not read, less than what makes the gateway stop reading Triton.
SIZE = 200_000
ROWS = 1000
WAIT_S = 8


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def talker(servers: dict[str, Any]) -> Iterator[LoadedModel]:
    repository = Path(servers["triton"]["repository"])
    with loaded("talker", triton=servers["triton"]["http"], repository=repository) as model:
        yield model


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def encrypted(
    servers: dict[str, Any],
    models: dict[str, LoadedModel],
    talker: LoadedModel,
    files: CertificateFiles,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("encrypted")
    more: dict[str, Any] = dict(files.environment)
    async with scene(servers, {**models, "talker": talker}, folder, **more) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def visit(encrypted: Scene) -> Scene:
    return encrypted.visitor()


async def over_https(scene: Scene, files: CertificateFiles, kind: str, body: bodies.Body) -> httpx2.Response:
    async with httpx2.AsyncClient(verify=files.client(), timeout=WAIT_S) as client:
        return await client.post(
            f"https://127.0.0.1:{scene.gateway.port}/v2/models/{scene.models[kind].public_name}/infer",
            content=body.data,
            headers=body.headers | scene.key.header,
        )


@pytest.mark.asyncio(loop_scope="module")
async def test_httpx_reaches_a_model_over_tls(
    visit: Scene, files: CertificateFiles, eventually: Eventually
) -> None:
    answer = await over_https(visit, files, "rows", bodies.rows(7))
    assert (answer.status_code, answer.headers["x-licet-units"]) == (200, "7")
    [record] = await eventually(lambda: visit.calls, WAIT_S)
    assert (record.units, record.outcome) == (7, OUTCOME_OK)


@pytest.mark.asyncio(loop_scope="module")
async def test_tritons_http_client_gets_a_megabyte_back_over_tls(
    visit: Scene, files: CertificateFiles, eventually: Eventually
) -> None:
    values = np.arange(1024 * 256, dtype=np.float32).reshape(1024, 256)

    def infer() -> Any:
        client = triton_http.InferenceServerClient(
            f"127.0.0.1:{visit.gateway.port}", ssl=True, ssl_context_factory=files.client
        )
        with contextlib.closing(client):
            tensor = triton_http.InferInput("INPUT0", list(values.shape), "FP32")
            tensor.set_data_from_numpy(values)
            name = visit.models["identity"].public_name
            return client.infer(name, [tensor], headers=visit.key.header).as_numpy("OUTPUT0")

    assert np.array_equal(await asyncio.to_thread(infer), values)
    [record] = await eventually(lambda: visit.calls, WAIT_S)
    assert (record.units, record.outcome) == (1, OUTCOME_OK)


@pytest.mark.asyncio(loop_scope="module")
async def test_tritons_grpc_client_reaches_a_model_over_tls(
    visit: Scene, files: CertificateFiles, eventually: Eventually
) -> None:
    values = np.ones((3, 4), dtype=np.float32)
    async with triton_grpc.InferenceServerClient(
        f"127.0.0.1:{visit.gateway.grpc_port}", ssl=True, root_certificates=str(files.certificate)
    ) as client:
        tensor = triton_grpc.InferInput("X", list(values.shape), "FP32")
        tensor.set_data_from_numpy(values)
        key = {"authorization": visit.key.header["Authorization"]}
        answer = await client.infer(visit.models["rows"].public_name, [tensor], headers=key)
        assert answer.as_numpy("ROWS")[0] == 3
    [record] = await eventually(lambda: visit.calls, WAIT_S)
    assert (record.units, record.outcome) == (3, OUTCOME_OK)


@pytest.mark.asyncio(loop_scope="module")
async def test_openais_client_streams_over_tls(
    visit: Scene, files: CertificateFiles, eventually: Eventually
) -> None:
    key = visit.key.header["Authorization"].removeprefix("Bearer ")
    base = f"https://127.0.0.1:{visit.gateway.port}/v1"
    async with (
        openai.DefaultAsyncHttpxClient(verify=files.client()) as http,
        openai.AsyncOpenAI(base_url=base, api_key=key, max_retries=0, http_client=http) as client,
    ):
        stream = await client.completions.create(
            model=visit.models["talker"].slug, prompt="x y z", stream=True
        )
        assert "".join([chunk.choices[0].text async for chunk in stream]) == "x y z"
    [record] = await eventually(lambda: visit.calls, WAIT_S)
    assert (record.units, record.outcome) == (3, OUTCOME_OK)


@pytest.mark.asyncio(loop_scope="module")
async def test_grpc_over_tls_wants_http2_agreed_on(visit: Scene, files: CertificateFiles) -> None:
    async def first_bytes(context: ssl.SSLContext) -> tuple[str | None, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", visit.gateway.grpc_port, ssl=context)
        agreed = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        async with asyncio.timeout(WAIT_S):
            found = await reader.read(9)
        writer.transport.abort()
        return agreed, found

    assert await first_bytes(files.client()) == (None, b"")
    agreed, settings = await first_bytes(files.client("h2"))
    assert agreed == "h2"
    assert settings[3:4] == b"\x04"


@pytest.mark.asyncio(loop_scope="module")
async def test_plaintext_to_a_tls_port_is_closed_and_costs_nothing(visit: Scene) -> None:
    body = bodies.rows(1)
    path = f"/v2/models/{visit.models['rows'].public_name}/infer"
    for port in (visit.gateway.port, visit.gateway.grpc_port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("POST", path, body.data, body.headers | visit.key.header))
        async with asyncio.timeout(WAIT_S):
            # An alert at most.
            with contextlib.suppress(ConnectionError):
                assert b"HTTP" not in await reader.read()
        writer.transport.abort()
    assert visit.calls == []


@pytest.mark.asyncio(loop_scope="module")
async def test_a_gateway_leaves_without_a_failed_call_over_tls(
    new_scene: NewScene, files: CertificateFiles, eventually: Eventually
) -> None:
    async with new_scene(**files.environment) as scene:
        calling = asyncio.create_task(over_https(scene, files, "gated", bodies.gate(71)))
        await eventually(lambda: scene.models["gated"].reached(71), WAIT_S)
        stopping = asyncio.create_task(scene.gateway.stop())
        await eventually(lambda: _leaves(scene), WAIT_S, what="a port that is left")
        scene.models["gated"].open_gate(71)
        assert (await calling).status_code == 200
        assert await stopping == 0
        [record] = await eventually(lambda: scene.calls, WAIT_S)
        assert (record.units, record.outcome) == (1, OUTCOME_OK)


async def _leaves(scene: Scene) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", scene.gateway.port)
    except ConnectionRefusedError:
        return True
    writer.transport.abort()
    return False


# --- what is charged of an answer that is cut, on the loops that may run it


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def half_close(client: socket.socket) -> None:
    with socket.socket(fileno=os.dup(client.fileno())) as same:
        same.shutdown(socket.SHUT_WR)


def connect(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    own.settimeout(WAIT_S)
    own.connect(("127.0.0.1", port))
    return context.wrap_socket(own, server_hostname="127.0.0.1")


def ask(client: ssl.SSLSocket, made: Inner) -> bytes:
    """Calls for `ROWS` units, and reads the beginning of the answer."""
    tensor = b'{"name":"IN","datatype":"FP32","shape":[%d,1],"data":[0]}' % ROWS
    client.sendall(request("POST", PATH, b'{"inputs":[%s]}' % tensor, made.key.header))
    return client.recv(1024)


def rest(client: ssl.SSLSocket) -> bytes:
    """All that can still be decrypted."""
    found = b""
    with contextlib.suppress(OSError):
        while data := client.recv(65536):
            found += data
    return found


def swept(made: Inner) -> list[Finished]:
    made.plane.sweep()
    return made.records()


async def cut_answer(folder: Path, files: CertificateFiles, ending: Ending) -> tuple[CallRecord, int]:
    """The record of an answer that its client leaves in the middle, and how much of the body it could read."""
    context = server_context(files.certificate, files.key, HTTP)
    async with inner(folder, rule="rows:IN", tls=context) as made:
        made.upstream.script = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + b"R" * SIZE
        with await asyncio.to_thread(connect, made.port, files.client()) as client:
            (connection,) = await wait_until(lambda: list(made.plane.connections), WAIT_S)
            small = connection._transport.get_extra_info("socket")
            small.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
            begun = await asyncio.to_thread(ask, client, made)
            await wait_until(lambda: made.plane._unsettled, WAIT_S)
            ending(client)
            found: list[Finished] = await wait_until(partial(swept, made), WAIT_S)
            if ending is half_close:
                begun += await asyncio.to_thread(rest, client)
        return found[0].record, len(begun.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("ending", [reset, half_close])
def test_of_a_cut_answer_no_more_is_charged_than_could_be_decrypted(
    tmp_path: Path,
    files: CertificateFiles,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    ending: Ending,
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        record, taken = runner.run(cut_answer(tmp_path, files, ending))
    assert record.outcome == Outcome.CLIENT_GONE
    assert 0 < record.units < ROWS
    if ending is half_close:
        # The kernel takes parts of records; only whole ones can be read, and only they are charged.
        assert record.units == -(-ROWS * taken // SIZE)


async def test_a_client_that_does_not_shake_hands_is_let_go(tmp_path: Path, files: CertificateFiles) -> None:
    context = server_context(files.certificate, files.key, HTTP)
    async with inner(tmp_path, tls=context) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        (connection,) = await wait_until(lambda: list(made.plane.connections), WAIT_S)
        connection.sweep(now_ns() + HANDSHAKE_TIMEOUT_NS // 2)
        assert not connection._raw.is_closing()
        connection.sweep(now_ns() + HANDSHAKE_TIMEOUT_NS + 1)
        async with asyncio.timeout(WAIT_S):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        await wait_until(lambda: not made.plane.connections, WAIT_S)
        writer.transport.abort()
