"""A right that falls: no call is made on it, whatever was late, paused or cut off."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from licet_gateway.testing import bodies
from licet_gateway.testing.scene import Scene
from licet_gateway.testing.wire import Response
from licet_kit.testing.plugin import Eventually
from licet_kit.testing.topics import Topics
from licet_schemas.licet.licensing.v1 import licensing_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")

NewScene = Callable[..., AbstractAsyncContextManager[Scene]]
ROWS = bodies.rows(2)
REVOKED = pb.Denial(code="license_revoked", message="revoked", remedy="renew", decision_id="decision-2")


async def infer(scene: Scene, kind: str = "rows") -> Response:
    body = ROWS if kind == "rows" else bodies.identity()
    return await scene.gateway.infer(scene.models[kind], body.data, body.headers | scene.key.header)


def code(response: Response) -> str:
    return str(response.json["code"]) if response.status != 200 else "ok"


async def test_a_revoked_license_serves_no_further_call(visit: Scene, eventually: Eventually) -> None:
    assert code(await infer(visit)) == "ok"
    visit.rights["rows"].denial = REVOKED
    # The lease still has units and time: only the revocation can stop it.
    assert code(await infer(visit)) == "ok"
    await visit.announce.revocation(visit.grant_id, 2)

    async def refused() -> bool:
        return code(await infer(visit)) == "license_revoked"

    await eventually(refused, 5)
    # And its lease has been given back by a closing record.
    await eventually(lambda: [r.lease_id for r in visit.records if r.last] == list(visit.lease_ids), 5)
    await eventually(lambda: visit.lease_ids <= {r.lease_id for r in visit.licensing.returns}, 5)


async def test_a_deposit_lease_dies_with_the_license_that_it_requires(
    visit: Scene, eventually: Eventually
) -> None:
    right, license_grant = visit.rights["rows"], visit.grant_id
    right.grant_id = "31337:0x00000000000000000000000000000000000000ee:9:0"
    right.requires = ((license_grant, 1),)
    assert code(await infer(visit)) == "ok"
    right.denial = REVOKED
    await visit.announce.revocation(license_grant, 2, "license_transferred")

    async def refused() -> bool:
        return code(await infer(visit)) == "license_revoked"

    await eventually(refused, 5)


async def test_a_reply_that_a_revocation_overtook_is_not_used(visit: Scene, eventually: Eventually) -> None:
    """SpiceDB's new-enemy case: granted before, revoked meanwhile, delivered after."""
    assert code(await infer(visit, "identity")) == "ok"
    visit.licensing.answering.clear()
    waiting = asyncio.create_task(infer(visit, "rows"))
    slug = visit.models["rows"].slug
    await eventually(lambda: slug in {ask.slug for ask in visit.licensing.asks}, 5)
    for right in visit.rights.values():
        right.denial = REVOKED
    await visit.announce.revocation(visit.grant_id, 2)

    # The lease of the other model rests on the same license: when it has ended, the revocation is known.
    await eventually(lambda: any(record.last for record in visit.records), 5)
    visit.licensing.answering.set()
    assert code(await waiting) == "license_revoked"
    assert [record.version_digest for record in visit.calls] == [visit.models["identity"].version_digest]


async def test_a_worker_that_slept_through_its_lease_makes_no_call_on_it(
    visit: Scene, eventually: Eventually
) -> None:
    visit.rights["rows"].ttl_ms = 1500
    first = await infer(visit)
    assert code(first) == "ok"
    (worker,) = visit.gateway.workers()
    visit.rights["rows"].denial = REVOKED
    lease_id = first.headers["x-licet-request-id"].partition("-")[0]
    asked = asyncio.get_running_loop().time()
    os.kill(worker, signal.SIGSTOP)
    late = asyncio.create_task(infer(visit))
    await eventually(lambda: asyncio.get_running_loop().time() - asked > 2.0, 5)
    os.kill(worker, signal.SIGCONT)
    assert code(await late) == "license_revoked"
    await eventually(lambda: any(r.last for r in visit.records if r.lease_id == lease_id), 10)
    calls = [record for record in visit.calls if record.lease_id == lease_id]
    assert [record.request_id for record in calls] == [first.headers["x-licet-request-id"]]


async def test_nothing_is_admitted_before_the_revocations_are_known(
    new_scene: NewScene, eventually: Eventually
) -> None:
    async with new_scene(topics=False, start=False) as scene:
        gateway = scene.gateway
        settings = gateway.environment
        topics = Topics(settings["KAFKA_BOOTSTRAP"], settings["KAFKA_TOPIC_PREFIX"])
        await gateway.start(ready=False)
        try:

            async def answered() -> bool:
                return code(await infer(scene)) == "licensing_unavailable"

            await eventually(answered, 40)
            assert not await gateway.ready()
            assert not scene.licensing.asks
            await topics.create("licensing.revocation", "vault.version", "usage.recorded")
            await eventually(gateway.ready, 30)
            await scene.announce.version(scene.models["rows"], rule="rows:X")

            async def served() -> bool:
                return code(await infer(scene)) == "ok"

            await eventually(served, 10)
        finally:
            await gateway.stop()
            await topics.delete_all()


async def test_an_idle_lease_goes_back_so_that_its_units_are_free_elsewhere(
    visit: Scene, eventually: Eventually
) -> None:
    response = await infer(visit)
    assert code(response) == "ok"
    lease_id = response.headers["x-licet-request-id"].partition("-")[0]

    def closed() -> bool:
        return any(record.last for record in visit.records if record.lease_id == lease_id)

    await eventually(closed, 5)
    assert [r.sequence for r in visit.records if r.lease_id == lease_id] == [1, 2]
    returned = next(r for r in visit.licensing.returns if r.lease_id == lease_id)
    assert (returned.spent_units, returned.last_sequence) == (2, 2)


@pytest.mark.parametrize("away", ["before", "after"])
async def test_licensing_away_fails_closed_within_the_lease(
    visit: Scene, eventually: Eventually, away: str
) -> None:
    visit.rights["rows"].ttl_ms = 1000
    if away == "after":
        assert code(await infer(visit)) == "ok"
    visit.licensing.answering.clear()

    async def refused() -> bool:
        return code(await infer(visit)) == "licensing_unavailable"

    await eventually(refused, 10)
    visit.licensing.answering.set()

    async def served() -> bool:
        return code(await infer(visit)) == "ok"

    await eventually(served, 10)
