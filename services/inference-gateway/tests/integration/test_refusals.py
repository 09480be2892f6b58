"""Calls that are refused: the code says why, and nothing is charged."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from licet_gateway.testing import bodies
from licet_gateway.testing.keys import api_key
from licet_gateway.testing.licensing import Right
from licet_gateway.testing.scene import Scene
from licet_gateway.testing.wire import Response, call, request, wire
from licet_kit.testing.plugin import Eventually
from licet_schemas.licet.licensing.v1 import licensing_pb2 as pb
from licet_schemas.licet.usage.v1.usage_pb2 import OUTCOME_ABORTED, OUTCOME_UPSTREAM_ERROR

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROWS = bodies.rows(2)


async def infer(scene: Scene, **headers: str) -> Response:
    """A call to the rows model; header names with underscores for dashes."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return await scene.gateway.infer(scene.models["rows"], ROWS.data, ROWS.headers | fields)


def assert_refused(response: Response, status: int, code: str) -> None:
    assert (response.status, response.json["code"]) == (status, code)
    assert response.json["error"]
    assert response.json["remedy"]
    assert response.headers["x-licet-request-id"]


async def test_each_reason_has_its_code(shared: Scene) -> None:
    assert_refused(await infer(shared), 401, "credential_missing")
    forged = shared.key.text[:-1] + ("0" if shared.key.text[-1] != "0" else "1")
    assert_refused(await infer(shared, authorization=f"Bearer {forged}"), 401, "credential_invalid")
    stranger = await infer(shared, **api_key(2).header)
    assert_refused(stranger, 403, "license_missing")
    assert stranger.headers["x-licet-decision-id"] == "decision-none"


async def test_a_forged_key_never_reaches_licensing(shared: Scene) -> None:
    asks = len(shared.licensing.asks)
    for number in range(50):
        await infer(shared, authorization=f"Bearer licet_live_{number:043d}_000000")
    assert len(shared.licensing.asks) == asks


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("license_expired", 403),
        ("license_transferred", 403),
        ("license_revoked", 403),
        ("model_unknown", 404),
        ("quota_exhausted", 429),
        ("rate_limited", 429),
        ("mirror_stale", 503),
    ],
)
async def test_licensings_reasons_are_passed_on(shared: Scene, code: str, status: int) -> None:
    key = api_key(sum(code.encode()))
    denial = pb.Denial(
        code=code, message="why", remedy="what to do", retry_after_ms=1500, decision_id="decision-9"
    )
    shared.licensing.allow(key.digest, replace(shared.rights["rows"], denial=denial))
    response = await infer(shared, **key.header)
    assert_refused(response, status, code)
    assert response.headers["retry-after"] == "2"
    assert response.headers["x-licet-decision-id"] == "decision-9"


async def test_a_session_is_as_good_as_a_key(shared: Scene) -> None:
    session = "licet_session_" + "a" * 43
    shared.licensing.allow(session, replace(shared.rights["rows"]))
    assert (await infer(shared, authorization=f"Bearer {session}")).status == 200


async def test_a_quota_is_used_to_its_last_unit_and_not_beyond(shared: Scene, eventually: Eventually) -> None:
    key = api_key(31)
    right = shared.licensing.allow(key.digest, replace(shared.rights["rows"], free=37, lease_units=5))
    responses = [await infer(shared, **key.header) for _ in range(25)]
    served = [response for response in responses if response.status == 200]
    assert len(served) == 18
    assert {response.json["code"] for response in responses if response.status != 200} == {"quota_exhausted"}
    assert right.free <= 1
    wanted = {response.headers["x-licet-request-id"] for response in served}
    await eventually(lambda: wanted <= {record.request_id for record in shared.topic.records}, 10)
    assert sum(record.units for record in shared.topic.records if record.request_id in wanted) == 36


async def test_a_rate_is_kept_and_told(shared: Scene) -> None:
    key = api_key(32)
    shared.licensing.allow(key.digest, replace(shared.rights["rows"], requests_per_s=3))
    responses = await asyncio.gather(*(infer(shared, **key.header) for _ in range(10)))
    served = [response for response in responses if response.status == 200]
    refused = [response for response in responses if response.status != 200]
    assert 3 <= len(served) <= 6
    assert {response.json["code"] for response in refused} == {"rate_limited"}
    assert served[0].headers["ratelimit-policy"] == '"requests";q=3;w=1'
    assert all(response.headers["retry-after"] == "1" for response in refused)


