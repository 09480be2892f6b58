"""Killed, full, cut off, gone: no call is lost or doubled, and what failed is not charged."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from licet_gateway.testing import bodies
from licet_gateway.testing.loaded import loaded
from licet_gateway.testing.scene import Scene
from licet_gateway.testing.servers import OwnTriton
from licet_gateway.testing.wire import Response, request, wire
from licet_kit.testing.own_kafka import OwnKafka
from licet_kit.testing.plugin import Eventually
from licet_kit.testing.ports import free_ports
from licet_schemas.licet.usage.v1.usage_pb2 import (
    OUTCOME_ABORTED,
    OUTCOME_CLIENT_GONE,
    OUTCOME_OK,
    OUTCOME_UPSTREAM_ERROR,
)

FINISHED = 'licet_gateway_calls_total{outcome="ok"'
RUNNING = 'licet_gateway_running{worker="0"} 1.0'
pytestmark = pytest.mark.asyncio(loop_scope="module")

NewScene = Callable[..., AbstractAsyncContextManager[Scene]]


async def rows(scene: Scene, count: int = 2) -> Response:
    body = bodies.rows(count)
    return await scene.gateway.infer(scene.models["rows"], body.data, body.headers | scene.key.header)


async def gated(scene: Scene, number: int) -> Response:
    """A call that the model answers when its gate opens."""
    body = bodies.gate(number)
    return await scene.gateway.infer(scene.models["gated"], body.data, body.headers | scene.key.header)


async def in_flight(scene: Scene, number: int, eventually: Eventually) -> asyncio.Task[Response]:
    """A call that is inside the model now."""
    task = asyncio.create_task(gated(scene, number))
    await eventually(lambda: scene.models["gated"].reached(number), 20, what="the call in Triton")
    return task


def assert_whole(scene: Scene) -> None:
    """Each lease that ended has every sequence from 1, once, and ends with its highest."""
    leases: dict[str, dict[int, Any]] = {}
    for record in scene.records:
        known = leases.setdefault(record.lease_id, {}).setdefault(record.sequence, record)
        assert (known.units, known.outcome, known.last) == (record.units, record.outcome, record.last)
    for records in leases.values():
        lasts = [sequence for sequence, record in records.items() if record.last]
        assert len(lasts) <= 1
        if lasts:
            assert sorted(records) == list(range(1, lasts[0] + 1))


async def all_leases_ended(scene: Scene, eventually: Eventually) -> None:
    def ended() -> bool:
        return scene.lease_ids == {record.lease_id for record in scene.records if record.last}

    await eventually(ended, 20, what="the end of every lease")
    assert_whole(scene)


async def test_a_killed_worker_is_replaced_and_its_log_closed(visit: Scene, eventually: Eventually) -> None:
    served = [await rows(visit) for _ in range(5)]
    await eventually(lambda: len(visit.calls) == 5, 10)
    lost = await in_flight(visit, 1, eventually)
    (worker,) = visit.gateway.workers()
    os.kill(worker, signal.SIGKILL)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await lost
    visit.models["gated"].open_gate(1)
    await all_leases_ended(visit, eventually)
    await eventually(visit.gateway.ready, 20)
    assert visit.gateway.workers() != [worker]
    again = await rows(visit)
    await eventually(lambda: visit.record_of(again), 10)
    assert {r.headers["x-licet-request-id"] for r in [*served, again]} == {
        record.request_id for record in visit.calls if record.outcome == OUTCOME_OK
    }
    # The call that died with the worker was begun, so it is told; it costs nothing.
    aborted = [r for r in visit.records if r.outcome == OUTCOME_ABORTED and not r.last]
    assert [(record.units, record.metering_rule) for record in aborted] == [(0, "request")]
    assert visit.units == 12


async def test_a_killed_gateway_is_recovered_by_the_next_one(visit: Scene, eventually: Eventually) -> None:
    served = [await rows(visit) for _ in range(20)]
    lost = await in_flight(visit, 2, eventually)
    (worker,) = visit.gateway.workers()
    visit.gateway.kill()
    await eventually(lambda: not Path(f"/proc/{worker}").exists() or _is_zombie(worker), 5)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await lost
    visit.models["gated"].open_gate(2)
    await visit.gateway.start()
    await all_leases_ended(visit, eventually)
    assert {r.headers["x-licet-request-id"] for r in served} == {
        record.request_id for record in visit.calls if record.outcome == OUTCOME_OK
    }
    assert visit.units == 40
    names = {path.name for path in visit.gateway.log_dir.iterdir() if path.is_dir()}
    assert len(names) == 1


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


async def test_a_full_disk_refuses_calls_and_loses_none(visit: Scene, eventually: Eventually) -> None:
    served = [await rows(visit)]
    held = await in_flight(visit, 3, eventually)
    (worker,) = visit.gateway.workers()
    before = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (0, before[1]))
    refused = [await rows(visit) for _ in range(3)]
    assert {response.json["code"] for response in refused} == {"overloaded"}
    # A call that began before is answered, and its record waits for the disk.
    visit.models["gated"].open_gate(3)
    served.append(await held)
    assert served[-1].status == 200
    await eventually(lambda: _not(visit.gateway.ready()), 5)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, before)
    await eventually(visit.gateway.ready, 10)
    served.append(await rows(visit))
    wanted = {response.headers["x-licet-request-id"] for response in served}
    await eventually(lambda: wanted <= {r.request_id for r in visit.calls}, 10)
    assert wanted == {r.request_id for r in visit.calls if r.units}
    assert visit.gateway.workers() == [worker]
    await all_leases_ended(visit, eventually)


async def _not(answer: Any) -> bool:
    return not await answer


async def test_a_client_that_leaves_while_triton_computes_pays_nothing(
    visit: Scene, eventually: Eventually
) -> None:
    body = bodies.gate(4)
    path = f"/v2/models/{visit.models['gated'].public_name}/infer"
    async with wire(visit.gateway.port) as connection:
        await connection.send(request("POST", path, body.data, body.headers | visit.key.header))
        await eventually(lambda: visit.models["gated"].reached(4), 10)
        connection.abort()
    visit.models["gated"].open_gate(4)
    record = await eventually(lambda: visit.calls[0], 10)
    assert (record.outcome, record.units) == (OUTCOME_CLIENT_GONE, 0)
    assert (await rows(visit)).status == 200


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_no_trace_or_no_units(
    visit: Scene, eventually: Eventually
) -> None:
    """A short body is not sent on before it is whole; a long one is, and its connection to Triton is cut."""
    path = f"/v2/models/{visit.models['rows'].public_name}/infer"
    for count in (100, 40_000):
        body = bodies.rows(count)
        sent = request("POST", path, body.data, body.headers | visit.key.header)
        async with wire(visit.gateway.port) as connection:
            await connection.send(sent[: len(sent) * 3 // 4])
            if count == 40_000:
                await eventually(lambda: _holds(visit, RUNNING), 10, what="the call upstream")
    record = await eventually(lambda: visit.calls[0], 10)
    assert (record.outcome, record.units) == (OUTCOME_CLIENT_GONE, 0)
    assert (await rows(visit)).status == 200
    await eventually(lambda: len(visit.calls) == 2, 10)
    assert visit.units == 2


async def _holds(scene: Scene, text: str) -> bool:
    return text in await scene.gateway.metrics()


async def test_a_client_that_reads_none_of_a_long_answer_pays_for_what_its_socket_took(
    visit: Scene, eventually: Eventually
) -> None:
    body = bodies.identity(rows=12_000)
    path = f"/v2/models/{visit.models['identity'].public_name}/infer"
    async with wire(visit.gateway.port) as connection:
        connection.stop_reading()
        await connection.send(request("POST", path, body.data, body.headers | visit.key.header))
        await eventually(
            lambda: _socket_is_full(visit, connection.local_port), 20, what="an answer that waits"
        )
    record = await eventually(lambda: visit.calls[0], 10)
    # One unit has no smaller part.
    assert (record.outcome, record.units) == (OUTCOME_CLIENT_GONE, 1)


async def test_answers_that_never_left_for_the_socket_are_not_charged(
    visit: Scene, eventually: Eventually
) -> None:
    """Pipelined calls and nobody reads: what the kernel took is paid, what waits in the gateway is not."""
    body = bodies.identity(rows=30)
    path = f"/v2/models/{visit.models['identity'].public_name}/infer"
    sent = request("POST", path, body.data, body.headers | visit.key.header) * 300
    async with wire(visit.gateway.port, receive_buffer=4096) as connection:
        connection.stop_reading()
        sending = asyncio.create_task(connection.send(sent))
        await eventually(lambda: _socket_is_full(visit, connection.local_port), 20, what="answers that wait")
        # Answers that nobody reads do not pile up: one waits, and no further call begins behind it.
        looks: list[tuple[str, str]] = []
        await eventually(
            lambda: _one_waits(visit, looks), 30, what="one answer that waits, and stays the one"
        )
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
    await eventually(lambda: any(r.outcome == OUTCOME_CLIENT_GONE for r in visit.calls), 10)
    assert {r.units for r in visit.calls if r.outcome == OUTCOME_OK} == {1}
    # Of the one that waited some bytes may have left.
    assert [r.units for r in visit.calls if r.outcome != OUTCOME_OK] in ([0], [1])
    # The connections to Triton that were held back by it serve others again.
    assert {(await rows(visit)).status for _ in range(5)} == {200}


async def _one_waits(scene: Scene, looks: list[tuple[str, str]]) -> bool:
    """Whether one call is in flight and none was finished, over many looks: the gateway writes its figures now and
    then, and for a moment the call before counts as well."""
    looks.append((await _figure(scene, FINISHED), await _figure(scene, RUNNING.partition(" ")[0])))
    return len(looks) > 30 and set(looks[-30:]) == {(looks[-1][0], RUNNING)}


async def _figure(scene: Scene, name: str) -> str:
    text = await scene.gateway.metrics()
    return next(line for line in text.splitlines() if line.startswith(name))


def _socket_is_full(scene: Scene, client_port: int) -> bool:
    """Whether the gateway's end of the connection holds bytes that the client does not take."""
    ours = f"0100007F:{scene.gateway.port:04X}"
    theirs = f"0100007F:{client_port:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1:3] == [ours, theirs]:
            return int(fields[4].partition(":")[0], 16) > 0
    return False


