"""The service as a process: configuration, schema, start, kill, stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from licet_kit.ids import new_id
from licet_kit.testing.http import http_client
from licet_kit.testing.plugin import CreateTopics, Eventually
from licet_kit.testing.ports import free_ports
from licet_licensing.testing.words import ALICE, CHAIN_ID, ESCROW, LICENSE, OPERATOR, PLANBOOK, SLUG
from licet_licensing.testing.world import World
from licet_schemas.licet.licensing.v1 import licensing_pb2 as pb
from licet_schemas.licet.licensing.v1 import licensing_pb2_grpc as stubs

TOKEN = "worker-token-of-the-test"
WORKER = (("authorization", f"Bearer {TOKEN}"),)
TOPICS = (
    *(name + end for name in ("chain.event", "chain.finality", "usage.recorded") for end in ("", ".parked")),
    *("licensing.grant", "licensing.revocation", "licensing.decision"),
)


@pytest.fixture
def environment(
    servers: dict[str, Any], topic_prefix: str, database_url: str, redis_url: str, tmp_path: Path
) -> dict[str, str]:
    chains = tmp_path / "chains.json"
    chain = {
        "chain_id": CHAIN_ID,
        "name": "local",
        "rpc_url": "http://127.0.0.1:1",
        "finality": {"source": "tag"},
        "contracts": {"License": LICENSE, "PlanBook": PLANBOOK, "UsageEscrow": ESCROW},
    }
    chains.write_text(json.dumps({"chains": [chain]}))
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    http, rpc, admin = free_ports(3)
    return {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "KAFKA_BOOTSTRAP": servers["kafka"]["bootstrap"],
        "KAFKA_TOPIC_PREFIX": topic_prefix,
        "REDIS_URL": redis_url,
        "CHAINS_FILE": str(chains),
        "LICENSING_WORKER_TOKEN_FILE": str(token),
        "LICENSING_OPERATOR": OPERATOR,
        "LICENSING_HTTP_PORT": str(http),
        "LICENSING_GRPC_PORT": str(rpc),
        "LICENSING_ADMIN_PORT": str(admin),
    }


async def start(environment: dict[str, str], *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "licet_licensing",
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def run(environment: dict[str, str], *arguments: str) -> tuple[int | None, str]:
    process = await start(environment, *arguments)
    output, _ = await process.communicate()
    return process.returncode, output.decode()


Start = Callable[[], Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def service(environment: dict[str, str], create_topics: CreateTopics) -> AsyncIterator[Start]:
    """Starts the service; whatever still runs at the end is killed."""
    await create_topics(*TOPICS)
    started: list[asyncio.subprocess.Process] = []

    async def begin() -> asyncio.subprocess.Process:
        process = await start(environment)
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_the_configuration_is_checked_without_a_start(environment: dict[str, str]) -> None:
    assert (await run(environment, "--check-config"))[0] == 0
    del environment["LICENSING_OPERATOR"]
    environment["LICENSING_LEASE_TTL_S"] = "31"
    code, said = await run(environment, "--check-config")
    assert code == 78
    assert "LICENSING_OPERATOR" in said
    assert "LICENSING_LEASE_TTL_S" in said


async def test_an_old_schema_is_refused_and_migrated(
    environment: dict[str, str], database: Callable[..., Awaitable[str]]
) -> None:
    environment["DATABASE_URL"] = await database()
    code, said = await run(environment)
    assert code == 1
    assert "schema_outdated" in said
    assert (await run(environment, "migrate"))[0] == 0


async def ready(environment: dict[str, str]) -> bool:
    async with http_client() as http:
        answer = await http.get(f"http://127.0.0.1:{environment['LICENSING_ADMIN_PORT']}/readyz")
    return answer.status_code == 200


async def test_a_killed_service_forgets_nothing_that_it_answered(
    world: World, environment: dict[str, str], service: Start, eventually: Eventually
) -> None:
    process = await service()
    await eventually(lambda: ready(environment), 30)
    # The service goes by the real time, and so must the story.
    world.clock.advance((datetime.now(UTC) - world.now).total_seconds())
    await world.market()
    await world.buy()
    credential = pb.Credential(api_key_hash=await world.key_of(ALICE))
    request = pb.LeaseRequest(
        request_id=new_id(), worker_id="w", credential=credential, slug=SLUG, units_wanted=10, min_units=1
    )
    first = await ask(environment, request)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await service()
    await eventually(lambda: ready(environment), 30)
    again = await ask(environment, request)
    assert first.lease_id == again.lease_id
    assert again.ttl_ms < first.ttl_ms
    free, leased, suspended, spent, lapsed = await world.units()
    # A restart that took longer than the lease's life leaves its units suspended.
    assert (free, leased + suspended, spent, lapsed) == (90, 10, 0, 0)


async def ask(environment: dict[str, str], request: pb.LeaseRequest) -> pb.Grant:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{environment['LICENSING_GRPC_PORT']}") as channel:
        reply = await stubs.LeaseServiceStub(channel).Lease(request, metadata=WORKER)
    assert reply.WhichOneof("outcome") == "grant", reply
    return reply.grant


async def test_a_service_serves_alone_on_its_ports_and_stops_when_told(
    environment: dict[str, str], service: Start, eventually: Eventually
) -> None:
    process = await service()
    await eventually(lambda: ready(environment), 30)
    async with http_client(base_url=f"http://127.0.0.1:{environment['LICENSING_HTTP_PORT']}") as http:
        nonce = await http.post("/v1/auth/nonce")
        described = await http.get("/openapi.json")
    assert (nonce.status_code, described.status_code) == (201, 200)
    async with http_client() as http:
        metrics = await http.get(f"http://127.0.0.1:{environment['LICENSING_ADMIN_PORT']}/metrics")
    assert metrics.status_code == 200
    environment["LICENSING_HTTP_PORT"], environment["LICENSING_ADMIN_PORT"] = map(str, free_ports(2))
    second = await service()
    await second.communicate()
    assert second.returncode == 1, "two services must not share a port"
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(25):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert TOKEN not in output.decode()