async def test_a_model_that_no_triton_has_is_not_ready(shared: Scene) -> None:
    key = api_key(33)
    slug = "nobody/nothing"
    shared.licensing.allow(key.digest, Right(slug, "0x" + "00" * 32))
    path = "/v2/models/nobody.nothing"
    response = await call(shared.gateway.port, "POST", f"{path}/infer", ROWS.data, key.header)
    assert_refused(response, 503, "model_not_ready")
    assert_refused(await call(shared.gateway.port, "GET", f"{path}/ready"), 404, "model_unknown")
    assert_refused(await call(shared.gateway.port, "GET", path), 404, "model_unknown")


async def test_a_plan_whose_rule_is_not_the_models_is_not_served(shared: Scene) -> None:
    key = api_key(34)
    shared.licensing.allow(key.digest, replace(shared.rights["rows"], metering_rule="request"))
    assert_refused(await infer(shared, **key.header), 403, "policy_denied")


async def test_a_model_that_triton_lost_is_told_as_not_ready(shared: Scene, eventually: Eventually) -> None:
    """The vault announced it, and Triton was restarted empty: its 404 is not the caller's fault."""
    key = api_key(35)
    ghost = replace(shared.models["rows"], slug="ghost/rows", version_digest="0x" + "77" * 32)
    shared.licensing.allow(
        key.digest, replace(shared.rights["rows"], slug=ghost.slug, version_digest=ghost.version_digest)
    )
    await shared.announce.version(ghost, rule="rows:X")
    path = f"/v2/models/{ghost.public_name}"

    async def known() -> bool:
        return (await call(shared.gateway.port, "GET", f"{path}/ready")).status == 200

    await eventually(known, 10)
    response = await shared.gateway.infer(ghost, ROWS.data, ROWS.headers | key.header)
    assert_refused(response, 503, "model_not_ready")
    record = await eventually(lambda: shared.record_of(response), 10)
    assert (record.units, record.outcome) == (0, OUTCOME_UPSTREAM_ERROR)


ROWS_LEFT = '"datatype":"FP32","data":[1,2,3,4]}]}'
MALFORMED = [
    b"",
    b"hello",
    b"[]",
    b"{",
    b'{"inputs":[]}',
    b'{"inputs":[{"name":"Y","shape":[1,4],' + ROWS_LEFT.encode(),
    b'{"inputs":[{"name":"X","shape":[0,4],' + ROWS_LEFT.encode(),
    b'{"inputs":[{"name":"X","shape":[-1,4],' + ROWS_LEFT.encode(),
    b'{"inputs":[{"name":"X","shape":["1",4],' + ROWS_LEFT.encode(),
    b'{"inputs":[{"name":"X\\u0000Y","shape":[1,4],' + ROWS_LEFT.encode(),
    bytes(range(256)),
]


async def test_a_body_that_cannot_be_metered_is_refused_in_tritons_words(shared: Scene) -> None:
    seen = len(shared.topic.records)
    for body in MALFORMED:
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))} | shared.key.header
        response = await shared.gateway.infer(shared.models["rows"], body, headers)
        assert response.status == 400, body
        assert set(response.json) == {"error"}
    header = {"Inference-Header-Content-Length": "9999"}
    response = await shared.gateway.infer(shared.models["rows"], b"{}", header | shared.key.header)
    assert response.status == 400
    assert len(shared.topic.records) == seen


WRONG_FOR_TRITON = [
    bodies.rows_json([3, 5]),
    bodies.rows_json([1, 4], datatype="INT64"),
    bodies.rows_json([2, 4], data=[1.0]),
    bodies.rows_json([1, 4], data=["a"] * 4),
    bodies.rows_json([1, 4])[:-1] + b',"outputs":[{"name":"NOPE"}]}',
    bodies.rows_json([1, 4]) + b"trailing",
    b'{"inputs":[{"name":"X","shape":[2,4],"shape":[1,4],' + ROWS_LEFT.encode(),
    b'{"inputs":[{"name":"X","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]},{"name":"X","shape":[9,4],'
    + ROWS_LEFT.encode(),
]


async def test_tritons_own_refusals_pass_through_and_cost_nothing(
    shared: Scene, eventually: Eventually
) -> None:
    for body in WRONG_FOR_TRITON:
        response = await shared.gateway.infer(shared.models["rows"], body, shared.key.header)
        # Some malformed data is a 500 in Triton's own words.
        assert response.status in (400, 500), body
        assert set(response.json) == {"error"}
        assert response.headers["x-licet-units"] == "0"
        record = await eventually(lambda r=response: shared.record_of(r), 10)
        assert (record.units, record.outcome) == (0, OUTCOME_UPSTREAM_ERROR)