@asynccontextmanager
async def with_own_triton(
    new_scene: NewScene, repository: Path, tmp_path: Path
) -> AsyncIterator[tuple[Scene, OwnTriton]]:
    server = OwnTriton(repository, tmp_path / "triton")
    await server.start()
    try:
        with contextlib.ExitStack() as stack:
            own = {
                kind: stack.enter_context(
                    loaded(kind, triton=server.http, repository=Path(server.repository))
                )
                for kind in ("rows", "gated")
            }
            async with new_scene(triton=server.http, own_models=own) as scene:
                yield scene, server
    finally:
        await server.stop()


async def test_triton_killed_in_the_middle_of_a_call_costs_nothing(
    new_scene: NewScene, repository: Path, tmp_path: Path, eventually: Eventually
) -> None:
    async with with_own_triton(new_scene, repository, tmp_path) as (scene, server):
        assert (await rows(scene)).status == 200
        lost = await in_flight(scene, 5, eventually)
        await server.kill()
        response = await lost
        assert response.status == 502
        assert "inference server" in response.json["error"]
        refused = await rows(scene)
        assert (refused.status, refused.json["code"]) == (503, "model_not_ready")
        await eventually(lambda: len(scene.calls) == 2, 10)
        assert [(r.units, r.outcome) for r in scene.calls] == [
            (2, OUTCOME_OK),
            (0, OUTCOME_UPSTREAM_ERROR),
        ]


