"""What Triton gets, seen by a tap between it and the gateway."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from licet_gateway.testing import bodies
from licet_gateway.testing.scene import Scene
from licet_gateway.testing.wire import request, wire

NewScene = Callable[..., AbstractAsyncContextManager[Scene]]
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass
class Tap:
    """Bytes that went to Triton."""

    port: int = 0
    heard: bytearray = field(default_factory=bytearray)

    def take(self) -> bytes:
        data = bytes(self.heard)
        self.heard.clear()
        return data


@asynccontextmanager
async def tapped(port: int) -> AsyncIterator[Tap]:
    tap = Tap()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, heard: bool) -> None:
        while data := await source.read(65536):
            if heard:
                tap.heard += data
            sink.write(data)
        sink.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(OSError):
            await asyncio.gather(pump(reader, up_writer, heard=True), pump(up_reader, writer, heard=False))

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    tap.port = server.sockets[0].getsockname()[1]
    try:
        yield tap
    finally:
        server.close()


async def test_triton_sees_the_pinned_path_the_body_and_nothing_of_the_caller(
    new_scene: NewScene, servers: dict[str, dict[str, str]]
) -> None:
    real = urlsplit(servers["triton"]["http"]).port or 0
    async with tapped(real) as tap, new_scene(triton=f"http://127.0.0.1:{tap.port}") as scene:
        model = scene.models["rows"]
        body = bodies.rows(3)
        extra = {
            "X-Licet-Units": "0",
            "Cookie": "secret",
            "Forwarded": "for=1.2.3.4",
            "Connection": "keep-alive, x-custom",
            "X-Custom": "y",
            "Accept-Encoding": "gzip",
            "Traceparent": TRACE,
        }
        response = await scene.gateway.infer(model, body.data, body.headers | scene.key.header | extra)
        assert response.status == 200
        expected = (
            f"POST /v2/models/{model.pinned}/infer HTTP/1.1\r\nHost: 127.0.0.1:{tap.port}\r\n"
            f"Content-Type: application/octet-stream\r\n"
            f"Inference-Header-Content-Length: {body.headers['Inference-Header-Content-Length']}\r\n"
            f"traceparent: {TRACE}\r\nContent-Length: {len(body.data)}\r\n\r\n"
        )
        assert tap.take() == expected.encode() + body.data
        # A caller who samples its trace finds the gateway's span in it: same trace, another parent.
        response = await scene.gateway.infer(
            model, body.data, body.headers | scene.key.header | {"traceparent": SAMPLED}
        )
        assert response.status == 200
        line = next(line for line in tap.take().split(b"\r\n") if line.startswith(b"traceparent: "))
        assert line.startswith(b"traceparent: " + SAMPLED[:36].encode())
        assert line.endswith(b"-01")
        assert SAMPLED[36:52].encode() not in line
        # A chunked body is chunked anew, without extensions and trailers.
        plain = bodies.rows(3, binary=False)
        sent = b"%x;secret=1\r\n%s\r\n0\r\nCookie: secret\r\n\r\n" % (len(plain.data), plain.data)
        path = f"/v2/models/{model.public_name}/infer"
        head = request("POST", path, b"", {"Transfer-Encoding": "chunked"} | scene.key.header)
        async with wire(scene.gateway.port) as connection:
            await connection.send(head + sent)
            assert (await connection.receive()).status == 200
        heard = tap.take()
        assert heard.endswith(b"%x\r\n%s\r\n0\r\n\r\n" % (len(plain.data), plain.data))
        assert b"secret" not in heard
