"""Calls that succeed: the answers are Triton's, the records are the calls."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from urllib.parse import urlsplit

import numpy as np
import pytest
import tritonclient.http as triton
from licet_gateway.testing import bodies
from licet_gateway.testing.bodies import Body
from licet_gateway.testing.keys import CHAIN_ID, ESCROW
from licet_gateway.testing.loaded import LoadedModel
from licet_gateway.testing.scene import Scene
from licet_gateway.testing.wire import Response, call, request, wire
from licet_kit.testing.plugin import Eventually
from licet_schemas import eip712, merkle
from licet_schemas.licet.usage.v1.usage_pb2 import OUTCOME_OK, UsageRecorded

pytestmark = pytest.mark.asyncio(loop_scope="module")

OURS = {
    "x-licet-request-id",
    "x-licet-decision-id",
    "x-licet-receipt-id",
    "x-licet-units",
    "x-licet-units-remaining",
}


async def through(scene: Scene, kind: str, body: Body) -> Response:
    return await scene.gateway.infer(scene.models[kind], body.data, body.headers | scene.key.header)


async def direct(model: LoadedModel, body: Body) -> Response:
    port = urlsplit(model.triton).port or 0
    return await call(port, "POST", f"/v2/models/{model.pinned}/infer", body.data, body.headers)


def ids(responses: list[Response]) -> set[str]:
    return {response.headers["x-licet-request-id"] for response in responses}


async def recorded(scene: Scene, responses: list[Response], eventually: Eventually) -> list[UsageRecorded]:
    """The records of these calls, once all are there."""
    wanted = ids(responses)
    await eventually(lambda: wanted <= {r.request_id for r in scene.records}, 15, what="the records")
    return [record for record in scene.calls if record.request_id in wanted]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("count", [1, 3, 1500])
async def test_an_answer_is_tritons_own_byte_for_byte(visit: Scene, binary: bool, count: int) -> None:
    for kind, body in (
        ("rows", bodies.rows(count, binary=binary)),
        ("identity", bodies.identity(binary=binary, rows=count % 700)),
    ):
        ours, theirs = await through(visit, kind, body), await direct(visit.models[kind], body)
        assert ours.status == theirs.status == 200
        assert ours.body == theirs.body
        assert {k: v for k, v in ours.headers.items() if k not in OURS} == theirs.headers
        assert set(ours.headers) - set(theirs.headers) == OURS


async def test_tritons_client_runs_unchanged(visit: Scene) -> None:
    model = visit.models["rows"]

    def use_client() -> None:
        with contextlib.closing(triton.InferenceServerClient(f"127.0.0.1:{visit.gateway.port}")) as client:
            assert client.is_server_live()
            assert client.is_server_ready()
            assert client.is_model_ready(model.public_name)
            metadata = client.get_model_metadata(model.public_name)
            assert metadata["name"] == model.public_name
            assert metadata["inputs"][0] == {"name": "X", "datatype": "FP32", "shape": [-1, 4]}
            for binary in (True, False):
                tensor = triton.InferInput("X", [2, 4], "FP32")
                tensor.set_data_from_numpy(np.ones((2, 4), dtype=np.float32), binary_data=binary)
                outputs = [triton.InferRequestedOutput("ROWS", binary_data=binary)]
                result = client.infer(model.public_name, [tensor], outputs=outputs, headers=visit.key.header)
                assert result.as_numpy("ROWS").tolist() == [2]

    await asyncio.to_thread(use_client)


async def test_a_client_that_asks_for_compressed_answers_gets_plain_ones(visit: Scene) -> None:
    body = bodies.rows(2)
    body.headers["Accept-Encoding"] = "gzip"
    response = await through(visit, "rows", body)
    assert "content-encoding" not in response.headers
    assert b'"ROWS"' in response.body


async def test_records_are_the_calls_and_nothing_else(visit: Scene, eventually: Eventually) -> None:
    """200 calls of 1..40 rows over 8 connections; the model's own count of its rows is the truth."""
    chance = random.Random(7)
    sizes = [chance.randint(1, 40) for _ in range(200)]
    counted: list[tuple[Response, int]] = []

    async def caller(mine: list[int]) -> None:
        path = f"/v2/models/{visit.models['rows'].public_name}/infer"
        async with wire(visit.gateway.port) as connection:
            for size in mine:
                body = bodies.rows(size, binary=chance.random() < 0.5, seed=size)
                await connection.send(request("POST", path, body.data, body.headers | visit.key.header))
                response = await connection.receive()
                assert response.status == 200
                counted.append((response, size))

    await asyncio.gather(*(caller(sizes[i::8]) for i in range(8)))
    responses = [response for response, _ in counted]
    records = {record.request_id: record for record in await recorded(visit, responses, eventually)}
    assert len(records) == len(ids(responses)) == 200
    for response, size in counted:
        record = records[response.headers["x-licet-request-id"]]
        assert record.units == size == int(response.headers["x-licet-units"])
        assert record.outcome == OUTCOME_OK
        assert record.bytes_out == len(response.body)
        assert record.metering_rule == "rows:X"
    by_lease: dict[str, list[int]] = {}
    for record in visit.calls:
        by_lease.setdefault(record.lease_id, []).append(record.sequence)
    for sequences in by_lease.values():
        assert sorted(sequences) == list(range(1, len(sequences) + 1))


