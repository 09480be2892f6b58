"""Mutated requests over sockets: what Triton hears behind a tap is what was sent, and costs what Triton counted.

A short part of it, always the same; `make fuzz` sends more, by another seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from urllib.parse import urlsplit

from gateway_fuzz import http_requests
from gateway_fuzz.engine import Case
from gateway_fuzz.http_kind import OURS, check_own_fields, is_meant, target_of
from gateway_fuzz.http_messages import Answer, Message, answers_of, requests_of, stops_early
from gateway_fuzz.plane import KEY
from licet_gateway.testing.scene import Scene

NewScene = Callable[..., AbstractAsyncContextManager[Scene]]
SEED = int(os.environ.get("LICET_FUZZ_SEED", "1"))
REQUESTS = int(os.environ.get("LICET_FUZZ_REQUESTS", "400"))
# A call that its client left may be heard while the next case is sent.
LATE = 4
# An answer that never comes is no finding here; what Triton heard is looked at all the same.
ANSWERS_S = 5.0


@dataclass
class Tap:
    """What each connection to Triton carried, and what came back."""

    port: int = 0
    heard: list[bytearray] = field(default_factory=list)
    answered: list[bytearray] = field(default_factory=list)

    def take(self) -> tuple[list[Message], bytes]:
        """All requests that were heard since, and all bytes of their answers. One that is not whole yet is left."""
        messages: list[Message] = []
        for data in self.heard:
            read, ended = requests_of(bytes(data))
            assert not ended, f"Triton heard what llhttp does not read: {ended}: {bytes(data)!r}"
            if all(message.whole for message in read):
                messages += read
                data.clear()
        answers = b"".join(self.answered)
        for each in self.answered:
            each.clear()
        return messages, answers


@asynccontextmanager
async def tapped(port: int) -> AsyncIterator[Tap]:
    tap = Tap()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, record: bytearray) -> None:
        while data := await source.read(65536):
            record += data
            sink.write(data)
        sink.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        tap.heard.append(bytearray())
        tap.answered.append(bytearray())
        with contextlib.suppress(OSError):
            await asyncio.gather(
                pump(reader, up_writer, tap.heard[-1]), pump(up_reader, writer, tap.answered[-1])
            )

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    tap.port = server.sockets[0].getsockname()[1]
    try:
        yield tap
    finally:
        server.close()


async def exchange(port: int, case: Case) -> list[Answer]:
    """Sends a case, and takes answers to all that is whole in it, or up to the one that is the last."""
    whole = sum(message.whole for message in requests_of(b"".join(case))[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    answers: list[Answer] = []
    try:
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(ANSWERS_S):
                for piece in case:
                    writer.write(piece)
                    await writer.drain()
                while len(answers) < whole and not any(a.headers.get("connection") for a in answers):
                    data = await reader.read(65536)
                    if not data:
                        break
                    said += data
                    answers = answers_of(said, cut=True)
    finally:
        writer.transport.abort()
    return answers


def check_units(answers: list[Answer]) -> int:
    """What was charged for rows is what the model has counted; how many answers told."""
    told = 0
    for answer in answers:
        if answer.status != 200 or b'"ROWS"' not in answer.body or "x-licet-units" not in answer.headers:
            continue
        outputs = {output["name"]: output for output in json.loads(answer.body)["outputs"]}
        assert int(answer.headers["x-licet-units"]) == outputs["ROWS"]["data"][0]
        told += 1
    return told


@dataclass
class Sent:
    """Requests that clients sent of late. Each is heard once, or twice where Triton had closed the connection: the
    gateway repeats a request once."""

    recent: deque[list[Message]] = field(default_factory=lambda: deque(maxlen=LATE))
    heard: deque[Message] = field(default_factory=lambda: deque(maxlen=LATE))

    def add(self, case: Case) -> bool:
        """What a client is about to send; false where llhttp does not read all that the gateway rightly does, so that
        nobody could say which answer is the last."""
        stream = b"".join(case)
        read, ended = requests_of(stream)
        if stops_early(ended, stream):
            return False
        self.recent.append(read)
        return True

    def take(self, call: Message, names: dict[str, str]) -> bool:
        """Whether the call is one of them."""
        for messages in (*self.recent, self.heard):
            for meant in messages:
                if is_meant(meant, call, target_of(meant, lambda name: names.get(name, ""))):
                    messages.remove(meant)
                    if messages is not self.heard:
                        self.heard.append(meant)
                    return True
        return False


async def test_triton_hears_what_was_sent(new_scene: NewScene, servers: dict[str, dict[str, str]]) -> None:
    real = urlsplit(servers["triton"]["http"]).port or 0
    # No span but of traces that their callers sample: it would be a field that nobody sent.
    settings = {"GATEWAY_TRACE_RATIO": "0"}
    async with tapped(real) as tap, new_scene(triton=f"http://127.0.0.1:{tap.port}", **settings) as scene:
        rows, identity = scene.models["rows"], scene.models["identity"]
        names = {rows.public_name: rows.pinned, identity.public_name: identity.pinned}
        authority = f"127.0.0.1:{tap.port}".encode()
        calls = told = 0
        sent = Sent()
        for number in range(REQUESTS):
            case = http_requests.stream(Random(f"{SEED}:tap:{number}"))
            case = tuple(_addressed(piece, rows.public_name, identity.public_name) for piece in case)
            if not sent.add(case):
                continue
            answers = await exchange(scene.gateway.port, case)
            heard, answered = tap.take()
            for answer in answers:
                ours = answer.status in OURS and b"HTTP/1.1 %d" % answer.status not in answered
                assert not ours, f"seed {SEED}, case {number}: a fault of ours: {answer}"
            for call in (message for message in heard if message.method == b"POST"):
                check_own_fields(call, authority)
                where = f"seed {SEED}, case {number}"
                assert sent.take(call, names), f"{where}: nobody sent it: Triton heard {call.shown}"
                calls += 1
            told += check_units(answers)
        said = f"{calls} calls heard, {told} counted by the model"
        print(f"fuzz: tap {REQUESTS} connections, seed {SEED}: {said}")  # noqa: T201 - `make fuzz` shows it
        assert calls > REQUESTS // 20
        assert told > REQUESTS // 100
        assert scene.key.text.encode() == KEY


def _addressed(piece: bytes, rows: str, identity: str) -> bytes:
    """To the models that there are."""
    return piece.replace(b"acme.risk", rows.encode()).replace(b"acme.echo", identity.encode())