async def test_kafka_away_delays_records_and_loses_none(
    new_scene: NewScene, own_kafka: OwnKafka, eventually: Eventually
) -> None:
    async with new_scene(kafka=own_kafka.bootstrap) as scene:
        served = [await rows(scene) for _ in range(3)]
        await eventually(lambda: len(scene.calls) == 3, 10)
        await own_kafka.kill()
        served += [await rows(scene) for _ in range(20)]
        assert {response.status for response in served} == {200}
        assert await scene.gateway.ready()
        await own_kafka.restart()
        wanted = {response.headers["x-licet-request-id"] for response in served}
        await eventually(lambda: wanted <= {r.request_id for r in scene.calls}, 60)
        assert wanted == {record.request_id for record in scene.calls}
        await scene.gateway.stop()
        await all_leases_ended(scene, eventually)


async def test_a_gateway_leaves_without_a_failed_call(new_scene: NewScene, eventually: Eventually) -> None:
    async with new_scene(GATEWAY_WORKERS="2") as scene:
        held = [await in_flight(scene, number, eventually) for number in (6, 7, 8)]
        served = [await rows(scene) for _ in range(10)]
        async with wire(scene.gateway.port) as kept:
            body = bodies.rows(1)
            path = f"/v2/models/{scene.models['rows'].public_name}/infer"
            call = request("POST", path, body.data, body.headers | scene.key.header)
            await kept.send(call)
            served.append(await kept.receive())
            stopping = asyncio.create_task(scene.gateway.stop())
            await eventually(lambda: _leaving(kept, call, served), 10, what="an answer that closes")
            assert await kept.ended()
        for number in (6, 7, 8):
            scene.models["gated"].open_gate(number)
        served += [await task for task in held]
        assert await stopping == 0
        assert {response.status for response in served} == {200}
        wanted = {response.headers["x-licet-request-id"] for response in served}
        await eventually(lambda: wanted <= {r.request_id for r in scene.calls}, 10)
        assert wanted == {record.request_id for record in scene.calls}
        await all_leases_ended(scene, eventually)
        assert [path for path in scene.gateway.log_dir.iterdir() if path.is_dir()] == []