async def test_of_a_repeated_shape_triton_and_the_meter_use_the_same(shared: Scene) -> None:
    """The meter stops at the first shape that it finds; Triton must not compute another one."""
    body = b'{"inputs":[{"name":"X","shape":[1,4],"shape":[3,4],' + ROWS_LEFT.encode()
    response = await shared.gateway.infer(shared.models["rows"], body, shared.key.header)
    assert response.status == 200
    assert b'"data":[1]' in response.body
    assert response.headers["x-licet-units"] == "1"


async def test_no_other_route_reaches_triton(shared: Scene) -> None:
    model = shared.models["rows"].public_name
    routes = [
        ("POST", f"/v2/models/{model}/versions/1/infer"),
        ("POST", f"/v2/models/{model}/versions/1/generate"),
        ("POST", "/v2/repository/index"),
        ("POST", f"/v2/repository/models/{shared.models['rows'].pinned}/unload"),
        ("POST", "/v2/systemsharedmemory/region/x/register"),
        ("GET", "/v2/models/stats"),
        ("GET", "/v2"),
        ("GET", "/metrics"),
    ]
    for method, path in routes:
        response = await call(
            shared.gateway.port, method, path, b"{}" if method == "POST" else b"", shared.key.header
        )
        assert (response.status, response.json) == (404, {"error": "Not Found"})


async def test_a_pinned_name_is_no_ones_model(shared: Scene) -> None:
    """It reads as a slug of its own, which nobody has a license for."""
    response = await call(
        shared.gateway.port,
        "POST",
        f"/v2/models/{shared.models['rows'].pinned}/infer",
        ROWS.data,
        shared.key.header,
    )
    assert_refused(response, 403, "license_missing")


async def test_a_compressed_body_is_refused(shared: Scene) -> None:
    response = await infer(shared, content_encoding="gzip", **shared.key.header)
    assert response.status == 415
    assert "compressed" in response.json["error"]


async def test_a_body_beyond_the_limit_is_refused_whatever_it_says_of_itself(
    shared: Scene, eventually: Eventually
) -> None:
    limit = int(shared.gateway.environment["GATEWAY_MAX_BODY_BYTES"])
    path = f"/v2/models/{shared.models['identity'].public_name}/infer"
    async with wire(shared.gateway.port) as connection:
        await connection.send(
            request("POST", path, b"", {"Content-Length": str(limit + 1)} | shared.key.header)
        )
        response = await connection.receive()
        assert_refused(response, 413, "request_too_large")
        assert response.headers["connection"] == "close"
        assert await connection.ended()
    async with wire(shared.gateway.port) as connection:
        await connection.send(
            request("POST", path, b"", {"Transfer-Encoding": "chunked"} | shared.key.header)
        )
        chunk = b"%x\r\n%s\r\n" % (limit // 8, b"x" * (limit // 8))
        for _ in range(8):
            await connection.send(chunk)
        # One byte too many: what a client sends on behind a refusal is read up to a bound, and then reset.
        await connection.send(b"1\r\nx\r\n")
        response = await connection.receive()
    assert_refused(response, 413, "request_too_large")
    record = await eventually(lambda: shared.record_of(response), 10)
    assert (record.units, record.outcome) == (0, OUTCOME_ABORTED)


BROKEN = [
    b"POST /v2/models/a.b/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /v2/models/a.b/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"POST /v2/models/a.b/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"POST /v2/models/a.b/infer HTTP/1.1\nHost: x\n\n\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x00\x01\x02\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
]


@pytest.mark.parametrize("data", BROKEN)
async def test_what_is_not_http_is_answered_once_and_closed(shared: Scene, data: bytes) -> None:
    async with wire(shared.gateway.port) as connection:
        await connection.send(data)
        response = await connection.receive()
        assert 400 <= response.status < 500
        assert json.loads(response.body)["error"]


async def test_health_and_readiness_are_answered_without_a_credential(shared: Scene) -> None:
    port = shared.gateway.port
    for path in (
        "/v2/health/live",
        "/v2/health/ready",
        f"/v2/models/{shared.models['rows'].public_name}/ready",
    ):
        response = await call(port, "GET", path)
        assert (response.status, response.body) == (200, b"")


async def test_metadata_is_tritons_under_the_public_name(shared: Scene) -> None:
    model = shared.models["rows"]
    told = (await call(shared.gateway.port, "GET", f"/v2/models/{model.public_name}")).json
    host, port = model.triton.removeprefix("http://").split(":")
    assert host == "127.0.0.1"
    own = (await call(int(port), "GET", f"/v2/models/{model.pinned}")).json
    assert told == {**own, "name": model.public_name}


async def test_refusals_leave_no_units_in_the_records(shared: Scene) -> None:
    """Runs last in this module: every record with units is of a call that was answered with 200."""
    assert all(record.outcome == 1 for record in shared.topic.records if record.units)
