"""What the shipper cannot seal or read stands in nobody's way, and is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio
from licet_gateway.dataplane.lease import Lease
from licet_gateway.dataplane.log import Log, segment_path
from licet_gateway.dataplane.pool import Pool
from licet_gateway.dataplane.share import Share
from licet_gateway.domain import CallRecord, Credential, LeaseTerms, Outcome
from licet_gateway.events import Sealer
from licet_gateway.settings import GatewaySettings
from licet_gateway.shipping.folders import WorkerFolder
from licet_gateway.shipping.shipper import Shipper
from licet_gateway.testing import lease_desk
from licet_gateway.testing.gateways import environment
from licet_kit.errors import Unavailable
from licet_kit.producer import Encoded
from licet_kit.settings import load_settings
from licet_kit.testing.plugin import Eventually
from licet_schemas.licet.usage.v1.usage_pb2 import UsageRecorded

TERMS = replace(lease_desk.TERMS, asset_id="0x" + "01" * 32, version_digest="0x" + "02" * 32)
ELSEWHERE = "8453:0xlicense:1:0"


@dataclass
class Topic:
    """Takes what is sent."""

    records: list[UsageRecorded] = field(default_factory=list)
    # So many times it is away.
    outages: int = 0

    async def send_encoded(self, topic: str, records: Sequence[Encoded]) -> None:
        if self.outages:
            self.outages -= 1
            raise Unavailable("no broker answers")
        self.records += [UsageRecorded.FromString(record.value) for record in records]

    def calls(self) -> list[tuple[str, int, int, bool]]:
        return [(r.lease_id, r.sequence, r.units, r.last) for r in self.records]


@pytest.fixture
def topic() -> Topic:
    return Topic()


@pytest.fixture
def shipper(tmp_path: Path, topic: Topic, monkeypatch: pytest.MonkeyPatch) -> Shipper:
    for name, value in environment(
        kafka="kafka:9092",
        prefix="",
        tritons=["http://triton:8000"],
        triton_grpc=["127.0.0.1:9"],
        licensing_port=8111,
        folder=tmp_path,
    ).items():
        monkeypatch.setenv(name, value)
    settings = load_settings(GatewaySettings)
    log_dir = tmp_path / "logs"
    log_dir.mkdir()
    return Shipper(log_dir, Sealer(settings.private_key(), settings.certificates()), topic)


@pytest_asyncio.fixture
async def running(shipper: Shipper) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(shipper.run(asyncio.Event()))
    yield task
    task.cancel()


def lease(number: int, terms: LeaseTerms = TERMS) -> Lease:
    pool = Pool(Credential(api_key_hash=bytes(32)), terms.slug, 0)
    return Lease(replace(terms, lease_id=f"{number:032x}"), pool, Share(0), ref=number, asked_ns=0)


def call(log: Log, of: Lease, *, last: bool = False) -> None:
    of.sequence += 1
    log.add_open(of, of.sequence, 1)
    log.add_close(of, CallRecord(of.sequence, 1, Outcome.OK, last, 100, 200))


@pytest.mark.parametrize(
    "terms",
    [
        replace(TERMS, grant_id=ELSEWHERE),
        replace(TERMS, grant_id="nowhere"),
        replace(TERMS, plan_id="x"),
        replace(TERMS, asset_id="0x01"),
    ],
    ids=["chain", "no chain", "plan", "asset"],
)
async def test_a_lease_that_cannot_be_sealed_stands_in_nobodys_way(
    tmp_path: Path,
    shipper: Shipper,
    running: asyncio.Task[None],
    topic: Topic,
    eventually: Eventually,
    terms: LeaseTerms,
) -> None:
    bad, good = lease(1, terms), lease(2)
    with WorkerFolder.create(tmp_path / "logs", "worker-1") as folder:
        log = Log(folder.path, max_bytes=1 << 20, live=list)
        for of in (bad, good):
            log.add_lease(of)
            call(log, of)
        assert log.flush()
        log.close()
    await eventually(lambda: running.done() or not folder.path.exists(), 10)
    assert not running.done(), running
    name = good.terms.lease_id
    assert topic.calls() == [(name, 1, 1, False), (name, 2, 0, True)]
    kept = (tmp_path / "logs" / ".aside-worker-1" / "unsealed.jsonl").read_text()
    assert shipper.aside_bytes == len(kept)
    lines = [json.loads(line) for line in kept.splitlines()]
    assert [(line["record"]["sequence"], line["record"]["units"]) for line in lines] == [(1, 1), (2, 0)]
    assert {line["terms"]["lease_id"] for line in lines} == {bad.terms.lease_id}


async def test_a_call_without_its_lease_is_kept_once_however_often_kafka_is_away(
    tmp_path: Path, shipper: Shipper, topic: Topic
) -> None:
    hidden, good = lease(1), lease(2)
    with WorkerFolder.create(tmp_path / "logs", "worker-1") as folder:
        log = Log(folder.path, max_bytes=1 << 20, live=list)
        log.add_lease(hidden)
        assert log.flush()
        log.add_lease(good)
        call(log, good, last=True)
        call(log, hidden)
        assert log.flush()
        segment = segment_path(folder.path, 1)
        wrong = bytearray(segment.read_bytes())
        wrong[20] ^= 1
        segment.write_bytes(wrong)
        topic.outages = 3
        for _ in range(topic.outages):
            with pytest.raises(Unavailable):
                await shipper.ship()
        await shipper.ship()
        call(log, hidden)
        assert log.flush()
        log.close()
    # Nothing that the dead worker left can be shipped.
    await shipper.ship()
    assert not folder.path.exists()
    kept = (tmp_path / "logs" / ".aside-worker-1" / "unnamed.jsonl").read_text()
    assert [json.loads(line)["record"]["sequence"] for line in kept.splitlines()] == [1, 2]