async def test_a_record_commits_to_both_bodies_and_its_receipt_verifies(
    visit: Scene, eventually: Eventually
) -> None:
    body = bodies.rows(3)
    responses = list(await asyncio.gather(*(through(visit, "rows", body) for _ in range(5))))
    records = {record.request_id: record for record in await recorded(visit, responses, eventually)}
    domain = eip712.domain_separator(CHAIN_ID, ESCROW)
    for response in responses:
        name = response.headers["x-licet-receipt-id"]
        record = records[name]
        assert record.request_commitment == hashlib.sha256(name.encode() + body.data).digest()
        assert record.response_commitment == hashlib.sha256(name.encode() + response.body).digest()
        segment, certificate = record.segment, record.segment.certificate
        leaf = merkle.leaf(eip712.receipt_digest(domain, receipt_of(record)))
        assert merkle.verify(leaf, list(segment.path), segment.root)
        signed = eip712.segment_digest(domain, eip712.Segment(segment.root, segment.receipts))
        assert eip712.recover(signed, segment.signature) == certificate.replica
        stated = eip712.ReplicaCertificate(
            certificate.operator, certificate.replica, certificate.valid_from, certificate.valid_until
        )
        operator_key = eip712.recover(eip712.certificate_digest(domain, stated), certificate.signature)
        assert operator_key == eip712.address_of(bytes.fromhex("11" * 32))


def receipt_of(record: UsageRecorded) -> eip712.Receipt:
    """The receipt that anyone can rebuild from a usage record."""
    return eip712.Receipt(
        request_id=record.request_id,
        account_id=record.account_id,
        account_lease=record.account_lease,
        sequence=record.sequence,
        last=record.last,
        grant_id=record.grant_id,
        asset_id=bytes.fromhex(record.asset_id[2:]),
        version_digest=bytes.fromhex(record.version_digest[2:]),
        plan_id=int(record.plan_id),
        metering_rule=record.metering_rule,
        units=record.units,
        price_book_version=record.price_book_version,
        outcome=record.outcome,
        started_at_ms=record.started_at.ToMilliseconds(),
        ended_at_ms=record.ended_at.ToMilliseconds(),
        request_commitment=record.request_commitment,
        response_commitment=record.response_commitment,
    )


async def test_a_long_body_is_spliced_and_metered_by_its_first_bytes(
    visit: Scene, eventually: Eventually
) -> None:
    for binary in (True, False):
        body = bodies.rows(60_000 if binary else 20_000, binary=binary)
        assert len(body.data) > 300_000
        ours, theirs = await through(visit, "rows", body), await direct(visit.models["rows"], body)
        assert ours.body == theirs.body
        (record,) = await recorded(visit, [ours], eventually)
        assert record.units == (60_000 if binary else 20_000)
        assert record.bytes_in == len(body.data)
        name = ours.headers["x-licet-request-id"].encode()
        assert record.request_commitment == hashlib.sha256(name + body.data).digest()


@pytest.mark.parametrize("size", [2, 20_000])
async def test_a_chunked_request_is_served_in_any_chunks(
    visit: Scene, eventually: Eventually, size: int
) -> None:
    body = bodies.rows(size, binary=False)
    chance = random.Random(3)
    pieces, at = [], 0
    while at < len(body.data):
        step = chance.randint(1, max(2, len(body.data) // 20))
        pieces.append(body.data[at : at + step])
        at += step
    chunks = b"".join(b"%x;note=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nT: x\r\n\r\n"
    path = f"/v2/models/{visit.models['rows'].public_name}/infer"
    head = request("POST", path, b"", {"Transfer-Encoding": "chunked"} | visit.key.header)
    async with wire(visit.gateway.port) as connection:
        await connection.send(head + chunks)
        response = await connection.receive()
    assert response.body == (await direct(visit.models["rows"], body)).body
    (record,) = await recorded(visit, [response], eventually)
    assert (record.units, record.bytes_in) == (size, len(body.data))


async def test_a_client_that_expects_a_word_first_gets_it(visit: Scene) -> None:
    body = bodies.rows(2)
    path = f"/v2/models/{visit.models['rows'].public_name}/infer"
    sent = request("POST", path, body.data, {"Expect": "100-continue"} | body.headers | visit.key.header)
    async with wire(visit.gateway.port) as connection:
        await connection.send(sent[: -len(body.data)])
        assert (await connection.receive()).status == 100
        await connection.send(body.data)
        assert (await connection.receive()).status == 200


async def test_pipelined_calls_are_answered_in_order(visit: Scene) -> None:
    path = f"/v2/models/{visit.models['rows'].public_name}/infer"
    sent = b""
    for size in (3, 1, 4, 1, 5):
        body = bodies.rows(size)
        sent += request("POST", path, body.data, body.headers | visit.key.header)
    async with wire(visit.gateway.port) as connection:
        await connection.send(sent)
        units = [(await connection.receive()).headers["x-licet-units"] for _ in range(5)]
    assert units == ["3", "1", "4", "1", "5"]


async def test_a_request_that_trickles_in_is_served(visit: Scene) -> None:
    body = bodies.rows(1, binary=False)
    path = f"/v2/models/{visit.models['rows'].public_name}/infer"
    sent = request("POST", path, body.data, body.headers | visit.key.header)
    async with wire(visit.gateway.port) as connection:
        for i in range(len(sent)):
            await connection.send(sent[i : i + 1])
        assert (await connection.receive()).status == 200