async def _leaving(connection: Any, call: bytes, served: list[Response]) -> bool:
    await connection.send(call)
    served.append(await connection.receive())
    return served[-1].headers.get("connection") == "close"


async def test_two_workers_share_a_port_and_a_quota(new_scene: NewScene, eventually: Eventually) -> None:
    async with new_scene(GATEWAY_WORKERS="2") as scene:
        right = scene.rights["rows"]
        right.free, right.lease_units = 101, 7
        responses = await asyncio.gather(*(rows(scene, 1) for _ in range(150)))
        served = [response for response in responses if response.status == 200]
        wanted = {response.headers["x-licet-request-id"] for response in served}
        await eventually(lambda: wanted <= {r.request_id for r in scene.calls}, 10)
        assert scene.units == len(served) <= 101
        assert {r.json["code"] for r in responses if r.status != 200} <= {"quota_exhausted"}
        workers = {record.worker_id for record in scene.records}
        assert len(workers) == 2


async def test_a_second_gateway_in_the_same_log_folder_says_so(visit: Scene) -> None:
    http_port, grpc_port, admin_port = free_ports(3)
    other = type(visit.gateway)(
        {
            **visit.gateway.environment,
            "GATEWAY_HTTP_PORT": str(http_port),
            "GATEWAY_GRPC_PORT": str(grpc_port),
            "GATEWAY_ADMIN_PORT": str(admin_port),
        },
        visit.gateway.log.with_name("other.log"),
    )
    await other.start(ready=False)
    assert other.process is not None
    async with asyncio.timeout(20):
        assert await other.process.wait() == 1
    assert "another gateway works in" in other.log.read_text()
    assert (await rows(visit)).status == 200
