"""A service as a process: its commands, ports, health, and its end."""

import asyncio
import gzip
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from licet_kit import lifecycle
from licet_kit.db import open_engine
from licet_kit.health import Health
from licet_kit.http import AddressInUse, serve_http
from licet_kit.kafka.operations import quarantined
from licet_kit.migrations import migrate
from licet_kit.testing.http import http_client
from licet_kit.testing.plugin import CreateDatabase, Eventually, StartProxy
from licet_kit.testing.ports import free_port
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SERVICE = Path(__file__).parent / "word_service.py"
MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass
class Process:
    """The running service."""

    process: asyncio.subprocess.Process
    port: int
    admin_port: int
    output: list[str] = field(default_factory=list)

    async def end(self) -> int:
        """Wait for its end and return its status; its output is in `output`."""
        stdout, stderr = await asyncio.wait_for(self.process.communicate(), 40)
        self.output = (stdout + stderr).decode().splitlines()
        return self.process.returncode or 0

    def events(self) -> list[str]:
        """Return the names of the logged events."""
        return [json.loads(line)["event"] for line in self.output if line.startswith("{")]


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    started: list[asyncio.subprocess.Process] = []

    async def launch(*arguments: str, **environment: str) -> Process:
        port, admin_port = free_port(), free_port()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(SERVICE), *arguments),
            env={
                **os.environ,
                "WORDS_HTTP_PORT": str(port),
                "WORDS_ADMIN_PORT": str(admin_port),
                **environment,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(process)
        return Process(process, port, admin_port)

    yield launch
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def answers(port: int, path: str, status: int = 200) -> httpx2.Response | None:
    async with http_client(timeout=10) as client:
        response = await client.get(f"http://127.0.0.1:{port}{path}")
    return response if response.status_code == status else None


async def test_a_service_runs_is_healthy_and_ends_on_sigterm(
    database: CreateDatabase, start: Start, eventually: Eventually
) -> None:
    service = await start(DATABASE_URL=await database(MIGRATIONS))
    ready = await eventually(lambda: answers(service.admin_port, "/readyz"), deadline_s=40)
    assert ready.json() == {"status": "ok", "checks": {"postgres": "ok"}}
    word = await answers(service.port, "/word")
    assert word is not None
    assert word.json() == {"word": "licet"}
    assert await counted(service, 1)

    slow = asyncio.create_task(answers(service.port, "/slow"))
    await eventually(lambda: counted(service, 2), what="the slow request is being answered")
    service.process.send_signal(signal.SIGTERM)
    finished = await slow
    assert finished is not None
    assert finished.json() == {"word": "patience"}
    assert await service.end() == 0
    assert service.events() == ["process.started", "process.stopping", "process.stopped"]


async def counted(service: Process, words: int) -> bool:
    metrics = await answers(service.admin_port, "/metrics")
    return metrics is not None and f"licet_words_total {words}.0" in metrics.text.splitlines()


async def test_a_service_is_not_ready_while_its_database_is_away(
    database: CreateDatabase, start: Start, eventually: Eventually, proxy: StartProxy
) -> None:
    url = await database(MIGRATIONS)
    server = urlsplit(url)
    door = await proxy(server.hostname or "", server.port or 0)
    service = await start(DATABASE_URL=url.replace(f":{server.port}/", f":{door.port}/"))
    await eventually(lambda: answers(service.admin_port, "/readyz"), deadline_s=40)
    await door.cut()
    report = await eventually(lambda: answers(service.admin_port, "/readyz", 503))
    assert report.json()["status"] == "not ready"
    assert report.json()["checks"]["postgres"] != "ok"
    assert await answers(service.admin_port, "/livez")
    await door.restore()
    await eventually(lambda: answers(service.admin_port, "/readyz"))


async def test_migrate_and_then_run(database: CreateDatabase, start: Start) -> None:
    url = await database()
    too_early = await start(DATABASE_URL=url)
    assert await too_early.end() == 1
    assert "run `migrate`" in too_early.output[-1]
    migrating = await start("migrate", DATABASE_URL=url)
    assert await migrating.end() == 0
    assert migrating.events() == ["database.migrated"]
    assert await migrate(url, MIGRATIONS) == "0001"


async def test_held_keys_are_listed_and_made_due(database: CreateDatabase, start: Start) -> None:
    url = await database(MIGRATIONS)
    async with open_engine(url) as engine, engine.begin() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO quarantine (consumer, topic, key, reason, detail, event_id)"
            " VALUES ('listener', 'word.said', 'k', 'not_allowed', 'x', 'e1')"
        )
        await connection.exec_driver_sql(
            "INSERT INTO parked (consumer, topic, key, event_id, payload, headers, timestamp_ms)"
            " VALUES ('listener', 'word.said', 'k', 'e1', '', '{}', 0)"
        )
    listing = await start("quarantine", DATABASE_URL=url)
    assert await listing.end() == 0
    (held,) = [json.loads(line) for line in listing.output]
    assert (held["key"], held["reason"], held["parked"], held["retry_at"]) == ("k", "not_allowed", 1, None)
    asking = await start("replay", "word.said", "k", DATABASE_URL=url)
    assert await asking.end() == 0
    (due,) = await quarantined(url)
    assert due["retry_at"] is not None
    wrong = await start("replay", "word.said", "other", DATABASE_URL=url)
    assert await wrong.end() == 1
    assert "not in quarantine" in wrong.output[-1]


async def test_spans_and_metrics_reach_a_collector(
    database: CreateDatabase, start: Start, eventually: Eventually
) -> None:
    received: dict[str, bytes] = {}

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = int(head.split("content-length: ")[1].split()[0])
        received[head.split()[1]] = await reader.readexactly(size)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(collect, "127.0.0.1", 0)
    endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    service = await start(DATABASE_URL=await database(MIGRATIONS), OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    await eventually(lambda: answers(service.port, "/word"), deadline_s=40)
    service.process.send_signal(signal.SIGTERM)
    assert await service.end() == 0
    server.close()
    spans = ExportTraceServiceRequest.FromString(gzip_or_plain(received["/v1/traces"]))
    names = [
        span.name
        for resource in spans.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert "say a word" in names
    assert b"licet.words" in gzip_or_plain(received["/v1/metrics"])


def gzip_or_plain(body: bytes) -> bytes:
    return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body


async def test_check_config_says_what_is_wrong(start: Start) -> None:
    good = await start("--check-config", DATABASE_URL="postgresql://h/d")
    assert await good.end() == 0
    bad = await start("--check-config", DATABASE_URL="", WORDS_HTTP_PORT="many")
    assert await bad.end() == 78
    named = [line.split(": ")[:2] for line in bad.output]
    assert sorted(named) == [["words", "DATABASE_URL"], ["words", "WORDS_HTTP_PORT"]]


async def test_a_part_that_fails_ends_the_process(database: CreateDatabase, start: Start) -> None:
    service = await start(DATABASE_URL=await database(MIGRATIONS), WORDS_FAILS="true")
    assert await service.end() == 1
    assert service.events()[-1] == "process.crashed"
    assert "a part failed" in service.output[-1]


async def test_a_taken_port_is_refused(database: CreateDatabase, start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUse, match=str(port)):
            await serve_http(None, "127.0.0.1", port)(asyncio.Event())


async def test_two_servers_do_not_share_a_port(
    database: CreateDatabase, start: Start, eventually: Eventually
) -> None:
    url = await database(MIGRATIONS)
    first = await start(DATABASE_URL=url)
    await eventually(lambda: answers(first.admin_port, "/livez"), deadline_s=40)
    second = await start(DATABASE_URL=url, WORDS_HTTP_PORT=str(first.port))
    assert await second.end() == 1
    assert f"cannot listen on 127.0.0.1:{first.port}" in "".join(second.output)


async def test_the_other_parts_end_gracefully_when_one_fails() -> None:
    ended: list[str] = []

    async def graceful(stop: asyncio.Event) -> None:
        await stop.wait()
        await asyncio.sleep(0)
        ended.append("graceful")

    async def failing(_stop: asyncio.Event) -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as raised:
        await lifecycle.run(graceful, failing, signals=False)
    assert raised.group_contains(ZeroDivisionError)
    assert ended == ["graceful"]


async def test_a_part_that_does_not_end_is_cut_off() -> None:
    async def stubborn(_stop: asyncio.Event) -> None:
        await asyncio.Event().wait()

    async def brief(_stop: asyncio.Event) -> None:
        return

    with pytest.raises(TimeoutError):
        await lifecycle.run(stubborn, brief, deadline_s=0.05, signals=False)


async def test_a_check_that_hangs_or_raises_means_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("licet_kit.health.CHECK_TIMEOUT_S", 0.05)
    health = Health()

    async def hang() -> None:
        await asyncio.Event().wait()

    async def fail() -> None:
        raise ConnectionRefusedError("nobody")

    async def fine() -> None:
        return

    for name, check in (("hang", hang), ("fail", fail), ("fine", fine)):
        health.add(name, check)
    assert await health.report() == {
        "hang": "no answer within 0.05 s",
        "fail": "ConnectionRefusedError: nobody",
        "fine": "ok",
    }
    with pytest.raises(ValueError, match="fine"):
        health.add("fine", fine)
